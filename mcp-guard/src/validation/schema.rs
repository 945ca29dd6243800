//! A tool's schema, compiled when it is first needed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::compile::{SchemaFault, ToolSchema};

/// One schema of a tool: its text, and what it compiles to, once it was needed.
#[derive(Debug)]
pub(super) struct Schema {
    text: Arc<str>,
    compiled: OnceLock<Result<ToolSchema, SchemaFault>>,
    is_reported: AtomicBool,
}

impl Schema {
    /// A schema, not yet compiled. A text beyond `bytes_max` is not kept.
    pub(super) fn new(text: &str, bytes_max: usize) -> Self {
        let (text, compiled) = if text.len() > bytes_max {
            (Arc::default(), OnceLock::from(Err(SchemaFault::TooLarge)))
        } else {
            (text.into(), OnceLock::new())
        };
        Self { text, compiled, is_reported: AtomicBool::new(false) }
    }

    /// Its text; empty for one that was too large.
    pub(super) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// What it compiles to. The first call compiles, reading `clock` before and after.
    pub(super) fn compiled(
        &self,
        time_max: Duration,
        clock: impl Fn() -> Instant,
    ) -> Result<&ToolSchema, &SchemaFault> {
        let compile = || {
            let start = clock();
            let compiled = ToolSchema::compile(&self.text)?;
            if clock().saturating_duration_since(start) > time_max { Err(SchemaFault::TooSlow) } else { Ok(compiled) }
        };
        self.compiled.get_or_init(compile).as_ref()
    }

    /// True the first time: a schema with a fault is reported once, not with each call.
    pub(super) fn is_to_be_reported(&self) -> bool {
        !self.is_reported.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::middleware::clock;

    #[test]
    fn a_schema_that_compiled_too_slowly_is_dropped() {
        let now = Cell::new(clock::now());
        let clock = || now.replace(now.get() + Duration::from_millis(30));
        let slow = Schema::new("{}", 1024);
        assert_eq!(slow.compiled(Duration::from_millis(20), clock).unwrap_err(), &SchemaFault::TooSlow);
        assert!(Schema::new("{}", 1024).compiled(Duration::from_millis(30), clock).is_ok());
    }

    #[test]
    fn a_schema_that_is_too_large_is_not_kept() {
        let schema = Schema::new("{\"title\": \"x\"}", 4);
        assert!(schema.text().is_empty());
        assert_eq!(schema.compiled(Duration::MAX, clock::now).unwrap_err(), &SchemaFault::TooLarge);
    }
}
