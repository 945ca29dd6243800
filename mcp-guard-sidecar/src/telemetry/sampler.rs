//! Which traces are sent.

use opentelemetry::trace::{Link, SpanKind, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// A share of the traces that begin here, and those that a caller wants sent; with `keeps_errors` every span is recorded, so
/// that those of failed and refused calls can be sent whatever was drawn ([`Queue`](super::queue::Queue)).
#[derive(Clone, Debug)]
pub(super) struct Sampling {
    share: Sampler,
    keeps_errors: bool,
}

impl Sampling {
    pub(super) fn new(share: f64, keeps_errors: bool) -> Self {
        Self { share: Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))), keeps_errors }
    }
}

impl ShouldSample for Sampling {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut drawn = self.share.should_sample(parent, trace, name, kind, attributes, links);
        if self.keeps_errors && drawn.decision == SamplingDecision::Drop {
            drawn.decision = SamplingDecision::RecordOnly;
        }
        drawn
    }
}
