//! The bounds of a plan.

use std::time::Duration;

use crate::message::TOKEN_BYTES;
use crate::plan::{InvalidPlan, PAYLOAD_BYTES_MAX, PHASES_MAX, PlanSpec, SESSIONS_MAX, THREADS_MAX};
use crate::schedule::PHASE_MAX;

impl PlanSpec {
    pub(crate) fn check_names(&self) -> Result<(), InvalidPlan> {
        let is_name = |name: &str, marks: &[u8]| {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || marks.contains(&byte);
            (1..=128).contains(&name.len()) && name.bytes().all(is_allowed)
        };
        let are_methods = self.mix.entries().all(|method| is_name(method.name(), b"_/"));
        if is_name(&self.tool, b"_.-") && are_methods { Ok(()) } else { Err(InvalidPlan::Name) }
    }

    pub(crate) fn check_bounds(&self) -> Result<(), InvalidPlan> {
        let ms = Duration::from_millis(1);
        for phase in &self.phases {
            within("the sessions of a phase", phase.sessions, 0, SESSIONS_MAX)?;
            within("a phase in seconds", phase.length.as_secs_f64(), 0.001, PHASE_MAX.as_secs_f64())?;
        }
        within("the phases", self.phases.len(), 1, PHASES_MAX)?;
        within("streams", self.streams, 0, SESSIONS_MAX)?;
        within("the timeout in seconds", self.timeout.as_secs_f64(), 0.001, 600.0)?;
        within("the think time in seconds", self.think_time.as_secs_f64(), 0.0, PHASE_MAX.as_secs_f64())?;
        if let Some(interval) = self.expected_interval {
            within(
                "the expected interval in seconds",
                interval.as_secs_f64(),
                ms.as_secs_f64(),
                PHASE_MAX.as_secs_f64(),
            )?;
        }
        for bytes in self.payload_bytes.entries() {
            within("a payload in bytes", *bytes, TOKEN_BYTES, PAYLOAD_BYTES_MAX)?;
        }
        within("the threads", self.threads, 1, THREADS_MAX)
    }
}

fn within<T: PartialOrd + ToString>(what: &'static str, value: T, min: T, max: T) -> Result<(), InvalidPlan> {
    if min <= value && value <= max {
        return Ok(());
    }
    Err(InvalidPlan::Bounds { what, min: min.to_string(), max: max.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LEGACY, Method, Phase, STATELESS, Weighted};

    fn refused(change: impl FnOnce(&mut PlanSpec)) -> InvalidPlan {
        let mut spec = PlanSpec::new("http://localhost/mcp");
        change(&mut spec);
        spec.build().unwrap_err()
    }

    #[test]
    fn the_defaults_are_a_plan() {
        assert_eq!(PlanSpec::new("http://localhost/mcp").build().unwrap().revision(), LEGACY);
    }

    #[test]
    fn what_is_out_of_bounds_is_named_with_them() {
        let error = refused(|spec| spec.payload_bytes = Weighted::only(19));
        assert_eq!(error.to_string(), "a payload in bytes must be from 20 to 67108864");
        let error = refused(|spec| spec.threads = 0);
        assert_eq!(error.to_string(), "the threads must be from 1 to 256");
        let endless = Phase { sessions: 1, length: PHASE_MAX * 2, rate: None };
        assert!(matches!(refused(|spec| spec.phases = vec![endless]), InvalidPlan::Bounds { .. }));
    }

    #[test]
    fn a_name_that_could_be_no_header_is_refused() {
        assert_eq!(refused(|spec| spec.tool = "a\r\nb".into()), InvalidPlan::Name);
        assert_eq!(refused(|spec| spec.mix = Weighted::only(Method::Other("a b".into()))), InvalidPlan::Name);
    }

    #[test]
    fn https_needs_somebody_to_trust() {
        assert_eq!(refused(|spec| spec.url = "https://localhost/mcp".into()), InvalidPlan::Untrusted);
    }

    #[test]
    fn what_the_stateless_revision_does_not_have_is_refused() {
        let error = refused(|spec| (spec.revision, spec.streams) = (STATELESS.into(), 1));
        assert_eq!(error, InvalidPlan::Stateless("streams by GET"));
    }
}
