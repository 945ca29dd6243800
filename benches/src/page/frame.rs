//! What all plots share: size, colours, title, legend, names under places.

use plotters::coord::Shift;
use plotters::element::{Rectangle, Text};
use plotters::prelude::{DrawingArea, IntoDrawingArea, RGBColor, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{BLACK, Color, IntoFont, TextStyle, WHITE};

use crate::Fault;

/// Where plots are drawn.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const SIZE: (u32, u32) = (760, 400);
/// How high a row of the legend is.
const LEGEND_ROW: i32 = 22;

/// Where a legend begins, as far from the left as the plots do.
const LEGEND_LEFT: i32 = 72;

/// Okabe and Ito's colours, which colour-blind readers can tell apart.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0x99, 0x99, 0x99),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x00, 0x00),
];

/// The colour of the series at `place`; those after the eighth begin anew.
pub(super) fn colour(place: usize) -> RGBColor {
    COLOURS.iter().copied().cycle().nth(place).unwrap_or(BLACK)
}

/// Text of `size` pixels that is centred at its place and hangs below it.
pub(super) fn centred(size: u32) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size).into_font()).pos(Pos::new(HPos::Center, VPos::Top))
}

/// An SVG with `title` on top and a legend of `names` below it, their colours from the one at `first_colour` on; `draw` draws what is left.
pub(super) fn framed(
    title: &str,
    names: &[&str],
    first_colour: usize,
    draw: impl FnOnce(&Area<'_>) -> Result<(), Fault>,
) -> Result<String, Fault> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let root = root.titled(title, TextStyle::from(("sans-serif", 18).into_font()))?;
        let places = legend(names, i32::try_from(SIZE.0)?);
        let rows = places.last().map_or(0, |(_, y)| y + LEGEND_ROW);
        let (top, rest) = root.split_vertically(rows);
        for (place, (name, (x, y))) in names.iter().zip(places).enumerate() {
            let key = Rectangle::new([(x, y + 2), (x + 12, y + 14)], colour(first_colour + place).filled());
            top.draw(&key)?;
            top.draw(&Text::new((*name).to_owned(), (x + 18, y), TextStyle::from(("sans-serif", 14).into_font())))?;
        }
        draw(&rest)?;
        root.present()?;
    }
    Ok(svg)
}

/// Where the entries of a legend begin that is `width` wide: side by side, as far as there is room.
fn legend(names: &[&str], width: i32) -> Vec<(i32, i32)> {
    let (mut x, mut y) = (LEGEND_LEFT, 4);
    let mut places = Vec::new();
    for name in names {
        // A letter takes 8 pixels and mostly less.
        let needed = i32::try_from(name.chars().count()).unwrap_or(i32::MAX).saturating_mul(8).saturating_add(40);
        if x > LEGEND_LEFT && x.saturating_add(needed) > width {
            (x, y) = (LEGEND_LEFT, y + LEGEND_ROW);
        }
        places.push((x, y));
        x = x.saturating_add(needed);
    }
    places
}

/// `figure` in about three digits.
pub(super) fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1e6 => trimmed(figure / 1e6, "M"),
        size if size >= 1e3 => trimmed(figure / 1e3, "k"),
        _ => trimmed(figure, ""),
    }
}

fn trimmed(figure: f64, unit: &str) -> String {
    let digits = match figure.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{figure:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legend_begins_a_row_where_it_would_be_cut() {
        assert_eq!(legend(&["nginx", "haproxy"], 760), [(72, 4), (152, 4)]);
        assert_eq!(legend(&["x".repeat(75).as_str(), "haproxy"], 760), [(72, 4), (72, 26)]);
    }

    #[test]
    fn figures_have_three_digits_and_no_empty_ones() {
        let texts = [0.0, 0.5, 1.234, 12.34, 300.0, 4500.0, 26_312.0, 4_194_304.0].map(short);
        assert_eq!(texts, ["0", "0.5", "1.23", "12.3", "300", "4.5k", "26.3k", "4.19M"]);
    }
}
