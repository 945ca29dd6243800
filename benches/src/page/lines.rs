//! Lines over logarithmic axes.

use plotters::chart::ChartBuilder;
use plotters::element::Circle;
use plotters::prelude::IntoLogRange;
use plotters::series::LineSeries;
use plotters::style::{Color, TRANSPARENT};

use super::frame::{Area, colour, framed, short};
use crate::Fault;

/// One plot of lines through points.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) title: String,
    /// What the axes say, with their units.
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) series: Vec<LinePoints>,
    pub(crate) first_colour: usize,
    /// What stands at the places 1, 2 and so on of the `x` axis; empty: the figures.
    pub(crate) names: Vec<String>,
}

/// A name, and its points from left to right.
pub(crate) type LinePoints = (String, Vec<(f64, f64)>);

impl Lines {
    pub(crate) fn svg(&self) -> Result<String, Fault> {
        let names: Vec<&str> = self.series.iter().map(|(name, _)| name.as_str()).collect();
        framed(&self.title, &names, self.first_colour, |area| self.draw(area))
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), Fault> {
        let points = || self.series.iter().flat_map(|(_, points)| points.iter().copied());
        let (left, right) = around(points().map(|(x, _)| x));
        let (left, right) = (left / 1.15, right * 1.15);
        // Whole powers of ten: others get no figure at the axis.
        let (bottom, top) = around(points().map(|(_, y)| y));
        let (bottom, top) = (10_f64.powf(bottom.log10().floor()), 10_f64.powf(top.log10().ceil()));
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(46)
            .y_label_area_size(64)
            .build_cartesian_2d((left..right).log_scale(), (bottom..top).log_scale())?;
        let x_label = |x: &f64| self.x_label(*x);
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.x.as_str()).y_desc(self.y.as_str()).x_label_formatter(&x_label);
        mesh.y_label_formatter(&|y| short(*y)).axis_desc_style(("sans-serif", 14)).label_style(("sans-serif", 13));
        mesh.light_line_style(TRANSPARENT).draw()?;
        for (place, (_, points)) in self.series.iter().enumerate() {
            let colour = colour(self.first_colour + place);
            chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        }
        Ok(())
    }

    fn x_label(&self, x: f64) -> String {
        if self.names.is_empty() {
            return short(x);
        }
        let named = self.names.iter().zip(1..).find(|(_, place)| (x - f64::from(*place)).abs() < 1e-6);
        named.map(|(name, _)| name.clone()).unwrap_or_default()
    }
}

/// The lowest and the highest of `figures`; what has no logarithm is left out.
fn around(figures: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = figures
        .filter(|figure| *figure > 0.0 && figure.is_finite())
        .fold((f64::INFINITY, 0.0_f64), |(low, high), figure| (low.min(figure), high.max(figure)));
    if high > 0.0 { (low, high) } else { (0.1, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_reach_around_all_points() {
        let (low, high) = around([0.0, 2.0, 8.0, f64::NAN].into_iter());
        assert!((low - 2.0).abs() < 1e-9 && (high - 8.0).abs() < 1e-9);
        assert!(around(std::iter::empty()).1 > 0.0);
    }

    #[test]
    fn a_line_is_drawn_with_its_names() {
        let series = vec![("guard".to_owned(), vec![(1.0, 10.0), (2.0, 20.0)])];
        let names = ["p50", "p99"].map(str::to_owned).to_vec();
        let [title, x, y] = ["t", "quantile", "ms"].map(str::to_owned);
        let lines = Lines { title, x, y, series, first_colour: 0, names };
        let svg = lines.svg().unwrap();
        assert!(["guard", "quantile", "ms", "polyline"].iter().all(|part| svg.contains(part)), "{svg}");
    }
}
