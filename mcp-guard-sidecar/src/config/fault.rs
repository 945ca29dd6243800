//! Why a part of a config does not fit its type, and how that is said.

use std::fmt::{self, Display};

use serde::de;

use super::environment::is_bare_reference;
use super::key_path::KeyPath;
use super::node::{Content, Node};
use super::problem::Problem;
use super::redact::without_credentials;

/// What serde says about a part that does not fit, and where it was.
#[derive(Debug)]
pub(super) struct Fault {
    reason: Reason,
    /// Set by the innermost part that knows.
    path: Option<KeyPath>,
}

#[derive(Debug)]
enum Reason {
    Other(String),
    WrongKind { allowed: String },
    UnknownVariant { allowed: &'static [&'static str] },
    UnknownKey { allowed: &'static [&'static str] },
    MissingKey(&'static str),
}

impl Fault {
    /// The same, at `path` unless a place was known.
    pub(super) fn within(mut self, path: impl FnOnce() -> KeyPath) -> Self {
        self.path.get_or_insert_with(path);
        self
    }

    /// As a problem of `tree`, and the path of the part to take out to look for more.
    pub(super) fn locate(self, tree: &Node) -> (Problem, KeyPath) {
        let path = self.path.unwrap_or_default();
        let node = tree.find(&path).unwrap_or(tree);
        let on_key = tree.key_place(&path).unwrap_or(node.place);
        let (place, at, what) = match self.reason {
            Reason::UnknownKey { allowed } => (on_key, node.path.clone(), unknown_key(&path, allowed)),
            Reason::MissingKey(key) => (node.place, node.path.key(key), "is missing, and has no default".into()),
            Reason::WrongKind { allowed } => {
                // Where several values belong, one is often a whole command, or a credential.
                let is_scalar = matches!(&node.content, Content::Scalar(value) if value.is_string());
                let is_many = ["a map", "a sequence"].contains(&allowed.as_str());
                let shown = if is_scalar && is_many { "text".into() } else { shown(node) };
                (node.place, node.path.clone(), format!("{shown} is not allowed here: write {}", kind(&allowed)))
            }
            Reason::UnknownVariant { allowed } => {
                (node.place, node.path.clone(), format!("{} is not allowed here: write {}", shown(node), any(allowed)))
            }
            Reason::Other(what) => {
                let (inner, what) = about_child(node, &what);
                return (Problem { place: inner.place, path: inner.path.clone(), what: told(inner, what) }, path);
            }
        };
        (Problem { place, path: at, what }, path)
    }
}

/// A policy's message starts with the key that it is about: `json_depth is 0: allowed is ...`. If that key was
/// written, the message is about its place and needs not say its name.
fn about_child<'a, 'b>(node: &'a Node, what: &'b str) -> (&'a Node, &'b str) {
    let (name, rest) = what.split_once(' ').unwrap_or((what, ""));
    let path = name.trim_matches(['`', ':']).split('.').fold(KeyPath::root(), |path, key| path.key(key));
    match node.find(&path) {
        Some(child) => (child, rest),
        None => (node, what),
    }
}

/// What a policy says of `node`, which may quote it, without what may be secret.
fn told(node: &Node, what: &str) -> String {
    if node.written.is_none() {
        return without_credentials(what);
    }
    // It may quote a part of the value, so all is left out but what is allowed.
    let allowed = [": write ", ": allowed ", ": at most "].iter().filter_map(|mark| what.rfind(mark)).max();
    let allowed = allowed.and_then(|at| what.get(at..)).unwrap_or_default();
    format!("{} is not allowed here{allowed}", shown(node))
}

fn unknown_key(path: &KeyPath, allowed: &[&str]) -> String {
    let written = path.last_key().unwrap_or_default();
    let near = allowed
        .iter()
        .map(|key| (strsim::damerau_levenshtein(written, key), key))
        .filter(|(distance, key)| *distance <= 1 + key.len() / 4)
        .min();
    let hint = near.map_or(":".into(), |(_, key)| format!(", did you mean `{key}`?"));
    match allowed {
        [] => "unknown key: none is allowed here".into(),
        _ => format!("unknown key{hint} allowed are {}", allowed.join(", ")),
    }
}

fn any(allowed: &[&str]) -> String {
    match allowed {
        [one] => (*one).into(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
        [] => "nothing".into(),
    }
}

/// The longest value that is told, in characters.
const VALUE_CHARS_MAX: usize = 60;

/// A part as it is told to people; what may be secret is not told.
fn shown(node: &Node) -> String {
    match &node.content {
        _ if ["environment", "command"].iter().any(|key| node.path.passes(key)) => "this value".into(),
        // A default, or what stands beside a reference, may be as secret as what it stands for.
        _ if let Some(written) = &node.written => {
            if is_bare_reference(written) {
                written.clone()
            } else {
                "this value".into()
            }
        }
        Content::List(_) => "a list".into(),
        Content::Mapping(_) => "a mapping".into(),
        Content::Scalar(value) => {
            let text = without_credentials(&value.to_string());
            match text.char_indices().nth(VALUE_CHARS_MAX) {
                Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
                None => text,
            }
        }
    }
}

/// Serde's name of what it expected, in the words of the config.
fn kind(expected: &str) -> String {
    let words = match expected {
        "a boolean" => "true or false",
        "a string" | "string" => "text, in quotes",
        "a quantity with its unit" => "a quantity with its unit, as in 30s, 4MiB or 50/s",
        "a sequence" => "a list",
        "a map" => "a mapping of keys to values",
        "f32" | "f64" => "a number",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0",
        "a nonzero u32" => "a whole number from 1 to 4294967295",
        _ if expected.starts_with("a nonzero u") => "a whole number from 1",
        _ => expected,
    };
    words.into()
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        Self { reason, path: None }
    }
}

impl std::error::Error for Fault {}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.reason)
    }
}

impl de::Error for Fault {
    fn custom<T: Display>(what: T) -> Self {
        Reason::Other(what.to_string()).into()
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Reason::WrongKind { allowed: expected.to_string() }.into()
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Reason::WrongKind { allowed: expected.to_string() }.into()
    }

    fn invalid_length(_: usize, expected: &dyn de::Expected) -> Self {
        Reason::WrongKind { allowed: expected.to_string() }.into()
    }

    fn unknown_variant(_: &str, allowed: &'static [&'static str]) -> Self {
        Reason::UnknownVariant { allowed }.into()
    }

    fn unknown_field(_: &str, allowed: &'static [&'static str]) -> Self {
        Reason::UnknownKey { allowed }.into()
    }

    fn missing_field(key: &'static str) -> Self {
        Reason::MissingKey(key).into()
    }
}
