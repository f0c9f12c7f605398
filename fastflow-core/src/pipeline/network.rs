//! What a program may reach.

use serde::{Deserialize, Serialize};

/// What a program may reach over the network.
///
/// ```
/// use fastflow_core::pipeline::Network;
///
/// assert_eq!(Network::default(), Network::Bridge);
/// assert_eq!(serde_json::to_string(&Network::None).unwrap(), r#""none""#);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// What this machine reaches, but no other attempt.
    #[default]
    Bridge,
    /// Nothing but itself.
    None,
}
