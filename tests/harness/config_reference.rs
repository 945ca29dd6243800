//! The reference page of the config file, written from its JSON Schema.

use std::fmt::Write;

use serde_json::{Map, Value};

/// The page in Markdown: a table for each section.
pub fn page(schema: &Value) -> String {
    let mut page = String::from(
        "# Config file\n\n<!-- Written from the JSON Schema by tests/config.rs: UPDATE=1 cargo nextest run -p mcp-guard-tests reference_page -->\n\n",
    );
    let _ = writeln!(page, "{}\n", text(schema, "description"));
    page.push_str(
        "`mcp-guard check -c FILE` says what is wrong with a file, and where. `mcp-guard schema` prints the JSON Schema for \
         editors. Unknown keys, keys without a value, duplicate keys, anchors and tags are errors.\n",
    );
    Writer { schema, page, waiting: vec![(String::new(), schema)] }.write()
}

struct Writer<'a> {
    schema: &'a Value,
    page: String,
    waiting: Vec<(String, &'a Value)>,
}

impl<'a> Writer<'a> {
    /// Writes sections depth first, in the order of the schema.
    fn write(mut self) -> String {
        while let Some((path, section)) = self.waiting.pop() {
            let name = if path.is_empty() { "Top level".into() } else { format!("`{path}`") };
            let _ = write!(self.page, "\n## {name}\n\n| key | type | default | |\n| --- | --- | --- | --- |\n");
            let mut inner = Vec::new();
            for (key, property) in object(section, "properties").into_iter().flatten() {
                self.row(section, key, property);
                inner.extend(self.section(&path, key, property));
            }
            self.waiting.extend(inner.into_iter().rev());
        }
        self.page
    }

    fn row(&mut self, section: &Value, key: &str, property: &Value) {
        let is_required =
            section["required"].as_array().is_some_and(|required| required.iter().any(|name| name == key));
        let default = match property.get("default").or_else(|| section["default"].get(key)) {
            _ if is_required => "**required**".into(),
            // What a section defaults to is told by the section's own table.
            None | Some(Value::Object(_)) => String::new(),
            Some(Value::String(text)) => format!("`{text}`"),
            Some(default) => format!("`{default}`"),
        };
        let target = self.resolved(property);
        let description = if property["description"].is_null() { target } else { property };
        let (kind, description) = (self.kind(property), text(description, "description"));
        let _ = writeln!(self.page, "| `{key}` | {} | {} | {} |", cell(&kind), cell(&default), cell(&description));
    }

    /// What a key holds, where that has keys of its own; with its path.
    fn section(&self, path: &str, key: &str, property: &'a Value) -> Option<(String, &'a Value)> {
        let dot = if path.is_empty() { "" } else { "." };
        let target = self.resolved(property);
        let (suffix, target) = match target.get("items") {
            Some(items) => ("[]", self.resolved(items)),
            None => ("", target),
        };
        target.get("properties").is_some().then(|| (format!("{path}{dot}{key}{suffix}"), target))
    }

    fn kind(&self, property: &Value) -> String {
        let reference = reference(property);
        let target = self.resolved(property);
        let choices = self.choices(target);
        match (reference, target["type"].as_str()) {
            _ if target.get("properties").is_some() => "section".into(),
            _ if !choices.is_empty() => choices.join(", "),
            (_, Some("array")) => format!("list of {}", plural(&self.kind(&target["items"]))),
            (_, Some("object")) => "mapping".into(),
            (Some(name), _) => words(name),
            (None, Some("string")) => "text".into(),
            (None, Some("boolean")) => "true or false".into(),
            (None, Some("integer")) => "whole number".into(),
            (None, Some(other)) => other.into(),
            (None, None) => "any".into(),
        }
    }

    /// The values of an enum.
    fn choices(&self, target: &Value) -> Vec<String> {
        let own = target.get("const").or_else(|| target.get("enum"));
        let inner = ["oneOf", "anyOf"].iter().find_map(|key| target[key].as_array());
        match (own, inner) {
            (Some(Value::Array(values)), _) => values.iter().map(|value| format!("`{}`", plain(value))).collect(),
            (Some(value), _) => vec![format!("`{}`", plain(value))],
            (None, Some(inner)) => inner.iter().flat_map(|choice| self.choices(self.resolved(choice))).collect(),
            (None, None) => Vec::new(),
        }
    }

    fn resolved<'b>(&self, schema: &'b Value) -> &'b Value
    where
        'a: 'b,
    {
        let definition = reference(schema).and_then(|name| self.schema["$defs"].get(name));
        definition.unwrap_or(schema)
    }
}

fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

fn object<'a>(schema: &'a Value, key: &str) -> Option<&'a Map<String, Value>> {
    schema[key].as_object()
}

fn text(schema: &Value, key: &str) -> String {
    schema[key].as_str().unwrap_or_default().replace('\n', " ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `McpPath` as `mcp path`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

fn plural(kind: &str) -> String {
    match kind {
        "text" => "texts".into(),
        _ if kind.starts_with('`') => kind.into(),
        _ => format!("{kind}s"),
    }
}

/// A text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
