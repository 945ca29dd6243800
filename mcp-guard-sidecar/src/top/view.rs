//! Figures on the screen.

use std::net::SocketAddr;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Table};

use super::figures::Figures;

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, admin: SocketAddr, figures: &Figures) {
    let parts = [Constraint::Length(4), Constraint::Length(12), Constraint::Min(5), Constraint::Length(8)];
    let [head, middle, tools, nodes] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(Paragraph::new(summary(admin, figures)), head);
    let thirds = [Constraint::Percentage(34), Constraint::Percentage(33), Constraint::Percentage(33)];
    let [outcomes, refusals, retries] = Layout::horizontal(thirds).areas(middle);
    rates(frame, outcomes, "outcome", &figures.outcomes);
    rates(frame, refusals, "refused", &figures.refusals);
    rates(frame, retries, "retried", &figures.retries);
    draw_tools(frame, tools, figures);
    draw_nodes(frame, nodes, figures);
}

fn summary(admin: SocketAddr, figures: &Figures) -> Vec<Line<'static>> {
    let mut first = vec![Span::raw(format!("mcp-guard {} at {admin}", figures.version))];
    let bad = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
    if figures.is_draining {
        first.push(Span::styled("  DRAINING", bad));
    }
    if figures.memory_mark > 0.0 {
        first.push(Span::styled(format!("  MEMORY MARK {}", figures.memory_mark), bad));
    }
    if figures.config_rejected.is_some() {
        first.push(Span::styled("  CONFIG REJECTED, see /status", bad));
    }
    let levels = figures.levels.iter().map(|(name, level)| format!("{} {level}", name.replace('_', " ")));
    let mib = |bytes: f64| format!("{:.0}", bytes / f64::from(1 << 20));
    vec![
        Line::from(first),
        Line::from(format!("{:.1} messages/s   p50 {}   p99 {}", figures.rate, time(figures.p50), time(figures.p99))),
        Line::from(levels.collect::<Vec<_>>().join("   ")),
        Line::from(format!("memory {} of {} MiB   q ends", mib(figures.memory_bytes), mib(figures.memory_limit_bytes))),
    ]
}

/// At most so long.
fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".into(),
        Some(seconds) if seconds.is_infinite() => "longer than all".into(),
        Some(seconds) if seconds < 1.0 => format!("≤ {} ms", (seconds * 1e5).round() / 100.0),
        Some(seconds) => format!("≤ {seconds} s"),
    }
}

fn rates(frame: &mut Frame<'_>, area: Rect, title: &'static str, rates: &[(String, f64)]) {
    let rows = rates.iter().map(|(name, rate)| Row::new([name.clone(), format!("{rate:.1}")]));
    let table = Table::new(rows, [Constraint::Min(16), Constraint::Length(9)])
        .header(header([title, "1/s"]))
        .block(Block::bordered());
    frame.render_widget(table, area);
}

fn draw_tools(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let rows = figures.tools.iter().map(|tool| {
        let row =
            [tool.name.clone(), format!("{:.1}", tool.rate), format!("{:.1}", tool.failing), tool.total.to_string()];
        Row::new(row).style(if tool.failing > 0.0 { Style::new().fg(Color::Yellow) } else { Style::new() })
    });
    let widths = [Constraint::Min(30), Constraint::Length(10), Constraint::Length(12), Constraint::Length(14)];
    let head = header(["tool", "calls/s", "not well/s", "calls"]);
    frame.render_widget(Table::new(rows, widths).header(head).block(Block::bordered()), area);
}

fn draw_nodes(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let (good, bad) = (Style::new().fg(Color::Green), Style::new().fg(Color::Red));
    let nodes = figures.nodes.iter().map(|node| {
        let word = if node.is_well { "well" } else { "UNWELL" };
        Row::new([node.name.clone(), word.into(), node.why.clone()]).style(if node.is_well { good } else { bad })
    });
    let breakers = figures.breakers.iter().map(|(node, tool, is_tried)| {
        let what = if tool.is_empty() { node.clone() } else { format!("{node}, tool {tool}") };
        let word = if *is_tried { "PROBING" } else { "TRIPPED" };
        Row::new([what, word.into(), "breaker".into()]).style(bad)
    });
    let widths = [Constraint::Min(30), Constraint::Length(8), Constraint::Percentage(50)];
    let table =
        Table::new(nodes.chain(breakers), widths).header(header(["node", "is", "why"])).block(Block::bordered());
    frame.render_widget(table, area);
}

fn header<const N: usize>(titles: [&'static str; N]) -> Row<'static> {
    Row::new(titles).style(Style::new().add_modifier(Modifier::BOLD))
}
