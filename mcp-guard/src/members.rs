//! Members of a JSON object by name; and names that only look like them.

use crate::json::{Json, Kind};
use crate::refusal::{Reason, Refusal};

/// The members called `names` of `object`. `null` is a value, not absence.
///
/// # Errors
///
/// `invalid_request` for what is no object, for a name given twice, and for one that differs from a wanted name only in
/// case or in a trailing NUL: some parsers (Go's `encoding/json`, before CVE-2026-27896 was mended in MCP's own SDK)
/// take them for the same, and would act on another message than was judged.
pub(crate) fn read<'a, const N: usize>(object: Json<'a>, names: &[&str; N]) -> Result<[Option<Json<'a>>; N], Refusal> {
    if object.kind() != Kind::Object {
        return Err(invalid("a message is a JSON object".into()));
    }
    let mut members = [None; N];
    for (name, value) in object.members() {
        let text = name.as_text().unwrap_or_default();
        match names.iter().zip(&mut members).find(|(wanted, _)| **wanted == text) {
            Some((_, member @ None)) => *member = Some(value),
            Some((wanted, Some(_))) => return Err(invalid(format!("duplicate field `{wanted}`"))),
            None => {
                if let Some(wanted) = names.iter().find(|wanted| looks_like(&text, wanted)) {
                    return Err(invalid(format!("a field that only looks like `{wanted}`")));
                }
            }
        }
    }
    Ok(members)
}

fn invalid(detail: String) -> Refusal {
    Refusal::new(Reason::InvalidRequest, detail)
}

/// Whether a parser that folds case, as Go's does, or stops at a NUL, takes `text` for `name`, which is ASCII.
fn looks_like(text: &str, name: &str) -> bool {
    let text = text.trim_end_matches('\0');
    if text.is_ascii() {
        return text.eq_ignore_ascii_case(name);
    }
    // The only characters beyond ASCII that fold to ASCII letters (Unicode CaseFolding.txt).
    let folded = text.replace('\u{17f}', "s").replace('\u{212a}', "k");
    folded.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Tape;

    #[test]
    fn members_are_found_and_null_is_one() {
        let text = r#"{"b":null,"x":[1,{"a":2}],"\u0061":{"y":1}}"#;
        let tape = Tape::read(text, 8).unwrap();
        let [a, b, c] = read(tape.root(text), &["a", "b", "c"]).unwrap();
        assert_eq!((a.unwrap().raw(), b.unwrap().raw(), c.is_none()), (r#"{"y":1}"#, "null", true));
    }

    #[test]
    fn names_given_twice_or_made_to_look_alike_are_refused() {
        let read = |text: &str| {
            let tape = Tape::read(text, 8).unwrap();
            read(tape.root(text), &["method", "params", "token"]).map(|_| ())
        };
        for text in [
            r#"{"method":1,"method":2}"#,
            r#"{"Method":1}"#,
            r#"{"METHOD":1}"#,
            r#"{"method\u0000":1}"#,
            r#"{"param\u017f":1}"#,
            "{\"to\u{212a}en\":1}",
        ] {
            assert_eq!(read(text).unwrap_err().reason(), Reason::InvalidRequest, "{text}");
        }
        assert!(read(r#"{"methods":1,"meth":2,"":3,"mëthod":4}"#).is_ok());
    }
}
