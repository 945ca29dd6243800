//! Which traces are sent.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use super::pause::Pause;

/// A share of the traces that begin here, while nothing [pauses](Pause) that, and those that a caller wants sent; with `keeps_errors` every span is recorded, so
/// that those of failed and refused calls can be sent whatever was drawn ([`Queue`](super::queue::Queue)).
#[derive(Clone, Debug)]
pub(super) struct Sampling {
    share: Sampler,
    keeps_errors: bool,
    pause: Pause,
}

impl Sampling {
    pub(super) fn new(share: f64, keeps_errors: bool, pause: Pause) -> Self {
        Self { share: Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))), keeps_errors, pause }
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
        let begins_here = !parent.is_some_and(|parent| parent.has_active_span());
        if begins_here && self.pause.is_on() {
            let trace_state = TraceState::default();
            return SamplingResult { decision: SamplingDecision::Drop, attributes: Vec::new(), trace_state };
        }
        let mut drawn = self.share.should_sample(parent, trace, name, kind, attributes, links);
        if self.keeps_errors && drawn.decision == SamplingDecision::Drop {
            drawn.decision = SamplingDecision::RecordOnly;
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags};

    use super::*;

    fn decision(sampling: &Sampling, parent: Option<&Context>) -> SamplingDecision {
        let trace = TraceId::from(7);
        sampling.should_sample(parent, trace, "tools/call", &SpanKind::Server, &[], &[]).decision
    }

    fn parent(flags: TraceFlags) -> Context {
        let span = SpanContext::new(TraceId::from(7), SpanId::from(7), flags, true, TraceState::default());
        Context::new().with_remote_span_context(span)
    }

    #[test]
    fn callers_decide_for_their_traces_and_the_share_for_others() {
        let none = Sampling::new(0.0, false, Pause::new());
        assert_eq!(decision(&none, None), SamplingDecision::Drop);
        assert_eq!(decision(&none, Some(&parent(TraceFlags::SAMPLED))), SamplingDecision::RecordAndSample);
        let all = Sampling::new(1.0, false, Pause::new());
        assert_eq!(decision(&all, None), SamplingDecision::RecordAndSample);
        assert_eq!(decision(&all, Some(&parent(TraceFlags::default()))), SamplingDecision::Drop);
    }

    #[test]
    fn what_may_go_wrong_is_recorded_where_that_is_asked_for() {
        let errors = Sampling::new(0.0, true, Pause::new());
        assert_eq!(decision(&errors, None), SamplingDecision::RecordOnly);
    }

    #[tokio::test(start_paused = true)]
    async fn no_trace_begins_in_a_pause_and_those_of_callers_go_on() {
        let pause = Pause::new();
        let all = Sampling::new(1.0, true, pause.clone());
        pause.last(Duration::from_secs(1));
        assert_eq!(decision(&all, None), SamplingDecision::Drop);
        assert_eq!(decision(&all, Some(&parent(TraceFlags::SAMPLED))), SamplingDecision::RecordAndSample);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(decision(&all, None), SamplingDecision::RecordAndSample);
    }
}
