//! The handshake that opens a session.

use http::header::HeaderValue;
use serde::Deserialize;
use serde_json::json;

use crate::answer::{self, Verdict};
use crate::exchange::{drain, read};
use crate::failure::Failure;
use crate::message::{Asked, CLIENT};
use crate::session::{Opened, PROTOCOL_VERSION, SESSION_ID, Session};

impl Session {
    /// `initialize` and `notifications/initialized`; nothing in the revision without sessions.
    pub(crate) async fn initialize(&mut self) -> Result<Opened, Failure> {
        let mut headers = self.site.headers();
        let revision = self.site.run.plan.revision().to_owned();
        if self.site.run.plan.stateless() {
            headers.insert(PROTOCOL_VERSION, HeaderValue::try_from(revision).map_err(|_| Failure::Malformed)?);
            return Ok(Opened { headers, id: None });
        }
        let params = json!({
            "protocolVersion": revision,
            "capabilities": {},
            "clientInfo": {"name": CLIENT, "version": env!("CARGO_PKG_VERSION")},
        });
        let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let response = self.post(headers.clone(), initialize.to_string()).await?;
        let id = response.headers().get(SESSION_ID).cloned();
        let mut version = None;
        let asked = Asked { id: 0, text: None };
        read(response, |body| {
            let verdict = answer::check(body, &asked, &mut None);
            if verdict == Verdict::Right {
                version = negotiated(body);
            }
            verdict
        })
        .await?;
        headers.insert(PROTOCOL_VERSION, version.ok_or(Failure::Malformed)?);
        if let Some(id) = &id {
            headers.insert(SESSION_ID, id.clone());
        }
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let response = self.post(headers.clone(), initialized.into()).await?;
        let status = response.status();
        drain(response.into_body()).await?;
        if status.is_success() { Ok(Opened { headers, id }) } else { Err(Failure::Status(status.as_u16())) }
    }
}

/// The version that an answer to `initialize` names.
fn negotiated(body: &[u8]) -> Option<HeaderValue> {
    #[derive(Deserialize)]
    struct Answer {
        result: Agreed,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Agreed {
        protocol_version: String,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    HeaderValue::try_from(answer.result.protocol_version).ok()
}
