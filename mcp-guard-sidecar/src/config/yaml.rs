//! Text to tree: YAML 1.2, without what a config does not need.

use saphyr::Scalar;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};
use serde_json::{Number, Value};

use super::environment::expand;
use super::key_path::KeyPath;
use super::node::{Content, Entry, Node};
use super::problem::{ConfigError, Place, Problem};

/// The deepest nesting of lists and mappings that is read; the config itself needs 6.
pub const DEPTH_MAX: usize = 32;

/// The first document of a YAML text as JSON, for tools and tests that check it against the schema.
///
/// # Errors
///
/// [`ConfigError`] with the place, as for a config: bad syntax, duplicate keys, keys without a value, anchors,
/// aliases, tags, a second document, nesting deeper than [`DEPTH_MAX`].
pub fn json_of_yaml(source: &str, text: &str) -> Result<Value, ConfigError> {
    match read(text) {
        Ok((tree, problems)) if problems.is_empty() => Ok(tree.value()),
        Ok((_, problems)) => Err(ConfigError::new(source, problems)),
        Err(problem) => Err(ConfigError::new(source, vec![problem])),
    }
}

/// The tree of a text, and the problems that leave it a tree. A text without content is an empty mapping.
///
/// Errors are the problems after which nothing can be read.
pub(super) fn read(text: &str) -> Result<(Node, Vec<Problem>), Problem> {
    read_with(text, &|name| std::env::var(name).ok())
}

/// The same, where `variable` is the environment.
pub(super) fn read_with(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(Node, Vec<Problem>), Problem> {
    // A byte order mark is no part of the text, yet some editors write one.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { events: Parser::new_from_str(text), problems: Vec::new(), variable };
    let tree = reader.stream()?;
    Ok((tree.unwrap_or_else(|| Node::empty(START)), reader.problems))
}

const START: Place = Place::Text { line: 1, column: 1 };

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    problems: Vec<Problem>,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Reader<'a> {
    fn stream(&mut self) -> Result<Option<Node>, Problem> {
        let mut tree = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(tree),
                Event::DocumentStart(_) if tree.is_some() => {
                    return Err(at(&span, "a second document: write one config a file"));
                }
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                Event::Scalar(text, ScalarStyle::Plain, 0, None) if is_null(&text) => {
                    tree = Some(Node::empty(place(&span)));
                }
                Event::Scalar(..)
                | Event::Alias(_)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd => tree = self.node(event, span, &KeyPath::root())?,
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.events.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(Problem {
                place: place_of(error.marker()),
                path: KeyPath::root(),
                what: format!("not YAML: {}", error.info()),
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The part that begins with `event`, or none where it has no value; then a problem is noted.
    fn node(&mut self, event: Event<'a>, span: Span, path: &KeyPath) -> Result<Option<Node>, Problem> {
        if path.steps().len() > DEPTH_MAX {
            return Err(at(&span, &format!("nested deeper than {DEPTH_MAX}: no key needs that")));
        }
        let mut written = None;
        if let Event::Scalar(text, ..) = &event
            && text.contains("${")
        {
            written = Some(text.to_string());
        }
        let content = match event {
            Event::Scalar(text, style, 0, None) => self.scalar(&text, style, &span, path),
            Event::SequenceStart(0, None) => Some(Content::List(self.list(path)?)),
            Event::MappingStart(0, None) => Some(Content::Mapping(self.mapping(path)?)),
            Event::Alias(_)
            | Event::Scalar(_, _, 1.., _)
            | Event::SequenceStart(1.., _)
            | Event::MappingStart(1.., _) => {
                return Err(Problem {
                    path: path.clone(),
                    ..at(&span, "anchors and aliases are not read: write the value out")
                });
            }
            Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) => {
                return Err(Problem {
                    path: path.clone(),
                    ..at(&span, "tags are not read: write the plain value, quoted where it is text")
                });
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(at(&span, "not YAML: a value is missing")),
        };
        Ok(content.map(|content| Node { path: path.clone(), place: place(&span), content, written }))
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: &Span, path: &KeyPath) -> Option<Content> {
        let text = match expand(text, self.variable) {
            Ok(text) => text,
            Err(what) => {
                self.problems.push(Problem { path: path.clone(), ..at(span, &what) });
                return None;
            }
        };
        let text = &*text;
        if style != ScalarStyle::Plain {
            return Some(Content::Scalar(text.into()));
        }
        let value = if is_null(text) { None } else { plain(text) };
        if value.is_none() {
            let what = "has no value: write one, or leave the key out for its default";
            self.problems.push(Problem { path: path.clone(), ..at(span, what) });
        }
        value.map(Content::Scalar)
    }

    fn list(&mut self, path: &KeyPath) -> Result<Vec<Node>, Problem> {
        let mut items = Vec::new();
        // Counts items that are left out too, so that a path says what a reader would count.
        for index in 0.. {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                break;
            }
            items.extend(self.node(event, span, &path.index(index))?);
        }
        Ok(items)
    }

    fn mapping(&mut self, path: &KeyPath) -> Result<Vec<Entry>, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        // What is seen is kept apart: a key without a value is no entry, but its twin is still a duplicate.
        let mut seen = std::collections::HashSet::new();
        loop {
            let (event, key_span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let Event::Scalar(key, _, 0, None) = event else {
                return Err(Problem { path: path.clone(), ..at(&key_span, "not a key: write a plain name") });
            };
            let key = key.into_owned();
            let path = path.key(&key);
            let (event, span) = self.next()?;
            let value = self.node(event, span, &path)?;
            let key_place = place(&key_span);
            if !seen.insert(key.clone()) {
                let what = "written twice: write each key of a mapping once".into();
                self.problems.push(Problem { place: key_place, path, what });
            } else if let Some(value) = value {
                entries.push(Entry { key, key_place, value });
            }
        }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// What an unquoted text means in YAML's core schema; none for null.
fn plain(text: &str) -> Option<Value> {
    match Scalar::parse_from_cow(text.into()) {
        Scalar::Null => None,
        Scalar::Boolean(value) => Some(value.into()),
        Scalar::Integer(value) => Some(value.into()),
        // Infinity and NaN have no JSON form; as text they are refused wherever a number is wanted.
        Scalar::FloatingPoint(value) => Some(Number::from_f64(value.into_inner()).map_or(text.into(), Value::Number)),
        Scalar::String(value) => Some(value.into()),
    }
}

fn at(span: &Span, what: &str) -> Problem {
    Problem { place: place(span), path: KeyPath::root(), what: what.into() }
}

fn place(span: &Span) -> Place {
    place_of(&span.start)
}

/// The parser counts columns from 0.
fn place_of(marker: &Marker) -> Place {
    Place::Text { line: marker.line(), column: marker.col() + 1 }
}
