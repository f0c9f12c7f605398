//! How a program gets its secrets.

use serde::{Deserialize, Serialize};

/// How a program gets the secrets that its pipeline names.
///
/// ```
/// use fastflow_core::pipeline::SecretDelivery;
///
/// assert_eq!(SecretDelivery::default(), SecretDelivery::Env);
/// assert_eq!(serde_json::to_string(&SecretDelivery::Files).unwrap(), r#""files""#);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretDelivery {
    /// As environment variables.
    #[default]
    Env,
    /// As files, in the folder that `FASTFLOW_SECRETS_DIR` names.
    Files,
}
