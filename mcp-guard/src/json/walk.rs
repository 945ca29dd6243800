//! The grammar of values: one pass over a text, told to whoever wants to know.

use super::scan::{Broken, Flaw, Scanner, Text};
use super::tape::Form;

/// Nothing that nests deeper is read. Messages have a lower bound; this one is for what nodes answer.
pub const DEPTH_MAX: u32 = 512;

/// What is told of a text as it is read.
pub(super) trait Sink {
    /// A value that holds no others lies in `scanner`'s text from `start` to where it is now.
    fn scalar(&mut self, form: Form, start: usize, scanner: &Scanner<'_>, is_odd: bool);
    /// A member's name; its value follows.
    fn name(&mut self, text: Text);
    /// An array or object begins at `start`.
    fn open(&mut self, form: Form, start: usize);
    /// The innermost one that is open ends before `end`.
    fn close(&mut self, end: usize);
}

/// Reads one value, nested at most `depth_max` deep and never more than [`DEPTH_MAX`].
pub(super) fn walk(scanner: &mut Scanner<'_>, depth_max: u32, sink: &mut impl Sink) -> Result<(), Broken> {
    let mut nest = Nest { depth_max: depth_max.min(DEPTH_MAX), ..Nest::default() };
    while !(begin(scanner, &mut nest, sink)? && end(scanner, &mut nest, sink)?) {}
    Ok(())
}

/// Reads the beginning of a value; `true` if that is all of it.
fn begin(scanner: &mut Scanner<'_>, nest: &mut Nest, sink: &mut impl Sink) -> Result<bool, Broken> {
    let first = scanner.peek();
    let start = scanner.at();
    let (form, is_odd) = match first {
        Some(b'"') => {
            let text = scanner.text()?;
            (if text.is_escaped { Form::EscapedText } else { Form::Text }, text.is_odd)
        }
        Some(b'{') => return open(Form::Object, scanner, nest, sink),
        Some(b'[') => return open(Form::Array, scanner, nest, sink),
        Some(b't') => (scanner.word("true").map(|()| Form::True)?, false),
        Some(b'f') => (scanner.word("false").map(|()| Form::False)?, false),
        Some(b'n') => (scanner.word("null").map(|()| Form::Null)?, false),
        Some(_) | None => (Form::Number, scanner.number()?),
    };
    sink.scalar(form, start, scanner, is_odd);
    Ok(true)
}

fn open(form: Form, scanner: &mut Scanner<'_>, nest: &mut Nest, sink: &mut impl Sink) -> Result<bool, Broken> {
    let is_object = form == Form::Object;
    if !nest.push(is_object) {
        return Err(Broken { at: scanner.at(), flaw: Flaw::TooDeep });
    }
    sink.open(form, scanner.at());
    scanner.step();
    if scanner.peek() == Some(if is_object { b'}' } else { b']' }) {
        scanner.step();
        nest.pop();
        sink.close(scanner.at());
        return Ok(true);
    }
    if is_object {
        name(scanner, sink)?;
    }
    Ok(false)
}

/// Ends what ends with the value that was just read; `true` if nothing is open any more.
fn end(scanner: &mut Scanner<'_>, nest: &mut Nest, sink: &mut impl Sink) -> Result<bool, Broken> {
    while let Some(is_object) = nest.is_in_object() {
        match scanner.peek() {
            Some(b',') => {
                scanner.step();
                if is_object {
                    name(scanner, sink)?;
                }
                return Ok(false);
            }
            Some(b'}') if is_object => {}
            Some(b']') if !is_object => {}
            Some(_) | None => return Err(scanner.broken()),
        }
        scanner.step();
        nest.pop();
        sink.close(scanner.at());
    }
    Ok(true)
}

/// Reads a member's name, up to its value.
fn name(scanner: &mut Scanner<'_>, sink: &mut impl Sink) -> Result<(), Broken> {
    if scanner.peek() != Some(b'"') {
        return Err(scanner.broken());
    }
    sink.name(scanner.text()?);
    scanner.expect(b':')
}

/// Which of the containers that are open are objects: a bit each, so that nothing is allocated.
#[derive(Default)]
struct Nest {
    objects: [u64; WORDS],
    depth: u32,
    depth_max: u32,
}

const WORDS: usize = DEPTH_MAX.div_ceil(u64::BITS) as usize;

impl Nest {
    /// One more is open; `false` if that is too deep.
    fn push(&mut self, is_object: bool) -> bool {
        if self.depth >= self.depth_max {
            return false;
        }
        let (index, bit) = place(self.depth);
        if let Some(word) = self.objects.get_mut(index) {
            *word = if is_object { *word | bit } else { *word & !bit };
        }
        self.depth += 1;
        true
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Whether the innermost one is an object; `None` if none is open.
    fn is_in_object(&self) -> Option<bool> {
        let (index, bit) = place(self.depth.checked_sub(1)?);
        self.objects.get(index).map(|word| word & bit != 0)
    }
}

fn place(depth: u32) -> (usize, u64) {
    ((depth / u64::BITS) as usize, 1 << (depth % u64::BITS))
}

/// Tells nobody.
pub(super) struct Nobody;

impl Sink for Nobody {
    fn scalar(&mut self, _: Form, _: usize, _: &Scanner<'_>, _: bool) {}
    fn name(&mut self, _: Text) {}
    fn open(&mut self, _: Form, _: usize) {}
    fn close(&mut self, _: usize) {}
}
