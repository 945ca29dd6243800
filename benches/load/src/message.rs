//! The messages that are sent: built once, after which only id and token change.

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use serde_json::json;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::plan::{Method, Plan};

/// Each text of a call begins with a token of so many bytes, unique to run, session and call.
pub const TOKEN_BYTES: usize = 20;

/// What follows the token; no byte of it has to be escaped in JSON or HTML.
const FILLER: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";

/// Up to so many bytes a message is copied into one piece; above, its filler is shared by all calls.
const COPY_BYTES_MAX: usize = 4096;

/// The messages of one method.
#[derive(Debug)]
pub(crate) struct Template {
    before_id: Vec<u8>,
    after_id: Vec<u8>,
    /// Filler and end of the message for each payload size; only the end for methods without a text.
    rests: Vec<Rest>,
    has_text: bool,
}

#[derive(Debug)]
struct Rest {
    bytes: Bytes,
    filler_bytes: usize,
}

/// What a call asked, as far as its answer has to show it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) id: u64,
    /// Token and filler, if a text is to come back.
    pub(crate) text: Option<([u8; TOKEN_BYTES], Bytes)>,
}

impl Template {
    pub(crate) fn new(plan: &Plan, method: &Method) -> Self {
        let meta = plan.stateless().then(|| {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": plan.revision(),
                "io.modelcontextprotocol/clientInfo": {"name": CLIENT, "version": env!("CARGO_PKG_VERSION")},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            format!(r#""_meta":{meta}"#)
        });
        let name = json!(method.name());
        let (after_id, ends) = match (method, meta) {
            (Method::CallTool, meta) => {
                let meta = meta.map(|meta| meta + ",").unwrap_or_default();
                let (tool, argument) = (json!(plan.tool()), json!(plan.argument()));
                let head = format!(r#","method":{name},"params":{{{meta}"name":{tool},"arguments":{{{argument}:""#);
                (
                    head,
                    plan.payload_bytes().map(|bytes| Rest::new(bytes.saturating_sub(TOKEN_BYTES), "\"}}}")).collect(),
                )
            }
            (Method::Other(_), Some(meta)) => {
                (format!(r#","method":{name},"params":{{{meta}"#), vec![Rest::new(0, "}}")])
            }
            (Method::Other(_), None) => (format!(r#","method":{name}"#), vec![Rest::new(0, "}")]),
        };
        let before_id = br#"{"jsonrpc":"2.0","id":"#.to_vec();
        Self { before_id, after_id: after_id.into_bytes(), rests: ends, has_text: *method == Method::CallTool }
    }

    /// The message with this id and, in methods with a text, the token and the payload size number `size`.
    pub(crate) fn fill(&self, id: u64, token: [u8; TOKEN_BYTES], size: usize) -> (Message, Asked) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(id).as_bytes();
        let token_of = if self.has_text { token.as_slice() } else { &[] };
        let (rest, filler_bytes) = match self.rests.get(size).or(self.rests.first()) {
            Some(rest) => (rest.bytes.clone(), rest.filler_bytes),
            None => (Bytes::new(), 0),
        };
        let pieces: [&[u8]; 4] = [&self.before_id, digits, &self.after_id, token_of];
        let head_bytes = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let is_copied = head_bytes + rest.len() <= COPY_BYTES_MAX;
        let mut head = BytesMut::with_capacity(head_bytes + if is_copied { rest.len() } else { 0 });
        for piece in pieces {
            head.extend_from_slice(piece);
        }
        let text = self.has_text.then(|| (token, rest.slice(..filler_bytes)));
        let asked = Asked { id, text };
        if is_copied {
            head.extend_from_slice(&rest);
            (Message { parts: [head.freeze(), Bytes::new()] }, asked)
        } else {
            (Message { parts: [head.freeze(), rest] }, asked)
        }
    }
}

impl Rest {
    fn new(filler_bytes: usize, end: &str) -> Self {
        let filler = FILLER.iter().copied().cycle().take(filler_bytes);
        Self { bytes: filler.chain(end.bytes()).collect(), filler_bytes }
    }
}

/// The name by which the generator introduces itself.
pub(crate) const CLIENT: &str = "mcp-load";

/// A token of 20 hexadecimal digits: 4 of the run, 8 of the session, 8 of the call.
pub(crate) fn token(run: u16, session: u32, call: u32) -> [u8; TOKEN_BYTES] {
    let mut rest = u128::from(run) << 64 | u128::from(session) << 32 | u128::from(call);
    let mut token = [0; TOKEN_BYTES];
    for digit in token.iter_mut().rev() {
        let [nibble, ..] = (rest & 15).to_le_bytes();
        *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        rest >>= 4;
    }
    token
}

/// A body in at most two pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    parts: [Bytes; 2],
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self { parts: [bytes, Bytes::new()] }
    }
}

impl Body for Message {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.parts.iter_mut().find(|part| !part.is_empty()).map(std::mem::take);
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.parts.iter().map(|part| part.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PlanSpec;
    use serde_json::Value;

    fn filled(spec: PlanSpec, method: &Method, size: usize) -> (Value, Asked) {
        let template = Template::new(&spec.build().unwrap(), method);
        let (message, asked) = template.fill(7, token(1, 2, 3), size);
        (serde_json::from_slice(&message.parts.concat()).unwrap(), asked)
    }

    #[test]
    fn a_token_names_run_session_and_call() {
        assert_eq!(&token(0xabcd, 0x12, u32::MAX), b"abcd00000012ffffffff");
    }

    #[test]
    fn a_text_has_the_bytes_that_were_asked_for() {
        for bytes in [TOKEN_BYTES, 300, 65_536] {
            let mut spec = PlanSpec::new("http://localhost/mcp");
            spec.payload_bytes = crate::Weighted::only(bytes);
            let (message, asked) = filled(spec, &Method::CallTool, 0);
            let text = message["params"]["arguments"]["text"].as_str().unwrap();
            let (token, filler) = asked.text.unwrap();
            assert_eq!(text.len(), bytes);
            assert_eq!(text.as_bytes(), [token.as_slice(), &filler].concat());
        }
    }

    #[test]
    fn a_stateless_call_says_who_calls() {
        let mut spec = PlanSpec::new("http://localhost/mcp");
        spec.revision = crate::STATELESS.into();
        let (message, _) = filled(spec, &Method::Other("tools/list".into()), 0);
        assert_eq!(message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], crate::STATELESS);
        assert_eq!((&message["id"], &message["method"]), (&7.into(), &"tools/list".into()));
    }
}
