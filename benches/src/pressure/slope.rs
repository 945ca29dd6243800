//! Whether a figure grows: the line that fits it best, and how sure that is.

use std::fmt;

use serde::Serialize;

/// A line through points, by least squares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Slope {
    /// The mean of the figure.
    pub mean: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
    /// How much it grows in an hour.
    pub per_hour: f64,
    /// Half of the width of the 95 % confidence interval of that.
    pub margin: f64,
    /// How many points.
    pub points: usize,
    /// From the first to the last, in hours.
    pub hours: f64,
}

/// What a figure may drift by over the whole of a run, against its mean, and still be called flat.
const DRIFT_MAX: f64 = 0.01;

impl Slope {
    /// Of points of time in seconds and figure; `None` with fewer than ten, or without time between them.
    ///
    /// Neighbours resemble each other (a table fills, a fault lasts), so that the usual error of a slope would promise too
    /// much: this is that of Newey and West, "A simple, positive semi-definite, heteroskedasticity and autocorrelation
    /// consistent covariance matrix" (Econometrica 55(3), 1987), over as many neighbours as the root of the number of points.
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        let (first, last) = (points.first()?, points.last()?);
        let count = points.len() as f64;
        let mean_of = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (mean_x, mean) = (mean_of(|point| point.0), mean_of(|point| point.1));
        let square = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
        if points.len() < 10 || square <= 0.0 {
            return None;
        }
        let slope = points.iter().map(|(x, y)| (x - mean_x) * (y - mean)).sum::<f64>() / square;
        let pulls: Vec<f64> = points.iter().map(|(x, y)| (x - mean_x) * (y - mean - slope * (x - mean_x))).collect();
        let together = |lag: usize| pulls.iter().zip(pulls.iter().skip(lag)).map(|(a, b)| a * b).sum::<f64>();
        let lags = points.len().isqrt();
        let weighted = (1..=lags).map(|lag| 2.0 * (1.0 - lag as f64 / (lags as f64 + 1.0)) * together(lag));
        let variance = (together(0) + weighted.sum::<f64>()).max(0.0) * count / (count - 2.0) / square.powi(2);
        let ys = points.iter().map(|point| point.1);
        Some(Self {
            mean,
            low: ys.clone().fold(f64::INFINITY, f64::min),
            high: ys.fold(f64::NEG_INFINITY, f64::max),
            per_hour: slope * 3600.0,
            margin: quantile_of_t(count - 2.0) * variance.sqrt() * 3600.0,
            points: points.len(),
            hours: (last.0 - first.0) / 3600.0,
        })
    }

    /// Whether no growth is to be seen: either 0 is within the confidence interval, or the line rises by less than a hundredth
    /// of the mean from the first point to the last. What falls does not grow.
    pub fn is_flat(&self) -> bool {
        self.per_hour - self.margin <= 0.0 || self.per_hour * self.hours <= DRIFT_MAX * self.mean.abs()
    }
}

/// The two-sided 95 % quantile of Student's t, to a hundredth from ten degrees of freedom on (Cornish and Fisher's expansion).
fn quantile_of_t(freedom: f64) -> f64 {
    let z = 1.959_964_f64;
    z + (z.powi(3) + z) / (4.0 * freedom) + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * freedom.powi(2))
}

impl fmt::Display for Slope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:+.2} ± {:.2}", self.per_hour, self.margin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A point each five seconds for half an hour.
    fn points(of: impl FnMut(f64) -> f64) -> Vec<(f64, f64)> {
        let mut of = of;
        (0..360).map(|number| f64::from(number) * 5.0).map(|seconds| (seconds, of(seconds))).collect()
    }

    #[test]
    fn a_line_has_its_own_slope_and_no_margin() {
        let slope = Slope::of(&points(|seconds| 100.0 + seconds / 3600.0 * 7.0)).unwrap();
        assert!((slope.per_hour - 7.0).abs() < 1e-6 && slope.margin < 1e-6, "{slope:?}");
        assert!(!slope.is_flat());
    }

    #[test]
    fn what_goes_up_and_down_is_flat() {
        let slope = Slope::of(&points(|seconds| 100.0 + 20.0 * (seconds / 60.0).sin())).unwrap();
        assert!(slope.is_flat() && slope.margin > 0.5, "{slope:?}");
    }

    #[test]
    fn the_interval_holds_the_true_slope_of_most_series_whose_neighbours_resemble_each_other() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut holds = 0;
        for _ in 0..200 {
            let mut drift = 0.0;
            let series = points(|seconds| {
                drift = 0.8 * drift + random.f64() - 0.5;
                seconds / 3600.0 * 3.0 + drift
            });
            let slope = Slope::of(&series).unwrap();
            holds += u32::from((slope.per_hour - 3.0).abs() <= slope.margin);
        }
        // 190 of 200 if it were exact; with the error of independent points it is some 110.
        assert!(holds >= 170, "{holds}");
    }

    #[test]
    fn a_leak_shows_through_the_noise() {
        let mut random = fastrand::Rng::with_seed(3);
        let slope = Slope::of(&points(|seconds| 100.0 + seconds / 3600.0 * 20.0 + random.f64())).unwrap();
        assert!(!slope.is_flat() && (slope.per_hour - 20.0).abs() < slope.margin * 2.0, "{slope:?}");
    }

    #[test]
    fn a_quantile_of_t_is_that_of_the_tables() {
        for (freedom, expected) in [(10.0, 2.228), (30.0, 2.042), (358.0, 1.967)] {
            assert!((quantile_of_t(freedom) - expected).abs() < 0.01, "{freedom}");
        }
    }
}
