//! Sessions side by side, all with the same ids, in virtual time: a fake link stands in for the node, so that answers come
//! in any order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::middleware::UpstreamError;
use mcp_guard::revision::Revision;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use super::body::SessionBody;
use super::{Connection, Inlet, Keeper, Line, Link, SessionNode, SessionOptions};

/// A node that says in each message which connection it is for, and answers a request as late as that asks for.
#[derive(Debug, Default)]
struct Tagging {
    connections: AtomicU64,
}

#[async_trait]
impl Link for Tagging {
    async fn connect(&self, connection: &Arc<Connection>, mut lines: Receiver<Line>) -> Result<Keeper, UpstreamError> {
        let tag = self.connections.fetch_add(1, Ordering::Relaxed);
        let serving = Arc::clone(connection);
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                let asked: Value = serde_json::from_slice(&line.text).unwrap();
                let answering = Arc::clone(&serving);
                tokio::spawn(async move {
                    sleep(Duration::from_millis(asked["params"]["late"].as_u64().unwrap_or_default())).await;
                    let mut inlet = Inlet::new(&answering);
                    let said = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": tag}});
                    inlet.take(said.to_string().into());
                    let result = json!({"tag": tag, "asked": asked["params"]});
                    let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": result});
                    inlet.take(answer.to_string().into());
                });
            }
        });
        let connection = Arc::clone(connection);
        Ok(Box::pin(async move { connection.ended().await }))
    }
}

fn message(kind: Kind, session: Option<&str>, id: usize, method: &str, params: &Value) -> Request<Full<Bytes>> {
    let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string();
    let mut call = Call::new(kind, Method::new(method), Revision::V2025_11_25);
    call.id = Some(id.to_string().into());
    call.session = session.map(Into::into);
    Request::post("/mcp").extension(Arc::new(call)).body(Full::from(body)).unwrap()
}

/// All messages of an answer, be it JSON or a stream.
async fn messages(response: Response<SessionBody>) -> Vec<Value> {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&body).unwrap();
    let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let all = if data.is_empty() { vec![text] } else { data };
    all.into_iter().map(|message| serde_json::from_str(message).unwrap()).collect()
}

/// Opens a session, and asks as often as there are times to answer by, all at once; gives what it was told in all.
async fn client(node: SessionNode, number: usize, late: Vec<u64>, listens: bool) -> Result<(), String> {
    let opened = node.clone().oneshot(message(Kind::Request, None, 0, "initialize", &json!({}))).await.unwrap();
    let session = opened.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let tag = messages(opened).await.pop().unwrap()["result"]["tag"].clone();
    let stream = if listens {
        let listen = message(Kind::Listen, Some(&session), 0, "", &json!({}));
        Some(node.clone().oneshot(listen).await.unwrap())
    } else {
        None
    };
    let asked = late.iter().enumerate().map(|(id, late)| {
        let params = json!({"late": late, "client": number, "id": id});
        let (node, session) = (node.clone(), session.clone());
        async move {
            let response = node.oneshot(message(Kind::Request, Some(&session), id, "ping", &params)).await.unwrap();
            (id, params, messages(response).await)
        }
    });
    for (id, params, told) in join_all(asked).await {
        let answer = told.last().cloned().unwrap_or_default();
        if answer["id"] != json!(id) || answer["result"]["asked"] != params {
            return Err(format!("{params} was answered {answer}"));
        }
        let is_own = |told: &Value| told["result"]["tag"] == tag || told["params"]["data"] == tag;
        if let Some(other) = told.iter().find(|told| !is_own(told)) {
            return Err(format!("client {number} of {tag} was told {other}"));
        }
    }
    if let Some(stream) = stream {
        let mut body = stream.into_body();
        while let Ok(Some(Ok(frame))) = timeout(Duration::from_secs(1), body.frame()).await {
            let text = String::from_utf8(frame.into_data().unwrap_or_default().to_vec()).unwrap_or_default();
            if !text.contains(&format!("\"data\":{tag}")) {
                return Err(format!("client {number} of {tag} heard {text}"));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However their messages mix: each is answered what it asked, and hears nothing of the others.
    #[test]
    fn sessions_with_equal_ids_never_see_each_others_messages(
        clients in prop::collection::vec((prop::collection::vec(0..50_u64, 1..8), any::<bool>()), 2..10)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let results = runtime.block_on(async {
            let node = SessionNode::new(Tagging::default(), SessionOptions::default());
            let all = clients.into_iter().enumerate();
            join_all(all.map(|(number, (late, listens))| client(node.clone(), number, late, listens))).await
        });
        for result in results {
            prop_assert_eq!(result, Ok(()));
        }
    }
}
