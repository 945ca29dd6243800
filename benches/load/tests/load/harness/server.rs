//! A real MCP server, made with the official SDK: HTTP/1.1 and h2, plain or over TLS, answering in JSON or SSE.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, tool, tool_handler, tool_router};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use schemars::JsonSchema;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// How the server answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    /// As JSON, where it can. With sessions, the SDK answers in SSE all the same.
    pub(crate) json: bool,
    /// Without session ids.
    pub(crate) sessionless: bool,
    /// Over TLS.
    pub(crate) tls: bool,
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    /// Where it is.
    pub(crate) url: String,
    /// The certificate that it shows, if any.
    pub(crate) ca: PathBuf,
    pub(crate) seen: Arc<Seen>,
    runtime: Runtime,
    _folder: TempDir,
}

/// What the server saw of its clients.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicUsize,
    pub(crate) sources: Mutex<Vec<SocketAddr>>,
    /// HTTP method, MCP method and name by header, and HTTP version of each request.
    pub(crate) requests: Mutex<Vec<String>>,
    /// Content types of what was answered.
    pub(crate) answers: Mutex<Vec<String>>,
    pub(crate) sessions: Arc<LocalSessionManager>,
}

impl Server {
    pub(crate) fn start(habits: Habits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        let tls = habits.tls.then(|| certified(&ca));
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        runtime.spawn(serve(listener, service(habits, &seen), tls, Arc::clone(&seen)));
        let url = format!("{}://{address}/mcp", if habits.tls { "https" } else { "http" });
        Self { url, ca, seen, runtime, _folder: folder }
    }

    /// What was asked so far, a line each.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Ends all sessions, as a server may.
    pub(crate) fn end_sessions(&self) {
        self.runtime.block_on(async { self.seen.sessions.sessions.write().await.clear() });
    }

    /// Sessions that nobody ended.
    pub(crate) fn sessions_left(&self) -> usize {
        self.runtime.block_on(async { self.seen.sessions.sessions.read().await.len() })
    }
}

/// With a certificate made for this, which is written to `ca` too.
fn certified(ca: &Path) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".into(), "localhost".into()]).unwrap();
    std::fs::write(ca, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

type McpService = StreamableHttpService<Echo, LocalSessionManager>;

fn service(habits: Habits, seen: &Seen) -> McpService {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(!habits.sessionless)
        .with_json_response(habits.json);
    StreamableHttpService::new(|| Ok(Echo), Arc::clone(&seen.sessions), config)
}

async fn serve(listener: TcpListener, service: McpService, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    loop {
        let Ok((stream, source)) = listener.accept().await else { continue };
        seen.connections.fetch_add(1, Ordering::Relaxed);
        seen.sources.lock().unwrap().push(source);
        let (service, tls, seen) = (service.clone(), tls.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            stream.set_nodelay(true).unwrap();
            accepted(stream, service, tls, seen).await;
        });
    }
}

async fn accepted(stream: TcpStream, service: McpService, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    match tls {
        // A client that does not trust us goes away.
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                connected(stream, service, seen).await;
            }
        }
        None => connected(stream, service, seen).await,
    }
}

async fn connected<S>(stream: S, service: McpService, seen: Arc<Seen>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let served = service_fn(move |request: Request<Incoming>| {
        seen.requests.lock().unwrap().push(line(&request));
        let (mut service, seen) = (service.clone(), Arc::clone(&seen));
        async move {
            let response = tower::Service::call(&mut service, request).await?;
            let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
            seen.answers.lock().unwrap().extend(kind);
            Ok::<_, Infallible>(response)
        }
    });
    // How a connection ends is the client's affair.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), served).await;
}

fn line(request: &Request<Incoming>) -> String {
    let header = |name| request.headers().get(name).map_or("-", |value| value.to_str().unwrap());
    let [version, method, name] = ["mcp-protocol-version", "mcp-method", "mcp-name"].map(header);
    format!("{:?} {} {version} {method} {name}", request.version(), request.method())
}

#[derive(Clone, Debug)]
pub(crate) struct Echo;

#[derive(Deserialize, JsonSchema)]
struct Text {
    /// What to say.
    text: String,
}

#[tool_router]
impl Echo {
    #[tool(description = "Says what it was told")]
    async fn echo(&self, Parameters(Text { text }): Parameters<Text>) -> String {
        text
    }
}

#[tool_handler]
impl ServerHandler for Echo {}
