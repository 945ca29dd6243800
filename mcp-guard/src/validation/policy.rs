//! What is checked, and the bounds of checking.

use std::num::NonZeroUsize;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::units::{ByteSize, Span};

/// What is checked against a schema, what happens to what fails, and what learning the schemas may cost.
///
/// `Default` is `{messages: enforce, arguments: enforce, results: report, refresh: 5m, tools: 10000, schema: 256KiB,
/// compile_time: 100ms, list_timeout: 2s}`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "ValidationSpec", into = "ValidationSpec")]
#[schemars(with = "ValidationSpec")]
pub struct ValidationPolicy(ValidationSpec);

/// What happens to what breaks a schema.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "the three words of the contract")]
pub enum Mode {
    /// It is refused.
    Enforce,
    /// It passes, and is counted in `mcp_guard_validation_reports_total`.
    Report,
    /// It is not looked at.
    Off,
}

/// A validation policy that cannot be meant.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidValidation {
    /// A time that leaves none, or that is nearly always a unit typo.
    #[error("{key} is {value}: allowed is {min} to {max}")]
    Time {
        /// The key in the config.
        key: &'static str,
        /// What it holds.
        value: Span,
        /// The shortest allowed.
        min: Span,
        /// The longest allowed.
        max: Span,
    },
    /// No schema fits, or one so large that compiling it takes seconds.
    #[error("schema is {0}: allowed is 1KiB to 4MiB")]
    SchemaSize(ByteSize),
    /// More tools than are worth holding.
    #[error("tools is {0}: allowed is 1 to 100000")]
    Tools(usize),
}

impl ValidationPolicy {
    /// A policy with these modes, and default bounds.
    pub fn new(messages: Mode, arguments: Mode, results: Mode) -> Self {
        Self(ValidationSpec { messages, arguments, results, ..ValidationSpec::default() })
    }

    /// Checks of each message by the schema of its method. Default: enforce.
    pub fn messages(&self) -> Mode {
        self.0.messages
    }

    /// Checks of `tools/call` arguments by the tool's `inputSchema`. Default: enforce.
    pub fn arguments(&self) -> Mode {
        self.0.arguments
    }

    /// Checks of `structuredContent` by the tool's `outputSchema`. Default: report.
    pub fn results(&self) -> Mode {
        self.0.results
    }

    /// Age after which the guard lists the tools again; 1 s to 1 day, default 5 minutes.
    pub fn refresh(&self) -> Duration {
        self.0.refresh.0
    }

    /// Most tools that are kept; the calls of tools beyond pass unchecked. 1 to 100,000, default 10,000.
    pub fn tools_max(&self) -> usize {
        self.0.tools.get()
    }

    /// Largest text of a schema in bytes; the calls of a tool with a larger one pass unchecked. Default 256 KiB.
    pub fn schema_bytes_max(&self) -> usize {
        usize::try_from(self.0.schema.0).unwrap_or(usize::MAX)
    }

    /// A schema that took longer to compile is dropped. Default 100 ms.
    ///
    /// The time is looked at afterwards, and the first call that needs the schema waits for it. What bounds it are the numbers of
    /// patterns and places, the programs of the patterns together, and the length of the text: the worst that they let through takes
    /// some 50 ms on a core of 2024, or more where [`schema_bytes_max`](Self::schema_bytes_max) is above its default.
    pub fn compile_time_max(&self) -> Duration {
        self.0.compile_time.0
    }

    /// Longest time that a call waits while the guard lists the tools; it then passes unchecked. Default 2 s.
    pub fn list_timeout(&self) -> Duration {
        self.0.list_timeout.0
    }

    /// Whether nothing needs a catalogue of tools.
    #[cfg(feature = "tower")]
    pub(super) fn needs_no_tools(&self) -> bool {
        self.0.arguments == Mode::Off && self.0.results == Mode::Off
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Validation")]
struct ValidationSpec {
    /// Checks of each message by the schema of its method.
    messages: Mode,
    /// Checks of `tools/call` arguments by the tool's `inputSchema`.
    arguments: Mode,
    /// Checks of `structuredContent` by the tool's `outputSchema`.
    results: Mode,
    /// Age after which the guard lists the tools again.
    refresh: Span,
    /// Most tools that are kept.
    tools: NonZeroUsize,
    /// Largest text of a schema.
    schema: ByteSize,
    /// A schema that took longer than this to compile is not used. Compiling is not cut short; the bounds of a schema keep it to
    /// some 50ms, and to more where `schema` is above 256KiB.
    compile_time: Span,
    /// Longest time that a call waits while the guard lists the tools.
    list_timeout: Span,
}

impl Default for ValidationSpec {
    fn default() -> Self {
        Self {
            messages: Mode::Enforce,
            arguments: Mode::Enforce,
            results: Mode::Report,
            refresh: Span(Duration::from_secs(300)),
            tools: NonZeroUsize::MIN.saturating_add(9_999),
            schema: ByteSize(256 << 10),
            compile_time: Span(Duration::from_millis(100)),
            list_timeout: Span(Duration::from_secs(2)),
        }
    }
}

impl TryFrom<ValidationSpec> for ValidationPolicy {
    type Error = InvalidValidation;

    fn try_from(spec: ValidationSpec) -> Result<Self, InvalidValidation> {
        let ms = |ms| Span(Duration::from_millis(ms));
        for (key, value, min, max) in [
            ("refresh", spec.refresh, ms(1_000), ms(86_400_000)),
            ("compile_time", spec.compile_time, ms(1), ms(10_000)),
            ("list_timeout", spec.list_timeout, ms(10), ms(60_000)),
        ] {
            if value < min || max < value {
                return Err(InvalidValidation::Time { key, value, min, max });
            }
        }
        if !((1 << 10)..=(4 << 20)).contains(&spec.schema.0) {
            return Err(InvalidValidation::SchemaSize(spec.schema));
        }
        if spec.tools.get() > 100_000 {
            return Err(InvalidValidation::Tools(spec.tools.get()));
        }
        Ok(Self(spec))
    }
}

impl From<ValidationPolicy> for ValidationSpec {
    fn from(policy: ValidationPolicy) -> Self {
        policy.0
    }
}
