//! Walking through what was read.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::{Map, Number, Value};

use super::tape::{Form, Odd, Place, Tape};

/// A value in a text that was read. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a> {
    text: &'a str,
    tape: &'a Tape,
    at: u32,
}

/// What sort of value it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "JSON has no others")]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// A number, whole or not.
    Number,
    /// A string.
    Text,
    /// `[…]`
    Array,
    /// `{…}`
    Object,
}

impl<'a> Json<'a> {
    pub(super) fn new(text: &'a str, tape: &'a Tape, at: u32) -> Self {
        Self { text, tape, at }
    }

    /// What sort of value it is.
    pub fn kind(self) -> Kind {
        match self.form() {
            Form::Null => Kind::Null,
            Form::True | Form::False => Kind::Boolean,
            Form::Number => Kind::Number,
            Form::Text | Form::EscapedText => Kind::Text,
            Form::Array => Kind::Array,
            Form::Object => Kind::Object,
        }
    }

    /// The value as it is written.
    pub fn raw(self) -> &'a str {
        self.text.get(self.range()).unwrap_or_default()
    }

    /// Where in the text it is written.
    pub fn range(self) -> Range<usize> {
        let place = self.place();
        place.start as usize..place.end as usize
    }

    /// What a string says; `None` for other values. One with half of a surrogate pair says what it looks like.
    pub fn as_text(self) -> Option<Cow<'a, str>> {
        match self.form() {
            Form::Text => Some(Cow::Borrowed(self.inside())),
            Form::EscapedText => {
                let said = serde_json::from_str::<String>(self.raw());
                Some(said.map_or_else(|_| Cow::Borrowed(self.inside()), Cow::Owned))
            }
            Form::Null | Form::True | Form::False | Form::Number | Form::Array | Form::Object => None,
        }
    }

    /// `true` or `false`; `None` for other values.
    pub fn as_boolean(self) -> Option<bool> {
        match self.form() {
            Form::True => Some(true),
            Form::False => Some(false),
            Form::Null | Form::Number | Form::Text | Form::EscapedText | Form::Array | Form::Object => None,
        }
    }

    /// A number as serde_json has it; `None` for other values, and for one beyond what a double holds.
    pub fn as_number(self) -> Option<Number> {
        if self.form() == Form::Number { serde_json::from_str(self.raw()).ok() } else { None }
    }

    /// The members of an object, each a name and a value, in the order of the text; none for other values.
    pub fn members(self) -> Members<'a> {
        Members(self.children(Form::Object))
    }

    /// The elements of an array; none for other values.
    pub fn elements(self) -> Elements<'a> {
        Elements(self.children(Form::Array))
    }

    /// The member called `name`. Of two with one name it is either.
    pub fn get(self, name: &str) -> Option<Self> {
        let Some(names) = self.tape.names_in_order(self.at) else {
            return self.members().find(|(member, _)| member.is_text(name)).map(|(_, value)| value);
        };
        let text = |at: &u32| Self { at: *at, ..self }.as_text().unwrap_or_default();
        let index = names.binary_search_by(|at| (*text(at)).cmp(name)).ok()?;
        names.get(index).map(|at| Self { at: *at + 1, ..self })
    }

    /// What is odd about it or anything in it, the first thing of all, and where: a JSON pointer (RFC 6901) from here.
    pub fn oddity(self) -> Option<(Odd, String)> {
        let (at, odd) = self.tape.odd_in(self.at..self.at + self.place().span)?;
        let mut pointer = String::new();
        self.point_to(at, &mut pointer);
        Some((odd, pointer))
    }

    /// How many values and names it is, itself included.
    pub fn weight(self) -> usize {
        self.place().span as usize
    }

    /// A copy that owns what it says. What is odd reads as the last member of a name, and as `null` for a number.
    pub fn to_value(self) -> Value {
        match self.form() {
            Form::Null => Value::Null,
            Form::True => Value::Bool(true),
            Form::False => Value::Bool(false),
            Form::Number => self.as_number().map_or(Value::Null, Value::Number),
            Form::Text | Form::EscapedText => Value::String(self.as_text().unwrap_or_default().into_owned()),
            Form::Array => Value::Array(self.elements().map(Self::to_value).collect()),
            Form::Object => {
                let member =
                    |(name, value): (Self, Self)| (name.as_text().unwrap_or_default().into(), value.to_value());
                Value::Object(self.members().map(member).collect::<Map<_, _>>())
            }
        }
    }

    /// Whether both are strings that say the same.
    pub(super) fn is_same_text(self, other: Self) -> bool {
        match (self.form(), other.form()) {
            (Form::Text, Form::Text) => self.inside() == other.inside(),
            _ => self.as_text() == other.as_text(),
        }
    }

    /// Whether it is a string that says `text`.
    pub(crate) fn is_text(self, text: &str) -> bool {
        match self.form() {
            Form::Text => self.inside() == text,
            Form::EscapedText => self.as_text().is_some_and(|said| said == text),
            Form::Null | Form::False | Form::True | Form::Number | Form::Array | Form::Object => false,
        }
    }

    /// Its place on the tape.
    pub(super) fn at(self) -> u32 {
        self.at
    }

    /// What tells this tape from others that are there at the same time.
    pub(super) fn tape_address(self) -> usize {
        std::ptr::from_ref(self.tape).addr()
    }

    /// Goes down to the place `at`, writing each step.
    fn point_to(self, at: u32, pointer: &mut String) {
        let holds = |value: Self| (value.at..value.at + value.place().span).contains(&at);
        let child = match self.kind() {
            Kind::Object => {
                let mut members = self.members();
                members.find(|(name, value)| name.at == at || holds(*value)).map(|(name, value)| {
                    pointer.push('/');
                    pointer.push_str(&name.as_text().unwrap_or_default().replace('~', "~0").replace('/', "~1"));
                    value
                })
            }
            Kind::Array => self.elements().enumerate().find(|(_, value)| holds(*value)).map(|(index, value)| {
                pointer.push('/');
                pointer.push_str(&index.to_string());
                value
            }),
            Kind::Null | Kind::Boolean | Kind::Number | Kind::Text => None,
        };
        if let Some(child) = child.filter(|child| holds(*child)) {
            child.point_to(at, pointer);
        }
    }

    fn children(self, form: Form) -> Children<'a> {
        let place = self.place();
        let end = if place.form == form { self.at + place.span } else { self.at };
        Children { next: Self { at: self.at + 1, ..self }, end }
    }

    /// What lies between the quotes.
    fn inside(self) -> &'a str {
        let Range { start, end } = self.range();
        self.text.get(start + 1..end - 1).unwrap_or_default()
    }

    fn form(self) -> Form {
        self.place().form
    }

    fn place(self) -> Place {
        self.tape.place(self.at)
    }
}

/// Values side by side.
#[derive(Clone, Debug)]
struct Children<'a> {
    next: Json<'a>,
    end: u32,
}

impl<'a> Children<'a> {
    fn step(&mut self) -> Option<Json<'a>> {
        let here = self.next;
        if here.at >= self.end {
            return None;
        }
        self.next.at += here.place().span;
        Some(here)
    }
}

/// The members of an object.
#[derive(Clone, Debug)]
pub struct Members<'a>(Children<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = (Json<'a>, Json<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.step()?, self.0.step()?))
    }
}

/// The elements of an array.
#[derive(Clone, Debug)]
pub struct Elements<'a>(Children<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        self.0.step()
    }
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
