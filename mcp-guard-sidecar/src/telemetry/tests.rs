//! Spans on their way to a collector of the test's own.

use std::convert::Infallible;
use std::sync::mpsc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry::trace::{Tracer, TracerProvider};

use super::*;

/// Takes in one export and gives its path and body to `seen`.
async fn collector(listener: std::net::TcpListener, seen: mpsc::SyncSender<(String, Bytes)>) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let service = service_fn(|request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let path = request.uri().path().to_owned();
            seen.send((path, request.into_body().collect().await.unwrap().to_bytes())).unwrap();
            // An empty message: one byte "not compressed", four of length.
            let trailers = Response::builder().header("content-type", "application/grpc").header("grpc-status", "0");
            Ok::<_, Infallible>(trailers.body(Full::new(Bytes::from_static(&[0; 5]))).unwrap())
        }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    connection.serve_connection(TokioIo::new(stream), service).await.ok();
}

fn exporting(otlp: &str, protocol: &str) -> Exporter {
    let config = serde_json::json!({"otlp": otlp, "protocol": protocol, "sample": 1.0});
    Exporter::start(&serde_json::from_value(config).unwrap()).unwrap().unwrap()
}

/// The spans of a thread without any runtime leave when the guard is dropped, which is in good time.
#[test]
fn spans_reach_the_collector_when_the_guard_goes() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let otlp = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, seen) = mpsc::sync_channel(4);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.spawn(collector(listener, sender));

    let exporter = exporting(&otlp, "grpc");
    drop(exporter.provider.tracer("test").start("tools/call weather"));
    drop(exporter);

    let (path, body) = seen.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    for text in ["tools/call weather", "mcp-guard", "service.version"] {
        assert!(body.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
    }
    runtime.shutdown_background();
}

/// A collector that accepts and never answers must not keep the guard from ending.
#[test]
fn a_silent_collector_delays_the_end_only_so_long() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let exporter = exporting(&format!("http://{}/", listener.local_addr().unwrap()), "grpc");
    drop(exporter.provider.tracer("test").start("ping"));
    let (done, ended) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        drop(exporter);
        done.send(()).unwrap();
    });
    ended.recv_timeout(FLUSH_MAX + Duration::from_secs(2)).unwrap();
}
