//! How trace context is passed on, as the operator wants it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::baggage::BaggageLimits;
use crate::units::ByteSize;

/// The most members of a `baggage` list that are ever passed on: what every participant must be able to carry
/// (W3C Baggage, section 3.3.2).
pub const BAGGAGE_MEMBERS_MAX: usize = 64;

/// The most bytes of `baggage` that are ever passed on (W3C Baggage, section 3.3.2).
pub const BAGGAGE_BYTES_MAX: usize = 8192;

/// A policy that cannot be meant.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidTrace {
    /// More bytes than W3C Baggage lets one send.
    #[error("baggage_bytes_max is {0}: allowed is 0B to 8KiB")]
    BaggageBytes(ByteSize),
    /// More members than W3C Baggage lets one send.
    #[error("baggage_members_max is {0}: allowed is 0 to 64")]
    BaggageMembers(usize),
}

/// The `trace:` section: what becomes of a caller's trace context, and which spans the guard adds.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "TraceSpec", into = "TraceSpec")]
#[schemars(with = "TraceSpec")]
pub struct TracePolicy(TraceSpec);

#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Trace")]
struct TraceSpec {
    /// Whether the guard makes spans where a tracer provider is installed. Off, context only passes through.
    spans: bool,
    /// Whether `x-request-id` is passed on, made where the caller has none, and put on the answer.
    request_id: bool,
    /// Whether a caller's `baggage` reaches the upstream at all.
    propagate_baggage: bool,
    /// Most bytes of `baggage` that are passed on; whole members are dropped from the end.
    baggage_bytes_max: ByteSize,
    /// Most members of `baggage` that are passed on, 0 to 64; those past it are dropped.
    baggage_members_max: usize,
}

impl Default for TraceSpec {
    fn default() -> Self {
        Self {
            spans: true,
            request_id: true,
            propagate_baggage: true,
            baggage_bytes_max: ByteSize(8192),
            baggage_members_max: BAGGAGE_MEMBERS_MAX,
        }
    }
}

impl TryFrom<TraceSpec> for TracePolicy {
    type Error = InvalidTrace;

    fn try_from(spec: TraceSpec) -> Result<Self, InvalidTrace> {
        if spec.baggage_bytes_max > ByteSize(8192) {
            return Err(InvalidTrace::BaggageBytes(spec.baggage_bytes_max));
        }
        if spec.baggage_members_max > BAGGAGE_MEMBERS_MAX {
            return Err(InvalidTrace::BaggageMembers(spec.baggage_members_max));
        }
        Ok(Self(spec))
    }
}

impl From<TracePolicy> for TraceSpec {
    fn from(policy: TracePolicy) -> Self {
        policy.0
    }
}

impl TracePolicy {
    /// The same policy without spans of the guard's own: context only passes through.
    #[must_use]
    pub fn without_spans(mut self) -> Self {
        self.0.spans = false;
        self
    }

    /// Whether the guard makes spans where a tracer provider is installed. Default: yes.
    pub fn spans(&self) -> bool {
        self.0.spans
    }

    /// Whether the guard keeps or makes an `x-request-id`. Default: yes.
    pub fn request_id(&self) -> bool {
        self.0.request_id
    }

    /// Whether a caller's `baggage` is passed on at all. Default: yes.
    pub fn propagate_baggage(&self) -> bool {
        self.0.propagate_baggage
    }

    /// How much of a caller's `baggage` is passed on; none, where it is not propagated.
    pub fn baggage(&self) -> BaggageLimits {
        if !self.propagate_baggage() {
            return BaggageLimits { bytes_max: 0, members_max: 0 };
        }
        BaggageLimits {
            bytes_max: usize::try_from(self.0.baggage_bytes_max.0).unwrap_or(BAGGAGE_BYTES_MAX),
            members_max: self.0.baggage_members_max,
        }
    }
}
