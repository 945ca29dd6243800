//! What the sessions of one thread share.

use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method as HttpMethod, Request, Uri};
use tokio::sync::watch;

use crate::alarm::Alarm;
use crate::answer::{Shape, Verdict, check};
use crate::clock::now;
use crate::connect::Dialer;
use crate::link::SharedConnection;
use crate::message::{Asked, CLIENT, Message, Template};
use crate::pacer::Pacer;
use crate::plan::Plan;
use crate::tally::Tally;

/// What all threads of a run share.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) start: Instant,
    pub(crate) pacer: Pacer,
    pub(crate) dialer: Dialer,
    /// Tells this run's texts from those of others.
    pub(crate) salt: u16,
    /// Threads that still have sessions that call.
    pub(crate) calling: AtomicUsize,
    /// Whether the idle streams may end.
    pub(crate) over: watch::Sender<bool>,
    /// Whether all sessions are to be left as they are.
    pub(crate) stopped: watch::Sender<bool>,
}

/// One thread's part of a run.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) run: Arc<Run>,
    pub(crate) alarm: Alarm,
    pub(crate) templates: Vec<Template>,
    tally: Arc<Mutex<Tally>>,
    shapes: Vec<Mutex<Option<Shape>>>,
    shared: Vec<Arc<SharedConnection>>,
    headers: HeaderMap,
    uri: Uri,
}

impl Run {
    /// Since the start; nothing before it.
    pub(crate) fn time(&self) -> Duration {
        now().saturating_duration_since(self.start)
    }

    /// Waits until the run is stopped, which may be never.
    pub(crate) async fn until_stopped(&self) {
        // Its sender is here, so there is no error.
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }
}

impl Site {
    /// The site of thread number `thread`. Has to be called within its runtime.
    pub(crate) fn new(run: Arc<Run>, tally: Arc<Mutex<Tally>>, thread: usize) -> io::Result<Self> {
        let spec = &run.plan.spec;
        let connections = spec.http2_connections.map_or(0, |all| {
            let all = usize::try_from(all.get()).unwrap_or(usize::MAX);
            (all / spec.threads + usize::from(thread < all % spec.threads)).max(1)
        });
        let is_http2 = connections > 0;
        let uri = &run.plan.uri;
        Ok(Self {
            alarm: Alarm::new()?,
            templates: spec.mix.entries().map(|method| Template::new(&run.plan, method)).collect(),
            shapes: spec.mix.entries().map(|_| Mutex::default()).collect(),
            shared: (0..connections).map(|_| Arc::default()).collect(),
            headers: headers(uri, is_http2),
            uri: if is_http2 { uri.clone() } else { origin_form(uri) },
            tally,
            run,
        })
    }

    /// Counts something.
    pub(crate) fn count<T>(&self, count: impl FnOnce(&mut Tally) -> T) -> T {
        count(&mut lock(&self.tally))
    }

    /// The h2 connection of session `number`, if it is to share one.
    pub(crate) fn shared(&self, number: u32) -> Option<Arc<SharedConnection>> {
        let number = usize::try_from(number).unwrap_or(0) / self.run.plan.spec.threads;
        self.shared.get(number.checked_rem(self.shared.len())?).cloned()
    }

    /// Whether `body` is the right answer of the mix's method number `method`.
    pub(crate) fn check(&self, method: usize, body: &[u8], asked: &Asked) -> Verdict {
        match self.shapes.get(method) {
            Some(shape) => check(body, asked, &mut lock(shape)),
            None => check(body, asked, &mut None),
        }
    }

    /// The headers of every request, to which a session adds its own.
    pub(crate) fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    pub(crate) fn request(&self, method: HttpMethod, headers: HeaderMap, message: Message) -> Request<Message> {
        let mut request = Request::new(message);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        request
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn headers(uri: &Uri, is_http2: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let host = uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = host.filter(|_| !is_http2) {
        headers.insert(HOST, host);
    }
    headers.insert(USER_AGENT, HeaderValue::from_static(CLIENT));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers
}

fn origin_form(uri: &Uri) -> Uri {
    uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from)
}
