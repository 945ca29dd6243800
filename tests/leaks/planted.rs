//! A client that has a secret in every place of a request.

use serde_json::{Value, json};

use crate::secret::Secret;

/// The secrets of one client.
#[derive(Debug)]
pub(crate) struct Planted {
    authorization: Secret,
    cookie: Secret,
    api_key: Secret,
    baggage: Secret,
    pub(crate) query: Secret,
    pub(crate) session: Secret,
    meta: Secret,
    name: Secret,
    pub(crate) value: Secret,
    number: Secret,
    nested: Secret,
}

impl Planted {
    pub(crate) fn new() -> Self {
        Self {
            authorization: Secret::new("`Authorization`"),
            cookie: Secret::new("`Cookie`"),
            api_key: Secret::new("a header of the client's own"),
            baggage: Secret::new("`Baggage`"),
            query: Secret::new("the query of the request"),
            session: Secret::new("`Mcp-Session-Id`"),
            meta: Secret::new("`_meta`"),
            // A refusal says which argument is wrong.
            name: Secret::callers("an argument's name"),
            value: Secret::new("an argument's value"),
            number: Secret::number("an argument that is a number"),
            nested: Secret::new("an argument in a list"),
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Secret> {
        let request = [&self.authorization, &self.cookie, &self.api_key, &self.baggage, &self.query, &self.session];
        let message = [&self.meta, &self.name, &self.value, &self.number, &self.nested];
        request.into_iter().chain(message).cloned().collect()
    }

    /// Headers beside what every client sends.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        vec![
            ("authorization", format!("Bearer {}", self.authorization.text())),
            ("cookie", format!("id={}; theme=dark", self.cookie.text())),
            ("x-api-key", self.api_key.text()),
            ("baggage", format!("user={}", self.baggage.text())),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        ]
    }

    /// Arguments that no schema of the tests' tools but the open ones allows.
    pub(crate) fn arguments(&self) -> Value {
        let name = self.name.text();
        json!({name: self.value.prose(), "b": self.value.text(), "n": number(&self.number), "list": [[self.nested.prose()]]})
    }

    /// A call of `tool`.
    pub(crate) fn call(&self, id: i64, tool: &str) -> Value {
        let meta = json!({"com.example/token": self.meta.text(), "progressToken": "p"});
        let params = json!({"name": tool, "arguments": self.arguments(), "_meta": meta});
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    }
}

fn number(secret: &Secret) -> u64 {
    secret.text().parse().expect("a number")
}
