//! Takes out of a config what must not be shown.

use serde_json::Value;

/// What stands where something was taken out.
pub(super) const REDACTED: &str = "<redacted>";

/// Takes secrets out: userinfo and query of URLs, and all arguments of commands. No rule tells which arguments are
/// secret: they come behind options of any name, inside of headers, as variables, and with no name at all. Nulls are
/// left out, as a config has none.
pub(super) fn redact(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(url_redacted(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(redact).collect()),
        Value::Object(entries) => {
            let told = entries.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(told.map(|(key, value)| entry_redacted(key, value)).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn entry_redacted(key: String, value: Value) -> (String, Value) {
    let value = if key == "command" { command_redacted(value) } else { redact(value) };
    (key, value)
}

/// The program, and how many arguments it has.
fn command_redacted(words: Value) -> Value {
    let Value::Array(mut words) = words else { return redact(words) };
    let arguments = words.len().saturating_sub(1);
    words.truncate(1);
    match arguments {
        0 => {}
        1 => words.push("<redacted: 1 argument>".into()),
        _ => words.push(format!("<redacted: {arguments} arguments>").into()),
    }
    Value::Array(words)
}

fn url_redacted(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.into();
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(authority_end).unwrap_or((rest, ""));
    let userinfo = authority.rsplit_once('@').map_or(String::new(), |_| format!("{REDACTED}@"));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match rest.split_once('?') {
        Some((path, _)) => format!("{scheme}://{userinfo}{host}{path}?{REDACTED}"),
        None => format!("{scheme}://{userinfo}{host}{rest}"),
    }
}

/// `text` with the URLs in it as [`redact`] leaves them.
pub(super) fn without_credentials(text: &str) -> String {
    let is_end = |letter: char| letter.is_whitespace() || ['"', '\'', '`'].contains(&letter);
    text.split_inclusive(is_end)
        .map(|word| {
            let (word, end) = word.strip_suffix(is_end).map_or((word, ""), |stripped| word.split_at(stripped.len()));
            url_redacted(word) + end
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_and_query_of_a_url_are_taken_out() {
        for (text, expected) in [
            ("http://host/mcp", "http://host/mcp"),
            ("postgres://me:pw@host:5432/db", "postgres://<redacted>@host:5432/db"),
            ("http://host/mcp?key=1", "http://host/mcp?<redacted>"),
            ("report_*", "report_*"),
        ] {
            assert_eq!(redact(json!(text)), json!(expected));
        }
    }

    #[test]
    fn what_is_quoted_in_a_message_has_no_credentials() {
        for (text, expected) in [
            ("\"http://me:pw@host:80\" is not an address", "\"http://<redacted>@host:80\" is not an address"),
            ("`https://app/?key=1` is no origin", "`https://app/?<redacted>` is no origin"),
            ("write http[s]://HOST[:PORT][/PATH], or me@host?", "write http[s]://HOST[:PORT][/PATH], or me@host?"),
        ] {
            assert_eq!(without_credentials(text), expected);
        }
    }

    #[test]
    fn of_a_command_only_the_program_is_left() {
        for (command, expected) in [
            (json!(["node"]), json!(["node"])),
            (json!(["node", "sk-1"]), json!(["node", "<redacted: 1 argument>"])),
            (json!(["env", "OPENAI_KEY=s", "npx"]), json!(["env", "<redacted: 2 arguments>"])),
            (
                json!(["proxy", "--header", "Authorization: Bearer s", "--port", "80"]),
                json!(["proxy", "<redacted: 4 arguments>"]),
            ),
        ] {
            assert_eq!(
                redact(json!({"upstreams": [{"command": command}]})),
                json!({"upstreams": [{"command": expected}]})
            );
        }
    }
}
