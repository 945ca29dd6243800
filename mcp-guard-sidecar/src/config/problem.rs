//! What is wrong with a config, and where.

use std::fmt;

use super::key_path::KeyPath;

/// Everything that is wrong with a config: at least one [`Problem`].
///
/// Displayed as one line a problem, in the order of the file:
/// `FILE:LINE:COL: path.to.key: what is wrong, and what is allowed`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    source: String,
    problems: Vec<Problem>,
}

impl ConfigError {
    /// The problems of what came from `source`: a file's name, or words such as `command line`.
    pub(super) fn new(source: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place);
        Self { source: source.into(), problems }
    }

    /// The problems, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.problems.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            match problem.place {
                Place::Whole => write!(f, "{}: ", self.source)?,
                Place::Flag(flag) => write!(f, "{flag}: ")?,
                Place::Text { line, column } => write!(f, "{}:{line}:{column}: ", self.source)?,
            }
            if !problem.path.is_root() {
                write!(f, "{}: ", one_line(&problem.path.to_string()))?;
            }
            f.write_str(&one_line(&problem.what))?;
        }
        Ok(())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where it was written.
    pub place: Place,
    /// Which key it is about; the root if none.
    pub path: KeyPath,
    /// What is wrong, and what is allowed.
    pub what: String,
}

/// Where a part of a config was written.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// The file as a whole, or no file.
    Whole,
    /// A flag of the command line.
    Flag(&'static str),
    /// A character of the file; both count from 1.
    Text {
        /// The line.
        line: usize,
        /// The character in the line.
        column: usize,
    },
}

/// The longest text that is told, in characters: enough for the longest list of keys.
const TEXT_CHARS_MAX: usize = 800;

/// A text without control characters, cut where it is longer than [`TEXT_CHARS_MAX`].
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for (position, char) in text.chars().enumerate() {
        if position == TEXT_CHARS_MAX {
            line.push('…');
            break;
        }
        match char {
            _ if char.is_control() => line.extend(char.escape_default()),
            _ => line.push(char),
        }
    }
    line
}
