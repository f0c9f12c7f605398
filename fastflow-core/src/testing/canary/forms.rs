//! What is looked for: values in every form in which they could show.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
};

use aho_corasick::AhoCorasick;
use serde_json::Value;

use crate::hex::hex;

/// What others would make of the values, told by Python and not by the code under test.
const FORMS: &str = include_str!("forms.py");
/// This much of either end of a value shows that it was there.
const PART_BYTES: usize = 20;

/// A value that was looked for, and the form in which it is there. It does not hold the value.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Sight {
    pub(super) value: String,
    pub(super) form: String,
}

/// Finds values in all their forms.
pub(super) struct Forms {
    automaton: AhoCorasick,
    sights: Vec<Sight>,
}

impl Forms {
    /// Of these values, by name: bytes that are in no text by chance.
    pub(super) fn new(values: &BTreeMap<String, Vec<u8>>) -> Self {
        let mut patterns = Vec::new();
        let mut sights = Vec::new();
        let mut add = |value: &str, form: &str, bytes: Vec<u8>| {
            patterns.push(bytes);
            sights.push(Sight { value: value.to_owned(), form: form.to_owned() });
        };
        for (name, forms) in told(values).as_object().unwrap() {
            for form in forms.as_array().unwrap() {
                add(name, form[0].as_str().unwrap(), unhex(form[1].as_str().unwrap()));
            }
        }
        for (name, value) in values {
            // The ends of one with several lines are the same in all of them.
            if !value.contains(&b'\n') && value.len() >= PART_BYTES {
                add(name, "its beginning", value[..PART_BYTES].to_vec());
                add(name, "its end", value[value.len() - PART_BYTES..].to_vec());
            }
        }
        Self { automaton: AhoCorasick::new(patterns).unwrap(), sights }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.sights.len()
    }

    /// What is in these bytes.
    pub(super) fn find(&self, bytes: &[u8]) -> Vec<Sight> {
        let found = self.automaton.find_overlapping_iter(bytes);
        let mut sights: Vec<Sight> = found.map(|found| self.sights[found.pattern()].clone()).collect();
        sights.sort();
        sights.dedup();
        sights
    }

    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        self.automaton.is_match(bytes)
    }
}

/// The values go over a pipe: arguments and variables are seen by others.
fn told(values: &BTreeMap<String, Vec<u8>>) -> Value {
    let question: BTreeMap<&String, String> = values.iter().map(|(name, value)| (name, hex(value))).collect();
    let mut python = Command::new("python3")
        .args(["-c", FORMS])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(&serde_json::to_vec(&question).unwrap()).unwrap();
    let answer = python.wait_with_output().unwrap();
    assert!(answer.status.success(), "the forms cannot be made");
    serde_json::from_slice(&answer.stdout).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}
