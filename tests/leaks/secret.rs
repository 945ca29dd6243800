//! Secrets that a test plants, and every form in which they could come to light.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// What must not be found, and where it was put.
#[derive(Clone, Debug)]
pub(crate) struct Secret {
    place: &'static str,
    halves: [String; 2],
    /// Whether an answer to the one who sent it may show it.
    is_callers: bool,
}

/// How a secret may be written.
struct Form {
    name: &'static str,
    text: String,
    /// Letters of either case are the same.
    is_any_case: bool,
}

impl Secret {
    /// A new one for `place`: 32 letters from `g` to `v`, so that none of it is ever there by chance.
    pub(crate) fn new(place: &'static str) -> Self {
        let letter = |nibble: u64| char::from(b'g' + u8::try_from(nibble).expect("four bits"));
        let half = || (0..16).map(|at| letter(random() >> (4 * at) & 15)).collect();
        Self { place, halves: [half(), half()], is_callers: false }
    }

    /// The same, which an answer to the one who sent it may show.
    pub(crate) fn callers(place: &'static str) -> Self {
        Self { is_callers: true, ..Self::new(place) }
    }

    /// A number of 16 digits.
    pub(crate) fn number(place: &'static str) -> Self {
        let digits = (1_000_000_000_000_000 + random() % 9_000_000_000_000_000).to_string();
        // Fewer digits could be there by chance.
        Self { place, halves: [digits[..12].to_owned(), digits[12..].to_owned()], is_callers: false }
    }

    /// One that is written already, as a key is in its file.
    pub(crate) fn written(place: &'static str, text: &str) -> Self {
        let (first, second) = text.split_at(text.len() / 2);
        Self { place, halves: [first.to_owned(), second.to_owned()], is_callers: false }
    }

    /// Where it is.
    pub(crate) fn place(&self) -> &'static str {
        self.place
    }

    pub(crate) fn is_callers(&self) -> bool {
        self.is_callers
    }

    /// The text, of ASCII letters or digits alone.
    pub(crate) fn text(&self) -> String {
        self.halves.concat()
    }

    /// The text with characters in its middle that most encodings write in their own way; its halves are the same.
    pub(crate) fn prose(&self) -> String {
        self.halves.join(" \"/é\\+ ")
    }

    /// How and where in `text`, which is `lowered` in lower case, this comes to light: the form, and what is around it.
    pub(crate) fn find(&self, text: &str, lowered: &str) -> Option<(&'static str, String)> {
        for half in self.halves.iter().filter(|half| half.len() >= 12) {
            for form in forms(half) {
                let (searched, wanted) =
                    if form.is_any_case { (lowered, form.text.to_lowercase()) } else { (text, form.text) };
                if let Some(at) = searched.find(&wanted) {
                    let start = searched.floor_char_boundary(at.saturating_sub(200));
                    let end = searched.ceil_char_boundary((at + wanted.len() + 100).min(searched.len()));
                    return Some((form.name, searched[start..end].to_owned()));
                }
            }
        }
        None
    }
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The ways to write `text` that a program has at hand.
fn forms(text: &str) -> Vec<Form> {
    let each = |write: fn(u8) -> String, between: &str| text.bytes().map(write).collect::<Vec<_>>().join(between);
    let hex = |byte: u8| format!("{byte:02x}");
    let decimal = |byte: u8| byte.to_string();
    let any = |name, text| Form { name, text, is_any_case: true };
    let mut forms = vec![
        any("as it is", text.to_owned()),
        any("in hex", each(hex, "")),
        any("in hex, apart", each(hex, " ")),
        any("in hex, with colons", each(hex, ":")),
        any("in hex, as a list", each(|byte| format!("{byte:#x}"), ", ")),
        any("as bytes, one by one", each(decimal, ", ")),
        any("as bytes, close together", each(decimal, ",")),
        any("percent-encoded", each(|byte| format!("%{byte:02x}"), "")),
        any("in JSON's escapes", each(|byte| format!("\\u{byte:04x}"), "")),
        any("in Rust's escapes", each(|byte| format!("\\x{byte:02x}"), "")),
    ];
    for before in 0..3 {
        for (name, alphabet) in [("in base64", "+/"), ("in base64url", "-_")] {
            forms.push(Form { name, text: base64(text.as_bytes(), before, alphabet), is_any_case: false });
        }
    }
    forms
}

/// The characters of base64 that `bytes` alone make up where so many bytes, of three, are before them.
fn base64(bytes: &[u8], before: usize, last: &str) -> String {
    const FIRST: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let alphabet: Vec<char> = FIRST.chars().chain(last.chars()).collect();
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let (whole, _) = bits[[0, 4, 2][before]..].as_chunks::<6>();
    whole.iter().map(|six| alphabet[six.iter().fold(0, |value, bit| value << 1 | usize::from(*bit))]).collect()
}

#[test]
fn a_secret_is_found_in_every_form_and_by_its_half() {
    let secret = Secret::written("", "Many hands make light work.!");
    let is_found = |text: &str| secret.find(text, &text.to_lowercase()).map(|(form, _)| form);
    for (text, form) in [
        ("… MANY HANDS MAKE …", Some("as it is")),
        ("TWFueSBoYW5kcyBtYWtlIGxpZ2h0IHdvcmsuIQ==", Some("in base64")),
        ("eE1hbnkgaGFuZHMgbWFrZSBsaWdodCB3b3JrLiE=", Some("in base64")),
        ("eHhNYW55IGhhbmRzIG1ha2UgbGlnaHQgd29yay4h", Some("in base64")),
        ("4D616E792068616E6473206D616B65", Some("in hex")),
        ("[77, 97, 110, 121, 32, 104, 97, 110, 100, 115, 32, 109, 97, 107]", Some("as bytes, one by one")),
        ("%4D%61%6E%79%20%68%61%6E%64%73%20%6D%61%6B", Some("percent-encoded")),
        ("e light work.!", Some("as it is")),
        ("many hands", None),
    ] {
        assert_eq!(is_found(text), form, "{text}");
    }
}
