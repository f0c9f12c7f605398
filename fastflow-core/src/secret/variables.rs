//! Variables of this process that hold secrets.

use std::{collections::BTreeSet, ffi::OsStr};

/// Variables of this process that hold secrets, so that programs which build packages do not find them. Those run what
/// packages bring.
///
/// ```
/// use fastflow_core::secret::SecretVariables;
///
/// let mut secret = SecretVariables::default();
/// secret.names.insert("FASTFLOW_KEY".into());
/// secret.prefixes.insert("PIPELINE_SECRET_".into());
/// assert!(secret.has("PIPELINE_SECRET_TOKEN") && !secret.has("PATH"));
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SecretVariables {
    /// By their names.
    pub names: BTreeSet<String>,
    /// By the beginnings of their names.
    pub prefixes: BTreeSet<String>,
}

impl SecretVariables {
    /// Whether the variable of this name is one of them.
    pub fn has(&self, name: impl AsRef<OsStr>) -> bool {
        let name = name.as_ref().as_encoded_bytes();
        self.names.iter().any(|known| known.as_bytes() == name)
            || self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
    }

    /// Those that lead to secrets among the variables that are passed on to a program, such as the token of a vault. Not
    /// those that lead to a network, which others need, too.
    pub(crate) fn of_program(passed_on: &BTreeSet<String>) -> Self {
        let leads_to_network = |name: &str| {
            let name = name.to_ascii_uppercase();
            name.ends_with("_PROXY") || name.starts_with("SSL_CERT_")
        };
        let names = passed_on.iter().filter(|name| !leads_to_network(name)).cloned().collect();
        Self { names, ..Self::default() }
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.names.extend(others.names);
        self.prefixes.extend(others.prefixes);
        self
    }
}
