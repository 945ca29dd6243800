//! Medians, quantiles and slopes.

/// The middle one; NaN without any.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The figure that `share` of `sorted`, from 0 to 1, do not exceed; `None` without any.
pub(crate) fn quantile<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let last = sorted.len().checked_sub(1)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index between 0 and the length")]
    let index = (last as f64 * share) as usize;
    sorted.get(index).copied()
}

/// Median, lowest and highest of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Of `figures`; `None` without any.
    pub(crate) fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        Some(Self { low: *figures.first()?, high: *figures.last()?, median: median(figures) })
    }

    /// Of the ratios of `figures` to those at the same place in `references`; `None` without a pair.
    pub(crate) fn of_ratios(figures: &[f64], references: &[f64]) -> Option<Self> {
        Self::of(figures.iter().zip(references).map(|(figure, one)| figure / one).collect())
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { median, low, high } = self;
        write!(formatter, "{median:.2} ({low:.2}-{high:.2})")
    }
}

/// The exponent `b` of the `y = a x^b` that fits best by least squares of the logarithms; NaN without two different `x`.
pub(crate) fn exponent(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let mean_x = logs.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = logs.iter().map(|(_, y)| y).sum::<f64>() / count;
    let together = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>();
    let alone = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
    if alone > 0.0 { together / alone } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle_whatever_the_order() {
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn quantiles_reach_from_the_first_to_the_last() {
        let sorted: Vec<u32> = (1..=1001).collect();
        let at = |share| quantile(&sorted, share);
        assert_eq!([at(0.0), at(0.5), at(0.99), at(0.999), at(1.0)], [1, 501, 991, 1000, 1001].map(Some));
        assert_eq!(quantile::<u32>(&[], 0.5), None);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let spread = Spread::of_ratios(&[2.0, 9.0, 8.0], &[1.0, 3.0, 2.0]);
        assert_eq!(spread, Some(Spread { median: 3.0, low: 2.0, high: 4.0 }));
        assert_eq!(Spread::of_ratios(&[2.0], &[]), None);
    }

    #[test]
    fn an_exponent_is_that_of_the_power_law() {
        let law = |b: f64| (1..6).map(|x| (f64::from(x), 7.0 * f64::from(x).powf(b))).collect::<Vec<_>>();
        for b in [0.0, 0.5, 1.0, 2.0] {
            assert!((exponent(&law(b)) - b).abs() < 1e-9, "{b}");
        }
        assert!(exponent(&[(2.0, 1.0), (2.0, 3.0)]).is_nan());
    }
}
