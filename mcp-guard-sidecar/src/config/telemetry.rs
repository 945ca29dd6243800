//! What the guard tells about itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::url::HttpUrl;

/// What the guard tells about itself.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TelemetryConfig {
    /// Lines of what happens: of each kind 100 a second, the rest is dropped and counted.
    pub logs: LogConfig,
    /// Spans for a collector.
    pub traces: TraceConfig,
}

/// Lines of what happens: of each kind 100 a second, the rest is dropped and counted.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// Where lines are written.
    pub output: LogOutput,
    /// A collector that gets them too, as `http://HOST:PORT`, with `http` also `http://HOST:PORT/PATH`; default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<HttpUrl>,
    /// How OTLP is spoken: over gRPC, or as protobuf over HTTP, where the path is `/v1/logs` if there is none.
    pub protocol: Protocol,
    /// The least important lines that are written.
    pub level: LogLevel,
}

/// Where log lines are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogOutput {
    /// Standard error.
    #[default]
    Stderr,
    /// Standard output.
    Stdout,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// The least important log lines that are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogLevel {
    /// None.
    Off,
    /// What has failed.
    Error,
    /// And what may fail soon.
    Warn,
    /// And what an operator wants to know of.
    #[default]
    Info,
    /// And what explains it.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word of the config file, which is the one of tracing's filters too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Spans for a collector.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "TraceSpec", into = "TraceSpec")]
#[schemars(with = "TraceSpec")]
pub struct TraceConfig(TraceSpec);

/// Spans for a collector.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Traces")]
struct TraceSpec {
    /// The collector, as `http://HOST:PORT`, with `http` also `http://HOST:PORT/PATH`; default: no spans are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    otlp: Option<HttpUrl>,
    /// How OTLP is spoken: over gRPC, or as protobuf over HTTP, where the path is `/v1/traces` if there is none.
    protocol: Protocol,
    /// Which share of the traces that begin here is sent, from 0 to 1. Traces that callers began keep their decision.
    #[schemars(range(min = 0, max = 1))]
    sample: f64,
    /// The guard's own span of a call that failed or was refused is sent whatever `sample` says. Every call is recorded for that.
    errors: bool,
}

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Protocol {
    /// gRPC.
    #[default]
    Grpc,
    /// Protobuf over HTTP.
    Http,
}

/// Telemetry that cannot be meant.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidTelemetry {
    /// Not a share.
    #[error("sample is {0}: a share from 0 to 1 is allowed")]
    Sample(f64),
}

impl Default for TraceSpec {
    fn default() -> Self {
        Self { otlp: None, protocol: Protocol::Grpc, sample: 0.1, errors: false }
    }
}

impl TryFrom<TraceSpec> for TraceConfig {
    type Error = InvalidTelemetry;

    fn try_from(spec: TraceSpec) -> Result<Self, InvalidTelemetry> {
        if !(0.0..=1.0).contains(&spec.sample) {
            return Err(InvalidTelemetry::Sample(spec.sample));
        }
        Ok(Self(spec))
    }
}

impl From<TraceConfig> for TraceSpec {
    fn from(config: TraceConfig) -> Self {
        config.0
    }
}

impl TraceConfig {
    /// The collector, if spans are sent at all.
    pub fn otlp(&self) -> Option<&HttpUrl> {
        self.0.otlp.as_ref()
    }

    /// The share of the traces that begin here which is sent, from 0 to 1.
    pub fn sample(&self) -> f64 {
        self.0.sample
    }

    /// How the collector is spoken to.
    pub fn protocol(&self) -> Protocol {
        self.0.protocol
    }

    /// Whether what went wrong is sent whatever the share.
    pub fn keeps_errors(&self) -> bool {
        self.0.errors
    }
}
