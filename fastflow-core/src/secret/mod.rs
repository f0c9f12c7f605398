//! Secrets: values that are sealed where they are kept, given only to pipelines that name them, and masked in what those
//! say.
//!
//! A pipeline names what it wants in `secrets`; whatever it does not name it does not get. Who has the values is a
//! [`SecretStore`]. What is wanted is looked up anew for each attempt, just before its program starts, and is in no row
//! of a run: that keeps names and versions.

mod binding;
mod chain;
mod check;
mod command;
mod directory;
mod dump;
mod envelope;
mod environment;
mod fernet;
mod key_file;
mod key_source;
mod key_text;
mod keyring;
mod master_key;
mod master_key_id;
mod name;
pub(crate) mod program;
mod scope;
mod seal;
mod sealed;
mod sealed_text;
mod store;
mod variables;

pub use fastflow_shim::Secret;

pub use self::{
    binding::Binding,
    chain::ChainedSecrets,
    check::check_secret,
    command::CommandSecrets,
    directory::DirectorySecrets,
    dump::leave_no_dumps,
    envelope::Envelope,
    environment::EnvironmentSecrets,
    fernet::FernetKey,
    key_file::generate_key_file,
    key_source::MasterKeySource,
    keyring::Keyring,
    master_key::MasterKey,
    master_key_id::MasterKeyId,
    name::SecretName,
    scope::{SecretReader, SecretScope},
    sealed::Rotation,
    sealed_text::{open_text, seal_text},
    store::{FoundSecret, SecretStore, SecretUse, SecretValue},
    variables::SecretVariables,
};

pub(crate) use self::sealed::{SealedSecrets, no_key};

/// The largest value, in bytes.
pub const MAX_SECRET_BYTES: usize = 64 << 10;
/// The most bytes of all secrets of one attempt.
pub const MAX_SECRETS_BYTES: usize = fastflow_shim::mask::MAX_VALUES_BYTES;
/// The shortest value that is masked, in bytes: a shorter one is found by chance in what it has nothing to do with.
pub const MIN_MASKED_BYTES: usize = fastflow_shim::mask::MIN_BYTES;
