//! How large futures are: each call allocates one of each, and moves it there.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};

use crate::call::{Call, Kind, Method};
use crate::config::GuardConfig;
use crate::middleware::{Deadline, Handler, McpRequest, Node, Record};
use crate::revision::Revision;
use crate::{GuardLayer, breaker, queue, rate_limit, retry, trace, validation};

async fn answer(_: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::default())
}

fn request() -> McpRequest {
    let (head, ()) = Request::new(()).into_parts();
    let call = Call::new(Kind::Request, Method::new(Method::PING), Revision::V2025_11_25);
    McpRequest::new(Arc::new(head), Bytes::new(), Arc::new(call))
}

#[test]
fn print() {
    let c = GuardConfig::default();
    let n = Node::new(service_fn(answer));
    eprintln!("node {}", size_of_val(&n.handle(request())));
    let n = trace::TraceLayer::new(c.trace.clone()).wrap_upstream(n);
    eprintln!("traceup {}", size_of_val(&n.handle(request())));
    let n = breaker::BreakerLayer::new(c.breaker, "x").wrap(n);
    eprintln!("breaker {}", size_of_val(&n.handle(request())));
    let n = retry::RetryLayer::new(c.retry).wrap(n);
    eprintln!("retry {}", size_of_val(&n.handle(request())));
    let n = Deadline::new(n, None, &[]);
    eprintln!("deadline {}", size_of_val(&n.handle(request())));
    let n = queue::QueueLayer::new(c.queue.clone(), &[]).wrap(n);
    eprintln!("queue {}", size_of_val(&n.handle(request())));
    let n = validation::ValidationLayer::new(c.validation.clone()).wrap(n);
    eprintln!("validation {}", size_of_val(&n.handle(request())));
    let n = rate_limit::RateLimitLayer::new(&c.rate_limits).wrap(n);
    eprintln!("rate {}", size_of_val(&n.handle(request())));
    let n = trace::TraceLayer::new(c.trace.clone()).wrap(n);
    eprintln!("trace {}", size_of_val(&n.handle(request())));
    let n = Record::new(n);
    eprintln!("record {}", size_of_val(&n.handle(request())));
    let mut s = GuardLayer::new(c).layer(service_fn(answer));
    let f = s.call(Request::new(Full::<Bytes>::default()));
    eprintln!("service {}", size_of_val(&*f));
}
