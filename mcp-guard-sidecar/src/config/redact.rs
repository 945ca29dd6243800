//! Takes out of a config what must not be shown.

use serde_json::Value;

/// What stands where something was taken out.
pub(super) const REDACTED: &str = "<redacted>";

/// Words in the name of an argument or of a key that say that its value is a secret.
const SECRET_WORDS: [&str; 7] = ["token", "secret", "password", "passwd", "credential", "apikey", "api-key"];

/// Takes secrets out of every text: userinfo and query of URLs, and in lists of arguments the values of options whose
/// names say that they are secret (`--token X`, `--token=X`, `TOKEN=X`). Nulls are left out, as a config has none.
pub(super) fn redact(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text_redacted(&text)),
        Value::Array(items) => Value::Array(list_redacted(items)),
        Value::Object(entries) => {
            let told = entries.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(told.map(|(key, value)| (key, redact(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn list_redacted(items: Vec<Value>) -> Vec<Value> {
    let mut is_after_secret = false;
    let redacted = items.into_iter().map(|item| {
        let is_secret = std::mem::take(&mut is_after_secret);
        match &item {
            Value::String(_) if is_secret => Value::String(REDACTED.into()),
            Value::String(text) => {
                is_after_secret = text.starts_with('-') && !text.contains('=') && is_secret_name(text);
                redact(item)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => redact(item),
        }
    });
    redacted.collect()
}

fn text_redacted(text: &str) -> String {
    match text.split_once('=') {
        Some((name, _)) if !name.contains("://") && is_secret_name(name) => format!("{name}={REDACTED}"),
        _ => url_redacted(text),
    }
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

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    SECRET_WORDS.iter().any(|word| name.contains(word))
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
            ("--url=http://a:b@host/x", "--url=http://<redacted>@host/x"),
            ("report_*", "report_*"),
        ] {
            assert_eq!(redact(json!(text)), json!(expected));
        }
    }

    #[test]
    fn values_of_secret_arguments_are_taken_out() {
        let command = json!(["node", "--api-key", "s1", "--auth-token=s2", "DB_PASSWORD=s3", "--port", "80"]);
        let expected = json!([
            "node",
            "--api-key",
            "<redacted>",
            "--auth-token=<redacted>",
            "DB_PASSWORD=<redacted>",
            "--port",
            "80"
        ]);
        assert_eq!(redact(command), expected);
    }
}
