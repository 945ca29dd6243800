//! Bars in groups, for figures of several proxies side by side.

use plotters::chart::ChartBuilder;
use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::{BLACK, Color, TRANSPARENT};

use super::frame::{Area, centred, colour, framed, short};
use crate::Fault;

/// One plot of bars.
#[derive(Debug)]
pub(crate) struct Bars {
    pub(crate) title: String,
    /// What the height of a bar says, with its unit.
    pub(crate) unit: String,
    /// What is told apart by the groups; may be empty.
    pub(crate) x: String,
    /// What stands under each group.
    pub(crate) groups: Vec<String>,
    pub(crate) series: Vec<BarSeries>,
    /// The colour of the first series: whoever is in several plots has the same in all.
    pub(crate) first_colour: usize,
}

/// The bars of one colour, one for each group.
#[derive(Debug)]
pub(crate) struct BarSeries {
    pub(crate) name: String,
    pub(crate) bars: Vec<Option<Bar>>,
}

/// A figure, and from where to where it was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) height: f64,
    pub(crate) range: Option<(f64, f64)>,
}

impl Bars {
    pub(crate) fn svg(&self) -> Result<String, Fault> {
        let names: Vec<&str> = self.series.iter().map(|series| series.name.as_str()).collect();
        framed(&self.title, &names, self.first_colour, |area| self.draw(area))
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), Fault> {
        let right = self.groups.len() as f64 - 0.5;
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(46)
            .y_label_area_size(64)
            .build_cartesian_2d(-0.5..right, 0.0..self.top())?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh()
            .x_labels(0)
            .x_desc(self.x.as_str())
            .y_desc(self.unit.as_str())
            .y_label_formatter(&|y| short(*y));
        mesh.axis_desc_style(("sans-serif", 14))
            .label_style(("sans-serif", 13))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (place, group) in self.groups.iter().enumerate() {
            let (x, y) = chart.backend_coord(&(place as f64, 0.0));
            area_text(area, group, (x, y + 8))?;
        }
        for (place, series) in self.series.iter().enumerate() {
            for (group, bar) in series.bars.iter().enumerate() {
                let Some(bar) = bar else { continue };
                let (from, to) = self.sides(group, place);
                chart.draw_series([Rectangle::new(
                    [(from, 0.0), (to, bar.height)],
                    colour(self.first_colour + place).filled(),
                )])?;
                let middle = f64::midpoint(from, to);
                let (low, high) = bar.range.unwrap_or((bar.height, bar.height));
                chart.draw_series([PathElement::new(vec![(middle, low), (middle, high)], BLACK)])?;
                let (x, y) = chart.backend_coord(&(middle, bar.height.max(high)));
                area_text(area, &short(bar.height), (x, y - 16))?;
            }
        }
        Ok(())
    }

    /// Above the highest bar, with room for its figure.
    fn top(&self) -> f64 {
        let bars = self.series.iter().flat_map(|series| series.bars.iter().flatten());
        let highest =
            bars.map(|bar| bar.range.map_or(bar.height, |(_, high)| high.max(bar.height))).fold(0.0, f64::max);
        if highest > 0.0 { highest * 1.12 } else { 1.0 }
    }

    /// Where the bar of the series at `place` begins and ends in `group`.
    fn sides(&self, group: usize, place: usize) -> (f64, f64) {
        let width = 0.8 / self.series.len() as f64;
        let from = group as f64 - 0.4 + place as f64 * width;
        (from + width * 0.05, from + width * 0.95)
    }
}

/// Text at a pixel of the whole picture.
fn area_text(area: &Area<'_>, text: &str, (x, y): (i32, i32)) -> Result<(), Fault> {
    let (left, top) = area.get_base_pixel();
    area.draw(&Text::new(text.to_owned(), (x - left, y - top), centred(13)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars() -> Bars {
        let bar = |height| Some(Bar { height, range: Some((height - 0.5, height + 1.0)) });
        Bars {
            title: "CPU".into(),
            unit: "ratio".into(),
            x: "clients".into(),
            first_colour: 0,
            groups: vec!["1".into(), "32".into()],
            series: vec![
                BarSeries { name: "nginx".into(), bars: vec![bar(1.0), bar(2.0)] },
                BarSeries { name: "guard".into(), bars: vec![None, bar(3.0)] },
            ],
        }
    }

    #[test]
    fn bars_of_a_group_lie_side_by_side() {
        let bars = bars();
        assert!(bars.sides(0, 0).1 < bars.sides(0, 1).0 && bars.sides(0, 1).1 < bars.sides(1, 0).0);
    }

    #[test]
    fn there_is_room_above_the_highest_range() {
        assert!(bars().top() > 4.0);
    }

    #[test]
    fn all_names_are_in_the_picture() {
        let svg = bars().svg().unwrap();
        assert!(["CPU", "ratio", "nginx", "guard", "32"].iter().all(|name| svg.contains(name)), "{svg}");
    }
}
