//! Which fields are read and kept, but not acted on yet.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Definition, Location, PipelineKind};

/// A field that this version reads and keeps, but cannot act on. Running without it would be wrong, so a
/// pipeline that has one is refused.
///
/// ```
/// use fastflow_core::pipeline::{Definition, PipelineKind};
///
/// let mut definition = Definition::default();
/// definition.kind = PipelineKind::Notebook;
/// assert_eq!(definition.unsupported()[0].to_string(), "type");
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct UnsupportedField {
    /// A JSON pointer (RFC 6901) into `pipeline.json`, such as `/schedule_cron`.
    pub pointer: String,
    /// Where it stands, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

impl UnsupportedField {
    /// The field's name.
    pub fn name(&self) -> &str {
        self.pointer.trim_start_matches('/')
    }
}

impl fmt::Display for UnsupportedField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if let Some(location) = &self.location {
            write!(f, " ({location})")?;
        }
        Ok(())
    }
}

impl Definition {
    /// The fields that ask for something this version does not do yet.
    pub fn unsupported(&self) -> Vec<UnsupportedField> {
        [
            ("type", self.kind == PipelineKind::Notebook),
            ("schedules", self.schedules.iter().any(|entry| entry.webhook_key.is_some())),
            ("webhook_key", self.webhook_key.is_some()),
            ("cells", !self.cells.is_empty()),
        ]
        .into_iter()
        .filter(|(_, asked)| *asked)
        .map(|(name, _)| UnsupportedField { pointer: format!("/{name}"), location: None })
        .collect()
    }
}
