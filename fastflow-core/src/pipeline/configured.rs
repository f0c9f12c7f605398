//! A pipeline as one of its run configurations runs it.

use super::{ConfigName, Limits, Pipeline};
use crate::{Error, ErrorKind, Result};

/// How many names a message lists.
const MAX_SHOWN: usize = 20;

impl Pipeline {
    /// The pipeline as the entry `config` of its `schedules` runs it: the entry's variables are added and win, the
    /// limits and retries that it says replace the pipeline's, and the rest stays.
    ///
    /// # Errors
    ///
    /// `NotFound` with the ids that there are.
    ///
    /// ```
    /// use fastflow_core::pipeline::PipelineTexts;
    ///
    /// let entry = r#"{"timeout": 9, "schedules": [{"id": "a", "schedule_cron": "@daily", "timeout": 1}]}"#;
    /// let texts = PipelineTexts {
    ///     script: Some(("main.py", "")),
    ///     manifest: Some(("pipeline.json", entry)),
    ///     ..PipelineTexts::default()
    /// };
    /// let pipeline = texts.assemble("etl".parse().unwrap()).unwrap();
    /// let configured = pipeline.configured(&"a".parse().unwrap()).unwrap();
    /// assert_eq!(configured.definition.limits.timeout, Some(1.into()));
    /// assert!(pipeline.configured(&"b".parse().unwrap()).is_err());
    /// ```
    pub fn configured(&self, config: &ConfigName) -> Result<Self> {
        let entries = &self.definition.schedules;
        let Some(entry) = entries.iter().find(|entry| entry.id == *config) else {
            let ids: Vec<&str> = entries.iter().take(MAX_SHOWN).map(|entry| entry.id.as_str()).collect();
            let mut expected =
                if ids.is_empty() { "none: it has no `schedules`".into() } else { ids.join(", ") };
            if entries.len() > MAX_SHOWN {
                expected = format!("{expected} and {} others", entries.len() - MAX_SHOWN);
            }
            return Err(Error::new(ErrorKind::NotFound, "the pipeline has no such run configuration")
                .with("pipeline", &self.name)
                .with("found", config)
                .with("expected", expected));
        };
        let mut configured = self.clone();
        let definition = &mut configured.definition;
        definition.default_env.extend(entry.default_env.clone());
        definition.encrypted_env.extend(entry.encrypted_env.clone());
        definition.limits = definition.limits.overlaid(&entry.limits);
        if let Some(attempts) = entry.retry_attempts {
            definition.retry.attempts = attempts;
        }
        if let Some(strategy) = &entry.retry_strategy {
            definition.retry.strategy = strategy.clone();
        }
        Ok(configured)
    }
}

impl Limits {
    /// These limits with those of `over` where it has any.
    ///
    /// ```
    /// use fastflow_core::pipeline::{ByteSize, CpuMillis, Limits};
    ///
    /// let own = Limits { cpu: Some(CpuMillis(500)), memory: Some(ByteSize(1 << 30)), ..Limits::default() };
    /// let over = Limits { cpu: Some(CpuMillis(2000)), ..Limits::default() };
    /// let both = own.overlaid(&over);
    /// assert_eq!((both.cpu, both.memory), (Some(CpuMillis(2000)), Some(ByteSize(1 << 30))));
    /// ```
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        Self {
            cpu: over.cpu.or(self.cpu),
            memory: over.memory.or(self.memory),
            soft_cpu: over.soft_cpu.or(self.soft_cpu),
            soft_memory: over.soft_memory.or(self.soft_memory),
            timeout: over.timeout.or(self.timeout),
        }
    }
}
