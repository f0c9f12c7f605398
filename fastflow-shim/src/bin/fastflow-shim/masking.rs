//! The secrets of the attempt, as far as they are known by now.

use std::{borrow::Cow, sync::Arc};

use fastflow_shim::{
    Secret,
    mask::{MIN_BYTES, Patterns, SecretBuffer, TooManyPatterns},
};

use crate::log::Log;

/// How many values a program may add.
const MAX_ADDED: usize = 256;
/// How many bytes these may have together. For each of them all patterns are made anew.
const MAX_ADDED_BYTES: usize = 64 * 1024;

/// What is masked: in both streams, in the files that the program leaves, and in what the shim says about the program.
#[derive(Default)]
pub(crate) struct Masking {
    values: Vec<SecretBuffer>,
    patterns: Arc<Patterns>,
    /// Which of the order's secrets are too short.
    unmasked: Vec<String>,
    added: usize,
    added_bytes: usize,
    /// How often something was masked that is in no stream.
    masked: u64,
}

impl Masking {
    pub(crate) fn new<'a>(
        secrets: impl Iterator<Item = (&'a String, &'a Secret)>,
    ) -> Result<Self, TooManyPatterns> {
        let mut masking = Self::default();
        for (name, secret) in secrets {
            let value = secret.expose().as_bytes();
            if value.len() < MIN_BYTES {
                masking.unmasked.push(name.clone());
            } else {
                masking.keep(value);
            }
        }
        masking.patterns = Arc::new(Patterns::new(masking.values.iter().map(|value| &**value))?);
        Ok(masking)
    }

    fn keep(&mut self, value: &[u8]) {
        let mut kept = SecretBuffer::with_capacity(value.len());
        kept.extend(value);
        self.values.push(kept);
    }

    /// Says which secrets are not masked.
    pub(crate) fn warn(&self, log: &mut Log) {
        for name in &self.unmasked {
            log.say(&format!("the secret {name} is not masked: it has less than {MIN_BYTES} bytes"));
        }
    }

    /// Takes a value that the program wants masked from now on.
    pub(crate) fn add(&mut self, value: &[u8], log: &mut Log) {
        self.masked += 1;
        if let Err(why) = self.learn(value) {
            log.say(&format!("a value of ::add-mask:: is not masked: {why}"));
        }
    }

    /// Takes a value that is going to be added, for what is written before that. Whether it could be is said then.
    pub(crate) fn foresee(&mut self, value: &[u8]) {
        let _ = self.learn(value);
    }

    fn learn(&mut self, value: &[u8]) -> Result<(), String> {
        if value.len() < MIN_BYTES {
            return Err(format!("it has less than {MIN_BYTES} bytes"));
        }
        // A program may say so as often as it likes.
        if self.values.iter().any(|known| **known == *value) {
            return Ok(());
        }
        if self.added == MAX_ADDED || self.added_bytes + value.len() > MAX_ADDED_BYTES {
            return Err(format!("there may be {MAX_ADDED} of them, with {MAX_ADDED_BYTES} bytes together"));
        }
        self.keep(value);
        match Patterns::new(self.values.iter().map(|value| &**value)) {
            Ok(patterns) => {
                self.patterns = Arc::new(patterns);
                self.added += 1;
                self.added_bytes += value.len();
                Ok(())
            }
            Err(error) => {
                self.values.pop();
                Err(error.to_string())
            }
        }
    }

    pub(crate) fn patterns(&self) -> &Arc<Patterns> {
        &self.patterns
    }

    /// Masks what the shim itself is going to say.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.patterns.mask_text(text)
    }

    /// Counts what was masked elsewhere.
    pub(crate) fn count(&mut self, masked: u64) {
        self.masked += masked;
    }

    pub(crate) fn masked(&self) -> u64 {
        self.masked
    }
}
