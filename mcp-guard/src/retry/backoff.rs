//! How long to wait before the next attempt.

use std::time::Duration;

/// A wait between `base` and three times the `previous` one, at most `cap`.
///
/// Decorrelated jitter: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. Before the first wait `previous` is
/// `base`. `random` is 64 random bits, drawn for this call: callers that share them would come back together.
#[must_use]
pub fn delay(previous: Duration, base: Duration, cap: Duration, random: u64) -> Duration {
    let longest = previous.saturating_mul(3).clamp(base, cap.max(base));
    // Multiply and shift maps the random bits evenly onto the span (Lemire 2019).
    let span = longest.saturating_sub(base).as_nanos();
    let nanos = (span.saturating_mul(u128::from(random))) >> 64;
    base + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: Duration = Duration::from_millis(50);
    const CAP: Duration = Duration::from_secs(2);

    #[test]
    fn the_random_bits_span_the_whole_range() {
        assert_eq!(delay(BASE, BASE, CAP, 0), BASE);
        assert_eq!(delay(BASE, BASE, CAP, u64::MAX), BASE * 3 - Duration::from_nanos(1));
        assert_eq!(delay(CAP, BASE, CAP, u64::MAX), CAP - Duration::from_nanos(1));
    }

    proptest! {
        #[test]
        fn a_wait_is_never_below_base_nor_above_cap(random in prop::collection::vec(any::<u64>(), 1..20)) {
            let mut previous = BASE;
            for bits in random {
                let wait = delay(previous, BASE, CAP, bits);
                prop_assert!(BASE <= wait && wait <= CAP && wait <= previous * 3);
                previous = wait;
            }
        }
    }
}
