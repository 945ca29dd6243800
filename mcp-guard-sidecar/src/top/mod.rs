//! `mcp-guard top`: what a running guard does, in the terminal.
//!
//! ```text
//! GET /metrics, /status ── each second ──▶ Page ── two of them ──▶ Figures ──▶ view
//! ```

mod figures;
mod page;
mod view;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use mcp_guard::middleware::clock;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use serde_json::Value;

use self::figures::Figures;
use self::page::Page;
use crate::cli::{ask, complain, pause};

/// How often the guard is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the guard said at one time.
#[derive(Debug)]
struct Sample {
    at: std::time::Instant,
    page: Page,
    status: Value,
}

impl Sample {
    fn take(admin: SocketAddr) -> io::Result<Self> {
        let page = Page::parse(&ask(admin, "GET", "/metrics")?);
        let status = serde_json::from_str(&ask(admin, "GET", "/status")?)?;
        Ok(Self { at: clock::now(), page, status })
    }
}

/// Shows the guard whose admin endpoints are at `admin`; once, as plain text, or until `q` is pressed.
pub fn top(admin: SocketAddr, once: bool) -> ExitCode {
    match if once { print(admin) } else { watch(admin) } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("mcp-guard top: {admin}: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn watch(admin: SocketAddr) -> io::Result<()> {
    let mut before = Sample::take(admin)?;
    let mut terminal = ratatui::try_init()?;
    let outcome = loop {
        let drawn = Sample::take(admin).and_then(|now| {
            let figures = Figures::between(&before, &now);
            before = now;
            terminal.draw(|frame| view::draw(frame, admin, &figures)).map(|_| ())
        });
        match drawn.and_then(|()| is_over()) {
            Ok(false) => {}
            Ok(true) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    ratatui::try_restore()?;
    outcome
}

/// Waits for the next look, or for the end.
fn is_over() -> io::Result<bool> {
    let end = clock::now() + INTERVAL;
    loop {
        let left = end.saturating_duration_since(clock::now());
        if left.is_zero() || !event::poll(left)? {
            return Ok(false);
        }
        if let Event::Key(key) = event::read()? {
            let interrupts = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if interrupts || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(true);
            }
        }
    }
}

/// The size of what is printed once.
const COLUMNS: u16 = 120;
const ROWS: u16 = 40;

fn print(admin: SocketAddr) -> io::Result<()> {
    let before = Sample::take(admin)?;
    pause(INTERVAL);
    let figures = Figures::between(&before, &Sample::take(admin)?);
    crate::cli::print(&plain(admin, &figures))
}

/// A frame as text.
fn plain(admin: SocketAddr, figures: &Figures) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(COLUMNS, ROWS));
    let Ok(_) = terminal.draw(|frame| view::draw(frame, admin, figures));
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in 0..ROWS {
        let cells = (0..COLUMNS).filter_map(|column| buffer.cell((column, row)));
        text.push_str(cells.map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end());
        text.push('\n');
    }
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests;
