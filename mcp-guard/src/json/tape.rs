//! One pass over a text, and what it leaves.

use std::borrow::Cow;
use std::ops::Range;

use super::scan::{Broken, Flaw, Scanner, Text};
use super::value::Json;
use super::walk::{Sink, walk};

/// Where the values of a text lie.
///
/// Each value has a place, and so has each name of a member; containers come before what they hold. The tape does not
/// hold the text: whoever walks through it brings that along.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    places: Vec<Place>,
    /// Most texts have none of it.
    notes: Option<Box<Notes>>,
}

/// What is noted beside the places.
#[derive(Clone, Debug, Default)]
struct Notes {
    large: Vec<Large>,
    odd: Vec<(u32, Odd)>,
}

/// What two parsers may read in two ways although it is JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "whoever looks must say what it does with each")]
pub enum Odd {
    /// The name of a member that its object has already.
    Twice,
    /// A text with half of a surrogate pair, or a number beyond what a double holds.
    Unreadable,
}

/// One value, or one name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) start: u32,
    pub(super) end: u32,
    /// How many places it takes up with all that it holds; while it is being read, what it lies in.
    pub(super) span: u32,
    pub(super) form: Form,
}

/// What is written at a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Null,
    False,
    True,
    Number,
    Text,
    EscapedText,
    Array,
    Object,
}

/// An object of many members: the places of their names, in the order of the names.
#[derive(Clone, Debug)]
struct Large {
    at: u32,
    names: Box<[u32]>,
}

/// Objects of more members than this are searched by halves, so that no object costs the square of its size.
const FEW: usize = 16;

/// Stands for the place of what lies in nothing.
const NOWHERE: u32 = u32::MAX;

impl Tape {
    /// Reads `text`, which is one value.
    ///
    /// # Errors
    ///
    /// [`Flaw::Syntax`] for what is no JSON, and for 4 GiB of it; [`Flaw::TooDeep`] for arrays and objects nested more than
    /// `depth_max` deep, or [`DEPTH_MAX`](super::DEPTH_MAX).
    pub fn read(text: &str, depth_max: u32) -> Result<Self, Broken> {
        if u32::try_from(text.len()).is_err() {
            return Err(Broken { at: 0, flaw: Flaw::Syntax });
        }
        let tape = Self { places: Vec::with_capacity(text.len() / 16 + 8), ..Self::default() };
        let mut reader = Reader { text, tape, open: NOWHERE };
        let mut scanner = Scanner::new(text);
        walk(&mut scanner, depth_max, &mut reader)?;
        if scanner.peek().is_some() {
            return Err(scanner.broken());
        }
        // Objects are noted when they end, the inner ones first.
        if let Some(notes) = &mut reader.tape.notes {
            notes.large.sort_unstable_by_key(|large| large.at);
        }
        Ok(reader.tape)
    }

    /// The value that the whole of `text` is, which must be what was read.
    pub fn root<'a>(&'a self, text: &'a str) -> Json<'a> {
        Json::new(text, self, 0)
    }

    /// How many values and names there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none: a text that was read has at least one.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn place(&self, at: u32) -> Place {
        let nothing = Place { start: 0, end: 0, span: 1, form: Form::Null };
        self.places.get(at as usize).copied().unwrap_or(nothing)
    }

    /// The first thing that is odd among the places `range`.
    pub(super) fn odd_in(&self, range: Range<u32>) -> Option<(u32, Odd)> {
        self.notes.as_ref()?.odd.iter().filter(|(at, _)| range.contains(at)).min_by_key(|(at, _)| *at).copied()
    }

    /// The places of an object's names in the order of the names, if it has many.
    pub(super) fn names_in_order(&self, object: u32) -> Option<&[u32]> {
        let large = &self.notes.as_ref()?.large;
        let index = large.binary_search_by_key(&object, |large| large.at).ok()?;
        large.get(index).map(|large| &*large.names)
    }
}

struct Reader<'a> {
    text: &'a str,
    tape: Tape,
    /// The innermost container that has not ended.
    open: u32,
}

impl Sink for Reader<'_> {
    fn scalar(&mut self, form: Form, start: usize, scanner: &Scanner<'_>, is_odd: bool) {
        // A long number is odd only if it is too large.
        if is_odd && !(form == Form::Number && is_finite(scanner.since(start))) {
            self.note_odd(self.next(), Odd::Unreadable);
        }
        self.push(start, scanner.at(), 1, form);
    }

    fn name(&mut self, text: Text) {
        if text.is_odd {
            self.note_odd(self.next(), Odd::Unreadable);
        }
        self.push(text.start, text.end, 1, if text.is_escaped { Form::EscapedText } else { Form::Text });
    }

    fn open(&mut self, form: Form, start: usize) {
        let at = self.next();
        self.push(start, start, self.open, form);
        self.open = at;
    }

    fn close(&mut self, end: usize) {
        let (at, span) = (self.open, self.next() - self.open);
        if let Some(place) = self.tape.places.get_mut(at as usize) {
            self.open = std::mem::replace(&mut place.span, span);
            place.end = offset(end);
            if place.form == Form::Object {
                self.look_for_names_given_twice(at);
            }
        }
    }
}

impl Reader<'_> {
    fn look_for_names_given_twice(&mut self, object: u32) {
        let names = Json::new(self.text, &self.tape, object).members().map(|(name, _)| name);
        let mut few = [None; FEW];
        for (count, name) in names.clone().enumerate() {
            if few.iter().take(count).flatten().any(|earlier| name.is_same_text(*earlier)) {
                let at = name.at();
                self.note_odd(at, Odd::Twice);
                return;
            }
            match few.get_mut(count) {
                Some(place) => *place = Some(name),
                None => {
                    let mut sorted: Vec<(Cow<'_, str>, u32)> =
                        names.map(|name| (name.as_text().unwrap_or_default(), name.at())).collect();
                    sorted.sort_unstable();
                    let twice = sorted.windows(2).filter(|pair| matches!(pair, [(a, _), (b, _)] if a == b));
                    let twice: Vec<u32> = twice.filter_map(|pair| pair.last().map(|(_, at)| *at)).collect();
                    let names = sorted.into_iter().map(|(_, at)| at).collect();
                    let notes = self.tape.notes.get_or_insert_default();
                    notes.odd.extend(twice.into_iter().map(|at| (at, Odd::Twice)));
                    notes.large.push(Large { at: object, names });
                    return;
                }
            }
        }
    }

    fn note_odd(&mut self, at: u32, odd: Odd) {
        self.tape.notes.get_or_insert_default().odd.push((at, odd));
    }

    /// The place of what is pushed next.
    fn next(&self) -> u32 {
        offset(self.tape.places.len())
    }

    fn push(&mut self, start: usize, end: usize, span: u32, form: Form) {
        self.tape.places.push(Place { start: offset(start), end: offset(end), span, form });
    }
}

fn is_finite(number: &str) -> bool {
    number.parse::<f64>().is_ok_and(f64::is_finite)
}

/// A place in the text or on the tape: a text of less than 4 GiB has no more of either.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(NOWHERE)
}
