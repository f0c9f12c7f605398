//! Values that nobody may see.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// A value that nobody may see: it cannot be printed or serialized by habit, and its memory is wiped when it is dropped.
///
/// Only an [`Order`](crate::Order) carries such values elsewhere, to the shim of one attempt.
///
/// ```
/// use fastflow_shim::Secret;
///
/// let secret = Secret::new("hunter2hunter2");
/// assert_eq!(secret.expose().len(), 14);
/// ```
///
/// Neither of these compiles:
///
/// ```compile_fail,E0277
/// println!("{:?}", fastflow_shim::Secret::new("hunter2hunter2"));
/// ```
///
/// ```compile_fail,E0277
/// println!("{}", fastflow_shim::Secret::new("hunter2hunter2"));
/// ```
///
/// ```compile_fail,E0277
/// serde_json::to_string(&fastflow_shim::Secret::new("hunter2hunter2")).unwrap();
/// ```
#[derive(Clone, Eq, PartialEq)]
#[expect(missing_debug_implementations, reason = "a secret that can be printed will be")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over the value; no copy of it is left.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value. Whoever takes it out answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// How an order carries secrets: as what they are.
pub(crate) mod exposed {
    use super::{BTreeMap, Deserializer, Secret, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        secrets: &BTreeMap<String, Secret>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let texts: BTreeMap<&str, &str> =
            secrets.iter().map(|(name, secret)| (name.as_str(), secret.expose())).collect();
        super::Serialize::serialize(&texts, serializer)
    }

    struct Carried(Secret);

    impl<'de> super::Deserialize<'de> for Carried {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            String::deserialize(deserializer).map(|value| Self(Secret::new(value)))
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Secret>, D::Error> {
        // Each is a secret as soon as it is read: those of a map that turns out to be wrong later are wiped too.
        let values: BTreeMap<String, Carried> = super::Deserialize::deserialize(deserializer)?;
        Ok(values.into_iter().map(|(name, Carried(secret))| (name, secret)).collect())
    }
}
