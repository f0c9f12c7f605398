//! What a sealed value is bound to.

use std::num::NonZeroU32;

use super::{SecretName, SecretScope};
use crate::{Error, ErrorKind, OwnerId, PipelineName, pipeline::EnvName};

/// The first byte of what a stored value is bound to.
const STORED: u8 = 1;
/// The first byte of what a value in a pipeline's files is bound to.
const PIPELINE: u8 = 2;

/// What a sealed value is for. It opens for nothing else: it cannot take another one's place, get another name, or come
/// back once it was replaced.
///
/// ```
/// use std::num::NonZeroU32;
/// use fastflow_core::{OsEntropy, secret::{Binding, Keyring, MasterKey, Secret, SecretScope}};
///
/// let keyring = Keyring::new(MasterKey::generate(&OsEntropy).unwrap());
/// let (instance, name) = ("warehouse".parse().unwrap(), "TOKEN".parse().unwrap());
/// let first =
///     Binding::Stored { instance: &instance, scope: &SecretScope::Global, name: &name, version: NonZeroU32::MIN };
/// let second = Binding::Stored {
///     instance: &instance,
///     scope: &SecretScope::Global,
///     name: &name,
///     version: NonZeroU32::new(2).unwrap(),
/// };
/// let sealed = keyring.seal(&first, &Secret::new("s3cret"), &OsEntropy).unwrap();
/// assert!(keyring.open(&first, &sealed).is_ok());
/// assert!(keyring.open(&second, &sealed).is_err());
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Binding<'a> {
    /// A value in the store.
    Stored {
        /// The installation.
        instance: &'a OwnerId,
        /// Whom the value is for.
        scope: &'a SecretScope,
        /// Its name.
        name: &'a SecretName,
        /// Which of the values under this scope and name.
        version: NonZeroU32,
    },
    /// A value in a pipeline's files. It names no installation, so that several ones with the same key can run pipelines
    /// of one repository.
    Pipeline {
        /// The pipeline.
        pipeline: &'a PipelineName,
        /// The variable.
        variable: &'a EnvName,
    },
}

impl Binding<'_> {
    /// What the tag covers besides the ciphertext, as [`Envelope`](super::Envelope) has it.
    pub(super) fn associated_data(&self, header: &[u8]) -> Vec<u8> {
        let mut data = header.to_vec();
        match self {
            Self::Stored { instance, scope, name, version } => {
                data.push(STORED);
                push(&mut data, instance.as_str());
                push(&mut data, &scope.to_string());
                push(&mut data, name.as_str());
                data.extend_from_slice(&version.get().to_be_bytes());
            }
            Self::Pipeline { pipeline, variable } => {
                data.push(PIPELINE);
                push(&mut data, pipeline.as_str());
                push(&mut data, variable.as_str());
            }
        }
        data
    }

    /// Says of an error what it is about.
    pub(super) fn describe(&self, error: Error) -> Error {
        match self {
            Self::Stored { scope, name, version, .. } => {
                error.with("scope", scope).with("name", name).with("version", version)
            }
            Self::Pipeline { pipeline, variable } => {
                error.with("pipeline", pipeline).with("variable", variable)
            }
        }
    }

    /// Nobody can tell which of the reasons it is.
    pub(super) fn refusal(&self) -> Error {
        self.describe(match self {
            Self::Stored { .. } => Error::new(
                ErrorKind::Corrupt,
                "the sealed value is not what was put under this name: it was changed, replaced, or belongs elsewhere",
            ),
            Self::Pipeline { .. } => Error::new(
                ErrorKind::Invalid,
                "the sealed text was not made for this variable of this pipeline, or was changed since",
            ),
        })
    }
}

fn push(data: &mut Vec<u8>, text: &str) {
    data.extend_from_slice(&(text.len() as u64).to_be_bytes());
    data.extend_from_slice(text.as_bytes());
}
