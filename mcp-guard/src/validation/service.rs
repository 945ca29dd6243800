//! [`Validation`]: checks what passes, and learns the schemas from what passes back.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use futures_util::future::{Either, ready};
use tokio::time::timeout;

use super::catalog::{Catalog, Draft, Need};
use super::checks::{Known, Shared};
use super::page::Page;
use super::{fetch, metrics};
use crate::json::{DEPTH_MAX, Json, Tape};
use crate::middleware::{Answer, Handler, McpRequest, clock};

/// Checks messages, arguments and results by their schemas. Made by [`ValidationLayer`](super::ValidationLayer).
pub struct Validation<H> {
    next: H,
    shared: Arc<Shared>,
}

impl<H> Validation<H> {
    pub(super) fn new(next: H, shared: Arc<Shared>) -> Self {
        Self { next, shared }
    }
}

impl<H: Clone> Clone for Validation<H> {
    fn clone(&self) -> Self {
        Self { next: self.next.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<H> fmt::Debug for Validation<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validation").field("policy", self.shared.policy()).finish_non_exhaustive()
    }
}

impl<H: Handler> Handler for Validation<H> {
    type Body = H::Body;

    fn handle(&self, mut request: McpRequest) -> impl Future<Output = Answer<H::Body>> + Send {
        if !self.shared.looks_at(&request.call) {
            return Either::Left(self.forward(request, Known::default()));
        }
        // What was read of a large message is not needed while the node works on it.
        let tape = request.tape.take().or_else(|| tape(&request.body));
        let params = tape.as_ref().and_then(|tape| params(tape, &request));
        if let Err(refusal) = self.shared.check_message(&request.call, params) {
            return Either::Right(Either::Left(ready(Answer::refuse(&refusal, &request.call))));
        }
        let (need, tool) =
            request.call.tool().map_or((Need::Nothing, None), |name| self.shared.look_up(name, request.now));
        if need != Need::Nothing {
            // Boxed, since it is rare and as large as the rest of the stack.
            return Either::Right(Either::Right(Box::pin(self.list_and_forward(request, tape))));
        }
        match self.shared.check_call(&request.call, tool, params) {
            Ok(known) => Either::Left(self.forward(request, known)),
            Err(refusal) => Either::Right(Either::Left(ready(Answer::refuse(&refusal, &request.call)))),
        }
    }
}

/// What `body` holds, where that is not known yet.
fn tape(body: &[u8]) -> Option<Tape> {
    let text = std::str::from_utf8(body).ok()?;
    Tape::read(text, DEPTH_MAX).ok()
}

/// The `params` of a message.
fn params<'a>(tape: &'a Tape, request: &'a McpRequest) -> Option<Json<'a>> {
    request.call.params.as_ref()?;
    tape.root(std::str::from_utf8(&request.body).ok()?).get("params")
}

impl<H: Handler> Validation<H> {
    fn forward(&self, request: McpRequest, known: Known) -> impl Future<Output = Answer<H::Body>> + Send {
        let call = Arc::clone(&request.call);
        self.next.handle(request).map(move |mut answer| {
            self.shared.watch(&mut answer, &call, known);
            answer
        })
    }

    /// Forwards a call of a tool once the tools are listed, as far as that is needed and possible.
    async fn list_and_forward(&self, mut request: McpRequest, tape: Option<Tape>) -> Answer<H::Body> {
        let params = tape.as_ref().and_then(|tape| params(tape, &request));
        if let Some(name) = request.call.tool() {
            self.learn(name, &request, params).await;
        }
        let tool = request.call.tool().and_then(|name| self.shared.look_up(name, request.now).1);
        let checked = self.shared.check_call(&request.call, tool, params);
        drop(tape);
        request.now = clock::now();
        match checked {
            Ok(known) => self.forward(request, known).await,
            Err(refusal) => Answer::refuse(&refusal, &request.call),
        }
    }

    /// Has the tools listed for a call of the one called `name`, unless another call does.
    async fn learn(&self, name: &str, request: &McpRequest, params: Option<Json<'_>>) {
        let shared = &self.shared;
        let turn = match shared.need(name, request.now) {
            Need::Nothing => None,
            // Only one call waits for a fresher list; the others make do with what is known.
            Need::Refresh => shared.turn.try_lock().ok(),
            Need::Learn => timeout(shared.policy().list_timeout(), shared.turn.lock()).await.ok(),
        };
        // Another call may have listed them while this one waited for its turn.
        if turn.is_some() && shared.need(name, clock::now()) != Need::Nothing {
            self.list(request, params.and_then(|params| params.get("_meta"))).await;
        }
    }

    /// Has the tools listed, and takes note of how that went.
    async fn list(&self, request: &McpRequest, meta: Option<Json<'_>>) {
        let shared = &self.shared;
        let listed = timeout(shared.policy().list_timeout(), self.pages(request, meta)).await;
        let now = clock::now();
        let outcome = shared.catalog().write(|catalog| match listed {
            Ok(Ok(draft)) => {
                if catalog.install(draft, now) {
                    "ok"
                } else {
                    "outdated"
                }
            }
            Ok(Err(NoList::ToTheCaller)) => {
                catalog.list_refused(now);
                "refused"
            }
            Ok(Err(NoList::Failed)) => {
                catalog.list_failed(now);
                "failed"
            }
            Err(_) => {
                catalog.list_failed(now);
                "timed_out"
            }
        });
        metrics::listed(outcome);
    }

    async fn pages(&self, request: &McpRequest, meta: Option<Json<'_>>) -> Result<Draft, NoList> {
        let mut draft = self.shared.catalog().read(Catalog::draft);
        let mut cursor: Option<String> = None;
        loop {
            let number = self.shared.number.fetch_add(1, Ordering::Relaxed);
            let list = fetch::request(request, meta, number, cursor.as_deref());
            let call = Arc::clone(&list.call);
            let answer = self.next.handle(list).await;
            let status = answer.head().status;
            if !status.is_success() {
                let is_callers = fetch::is_callers_fault(status.as_u16(), call.revision);
                return Err(if is_callers { NoList::ToTheCaller } else { NoList::Failed });
            }
            let result = fetch::result(answer, &call).await.ok_or(NoList::Failed)?;
            let page = Page::read(&result).ok_or(NoList::Failed)?;
            let has_room = draft.add(&page, self.shared.policy());
            match page.next_cursor.filter(|_| has_room) {
                Some(next) => cursor = Some(next.into_owned()),
                None => return Ok(draft),
            }
        }
    }
}

/// Why the guard could not list the tools.
enum NoList {
    /// The node does not want to talk to this caller; others may fare better.
    ToTheCaller,
    /// It did not answer with a list.
    Failed,
}
