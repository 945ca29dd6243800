//! From a file and flags to a valid config, or to everything that is wrong with it.

use std::io::Read;
use std::path::Path;

use super::decode::decode;
use super::flags::Flags;
use super::key_path::KeyPath;
use super::node::Node;
use super::problem::{ConfigError, Place, Problem};
use super::root::{Config, ConfigSpec};
use super::yaml;

/// The largest config file in bytes: a hundred times what a config with every key and many tools has.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// The most problems that are told at once.
pub const PROBLEMS_MAX: usize = 20;

impl Config {
    /// The config in `file`, with `flags` over it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the file cannot be read, is larger than [`FILE_BYTES_MAX`], or as for [`Config::parse`].
    pub fn load(file: &Path, flags: &Flags) -> Result<Self, ConfigError> {
        let source = file.display().to_string();
        let text = read_text(file).map_err(|problem| ConfigError::new(&source, vec![problem]))?;
        Self::parse(&source, &text, flags)
    }

    /// The config in `text`, with `flags` over it; `source` is the name of the file for messages.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with up to [`PROBLEMS_MAX`] problems and their places.
    pub fn parse(source: &str, text: &str, flags: &Flags) -> Result<Self, ConfigError> {
        match yaml::read(text) {
            Ok((tree, problems)) => from_tree(tree, flags, problems),
            Err(problem) => Err(vec![problem]),
        }
        .map_err(|problems| ConfigError::new(source, problems))
    }

    /// The config of `mcp-guard run` without a file: every default, with `flags` over it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the flags name no upstream, or one that is not valid.
    pub fn from_flags(flags: &Flags) -> Result<Self, ConfigError> {
        from_tree(Node::empty(Place::Whole), flags, Vec::new())
            .map_err(|problems| ConfigError::new("command line", problems))
    }
}

/// Decodes; takes out the part that is wrong and decodes again, so that one run tells several problems.
fn from_tree(mut tree: Node, flags: &Flags, mut problems: Vec<Problem>) -> Result<Config, Vec<Problem>> {
    flags.apply(&mut tree);
    while problems.len() < PROBLEMS_MAX {
        let fault = match decode::<ConfigSpec>(&tree) {
            // What spans several keys is judged only when each key is as it was meant.
            Ok(spec) if problems.is_empty() => return Config::new(spec).map_err(|found| placed(found, &tree)),
            Ok(_) => break,
            Err(fault) => fault,
        };
        let (problem, part) = fault.locate(&tree);
        if !is_consequence(&problem, &problems) {
            problems.push(problem);
        }
        if !tree.remove(&part) {
            break;
        }
    }
    problems.truncate(PROBLEMS_MAX);
    Err(problems)
}

/// Whether a problem may be there only because the part of an earlier one was taken out.
fn is_consequence(problem: &Problem, earlier: &[Problem]) -> bool {
    earlier.iter().any(|earlier| earlier.path.is_within(&problem.path))
}

/// Problems that name keys, with the places of these keys or of what is around them.
fn placed(found: Vec<(KeyPath, String)>, tree: &Node) -> Vec<Problem> {
    let place = |path: &KeyPath| path.outwards().find_map(|path| tree.find(&path)).unwrap_or(tree).place;
    found.into_iter().map(|(path, what)| Problem { place: place(&path), path, what }).collect()
}

fn read_text(file: &Path) -> Result<String, Problem> {
    let whole = |what: String| Problem { place: Place::Whole, path: KeyPath::root(), what };
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| whole(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(whole(format!("larger than {FILE_BYTES_MAX} bytes: a config file is at most that")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let good = String::from_utf8_lossy(good);
        let (before, last) =
            good.rsplit_once('\n').map_or((0, &*good), |(lines, last)| (lines.matches('\n').count() + 1, last));
        let place = Place::Text { line: before + 1, column: last.chars().count() + 1 };
        Problem { place, ..whole("not UTF-8: write the file in UTF-8".into()) }
    })
}
