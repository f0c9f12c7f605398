//! What the tests of sealing stand on: purposes, random values, and the other implementation, in Python.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    num::NonZeroU32,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use fastflow_core::{
    Entropy, Error, OsEntropy, OwnerId, PipelineName,
    pipeline::EnvName,
    secret::{Binding, MAX_SECRET_BYTES, Secret, SecretName, SecretScope},
    testing::tool,
};
use serde_json::{Value, json};

/// A key that random bytes gave, once.
pub(crate) const KEY: &str = "7Yk0vZ0bW0mMzwtAzUQ3q8n2yqC8vUeGZkD0u1hJx+E=";
/// Another one.
pub(crate) const OTHER_KEY: &str = "5pXb2o0TjS5qk8Jk1rN6m3V9hF4cL7wQyU0aGdEiKtM=";
/// A value that no message may hold.
pub(crate) const VALUE: &str = "canary-Zwölf Boxkämpfer-7f3a";

const OTHER_IMPLEMENTATION: &str = include_str!("seal.py");

/// What a value is sealed for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Purpose {
    Stored { instance: OwnerId, scope: SecretScope, name: SecretName, version: NonZeroU32 },
    Pipeline { pipeline: PipelineName, variable: EnvName },
}

impl Purpose {
    pub(crate) fn stored(instance: &str, scope: &str, name: &str, version: u32) -> Self {
        Self::Stored {
            instance: instance.parse().unwrap(),
            scope: scope.parse().unwrap(),
            name: name.parse().unwrap(),
            version: version.try_into().unwrap(),
        }
    }

    pub(crate) fn pipeline(pipeline: &str, variable: &str) -> Self {
        Self::Pipeline { pipeline: pipeline.parse().unwrap(), variable: variable.parse().unwrap() }
    }

    pub(crate) fn binding(&self) -> Binding<'_> {
        match self {
            Self::Stored { instance, scope, name, version } => {
                Binding::Stored { instance, scope, name, version: *version }
            }
            Self::Pipeline { pipeline, variable } => Binding::Pipeline { pipeline, variable },
        }
    }

    /// As the other implementation reads it.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Stored { instance, scope, name, version } => {
                json!({"instance": instance, "scope": scope, "name": name, "version": version})
            }
            Self::Pipeline { pipeline, variable } => json!({"pipeline": pipeline, "variable": variable}),
        }
    }
}

/// Purposes that differ from the first in one thing each, and some that one would confuse without care.
pub(crate) fn purposes() -> Vec<Purpose> {
    vec![
        Purpose::stored("warehouse", "global", "TOKEN", 2),
        Purpose::stored("warehouse", "global", "TOKEN", 1),
        Purpose::stored("warehouse", "global", "TOKEN", 0x0200_0000),
        Purpose::stored("warehouse", "global", "TOKEN2", 2),
        Purpose::stored("warehouse", "global", "OKEN", 2),
        Purpose::stored("warehouse", "pipeline:TOKEN", "TOKEN", 2),
        Purpose::stored("warehouse", "pipeline:etl", "TOKEN", 2),
        Purpose::stored("warehouse", "schedule:etl/nightly", "TOKEN", 2),
        Purpose::stored("warehouse", "schedule:etl@nightly", "TOKEN", 2),
        Purpose::stored("warehous", "global", "TOKEN", 2),
        Purpose::stored("warehouse2", "global", "TOKEN", 2),
        Purpose::pipeline("etl", "TOKEN"),
        Purpose::pipeline("etlT", "OKEN"),
        Purpose::pipeline("etl", "TOKEN2"),
        Purpose::pipeline("warehouse", "global"),
    ]
}

/// A value of random characters, some of them of several bytes, and of lines.
pub(crate) fn random_secret(max_bytes: usize) -> Secret {
    let bytes: u64 = u64::try_from(max_bytes.min(MAX_SECRET_BYTES)).unwrap();
    let wanted = usize::try_from(random() % (bytes + 1)).unwrap();
    let mut text = String::with_capacity(wanted + 4);
    while text.len() < wanted {
        let one = char::from_u32(u32::try_from(random() % 0x11_0000).unwrap());
        let one = if random().is_multiple_of(4) {
            one
        } else {
            Some(['a', '\n', '"', 'ß'][usize::try_from(random() % 4).unwrap()])
        };
        text.extend(one.filter(|one| *one != '\0' && text.len() + one.len_utf8() <= wanted));
        if wanted - text.len() < 4 {
            text.extend(std::iter::repeat_n('x', wanted - text.len()));
        }
    }
    Secret::new(text)
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    OsEntropy.fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

/// Counts up from a number, so that what is sealed with it is the same each time.
#[derive(Debug)]
pub(crate) struct Counting(pub(crate) u8);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let mut next = self.0;
        for byte in bytes {
            *byte = next;
            next = next.wrapping_add(1);
        }
    }
}

/// Gives the same byte again and again.
#[derive(Debug)]
pub(crate) struct Constant(pub(crate) u8);

impl Entropy for Constant {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The bytes of a text in either alphabet.
pub(crate) fn unbase64(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text.replace('-', "+").replace('_', "/")).unwrap()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Everything that an error says to whoever looks at it.
pub(crate) fn said(error: &Error) -> String {
    format!("{error} {error:?} {}", error.chain())
}

/// Whether nothing of `hidden`, as long as it is worth hiding, is in what the error says.
#[track_caller]
pub(crate) fn assert_hides(error: &Error, hidden: &str) {
    let said = said(error);
    assert!(hidden.len() < 4 || !said.contains(hidden), "{said} shows {hidden}");
}

/// The other implementation of all of this: Python's `cryptography`, by the documentation of `Envelope`.
pub(crate) struct Python {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _venv: tempfile::TempDir,
}

impl Python {
    /// None where it cannot be had, after having said so.
    pub(crate) fn start() -> Option<Self> {
        let Some(uv) = tool::uv() else {
            tool::require("uv", "there is none: run tools/setup-uv");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let python = dir.path().join("venv/bin/python");
        let made = Command::new(&uv).args(["venv", "--quiet"]).arg(dir.path().join("venv")).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut install = Command::new(&uv);
        install.args(["pip", "install", "--quiet", "--python"]).arg(&python).arg("cryptography");
        let installed = install.output().unwrap();
        if !installed.status.success() {
            tool::require("pypi", &String::from_utf8_lossy(&installed.stderr));
            return None;
        }
        let mut process = Command::new(python)
            .args(["-c", OTHER_IMPLEMENTATION])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Some(Self { process, input, output, _venv: dir })
    }

    /// Calls one of its functions.
    pub(crate) fn call(&mut self, function: &str, arguments: &Value) -> Value {
        writeln!(self.input, "{}", json!({"function": function, "arguments": arguments})).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
