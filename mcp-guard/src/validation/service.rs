//! [`Validation`]: checks what passes, and learns the schemas from what passes back.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, ready};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::catalog::{Asked, Catalog, Draft, Need, Tool};
use super::compile::ToolSchema;
use super::handle::CatalogHandle;
use super::messages::{MessageFault, MessageSchemas};
use super::metrics::{Check, Counters, Unchecked};
use super::page::Page;
use super::policy::{Mode, ValidationPolicy};
use super::schema::Schema;
use super::violation::Violation;
use super::{fetch, introduction, metrics, results};
use crate::call::{Call, Kind, Method};
use crate::json::{DEPTH_MAX, Json, Odd, Tape};
use crate::middleware::{Answer, Handler, McpRequest, clock};
use crate::refusal::{Reason, Refusal};

/// Checks messages, arguments and results by their schemas. Made by [`ValidationLayer`](super::ValidationLayer).
pub struct Validation<H> {
    next: H,
    shared: Arc<Shared>,
}

/// What all services of one layer share.
pub(super) struct Shared {
    policy: ValidationPolicy,
    catalog: CatalogHandle,
    counters: Counters,
    /// Held by the one call that has the tools listed.
    turn: Mutex<()>,
    /// The next number of a list of the guard's own.
    number: AtomicU64,
}

impl Shared {
    pub(super) fn new(policy: ValidationPolicy) -> Self {
        Self {
            policy,
            catalog: CatalogHandle::default(),
            counters: Counters::default(),
            turn: Mutex::default(),
            number: AtomicU64::new(1),
        }
    }

    pub(super) fn policy(&self) -> &ValidationPolicy {
        &self.policy
    }

    pub(super) fn catalog(&self) -> &CatalogHandle {
        &self.catalog
    }
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
        f.debug_struct("Validation").field("policy", &self.shared.policy).finish_non_exhaustive()
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
        let params = tape.as_deref().and_then(|tape| params(tape, &request));
        if let Err(refusal) = self.shared.check_message(&request.call, params) {
            return Either::Right(Either::Left(ready(Answer::refuse(&refusal, &request.call))));
        }
        if request.call.tool().is_some_and(|name| self.shared.is_to_be_listed(name)) {
            // Boxed, since it is rare and as large as the rest of the stack.
            return Either::Right(Either::Right(Box::pin(self.list_and_forward(request, tape))));
        }
        match self.shared.check_call(&request.call, params) {
            Ok(known) => Either::Left(self.forward(request, known)),
            Err(refusal) => Either::Right(Either::Left(ready(Answer::refuse(&refusal, &request.call)))),
        }
    }
}

/// What is known of a call when it is forwarded, for what has to be done with its answer.
#[derive(Default)]
struct Known {
    tool: Option<Arc<Tool>>,
    asked: Option<Asked>,
}

/// What `body` holds, where that is not known yet.
fn tape(body: &[u8]) -> Option<Arc<Tape>> {
    let text = std::str::from_utf8(body).ok()?;
    Tape::read(text, DEPTH_MAX).ok().map(Arc::new)
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
    async fn list_and_forward(&self, request: McpRequest, tape: Option<Arc<Tape>>) -> Answer<H::Body> {
        let params = tape.as_deref().and_then(|tape| params(tape, &request));
        if let Some(name) = request.call.tool() {
            self.learn(name, &request, params).await;
        }
        let checked = self.shared.check_call(&request.call, params);
        drop(tape);
        match checked {
            Ok(known) => self.forward(request, known).await,
            Err(refusal) => Answer::refuse(&refusal, &request.call),
        }
    }

    /// Has the tools listed for a call of the one called `name`, unless another call does.
    async fn learn(&self, name: &str, request: &McpRequest, params: Option<Json<'_>>) {
        let shared = &self.shared;
        let turn = match shared.need(name) {
            Need::Nothing => None,
            // Only one call waits for a fresher list; the others make do with what is known.
            Need::Refresh => shared.turn.try_lock().ok(),
            Need::Learn => timeout(shared.policy.list_timeout(), shared.turn.lock()).await.ok(),
        };
        // Another call may have listed them while this one waited for its turn.
        if turn.is_some() && shared.need(name) != Need::Nothing {
            self.list(request, params.and_then(|params| params.get("_meta"))).await;
        }
    }

    /// Has the tools listed, and takes note of how that went.
    async fn list(&self, request: &McpRequest, meta: Option<Json<'_>>) {
        let shared = &self.shared;
        let listed = timeout(shared.policy.list_timeout(), self.pages(request, meta)).await;
        let now = clock::now();
        let outcome = shared.catalog.write(|catalog| match listed {
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
        let mut draft = self.shared.catalog.read(Catalog::draft);
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
            let has_room = draft.add(&page, &self.shared.policy);
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

impl Shared {
    fn need(&self, tool: &str) -> Need {
        let now = clock::now();
        self.catalog.read(|catalog| catalog.need(tool, self.policy.refresh(), now))
    }

    /// Whether the tools have to be listed before a call of the one called `name` can be checked.
    fn is_to_be_listed(&self, name: &str) -> bool {
        !self.policy.needs_no_tools() && self.need(name) != Need::Nothing
    }

    /// Checks a call by what is known of its tool.
    fn check_call(&self, call: &Call, params: Option<Json<'_>>) -> Result<Known, Refusal> {
        let mut known = Known::default();
        if let Some(name) = call.tool().filter(|_| !self.policy.needs_no_tools()) {
            known.tool = self.catalog.read(|catalog| catalog.tool(name));
            self.check_arguments(name, known.tool.as_deref(), params)?;
        }
        known.asked = call.method.is(Method::TOOLS_LIST).then(|| self.asked(call, params));
        Ok(known)
    }

    fn asked(&self, call: &Call, params: Option<Json<'_>>) -> Asked {
        let cursor = params.and_then(|params| params.get("cursor")?.as_text());
        let edition = self.catalog.read(Catalog::edition);
        Asked { session: call.session.clone(), cursor: cursor.map(Into::into), edition }
    }

    /// Whether anything here needs to know what is in a message.
    fn looks_at(&self, call: &Call) -> bool {
        match call.kind {
            Kind::Request | Kind::Notification => self.policy.messages() != Mode::Off || self.needs_params(call),
            Kind::Response | Kind::Listen | Kind::End => false,
        }
    }

    /// Checks a message by its method's schema.
    fn check_message(&self, call: &Call, params: Option<Json<'_>>) -> Result<(), Refusal> {
        if let Some((odd, pointer)) = params.and_then(Json::oddity) {
            return self.ambiguous(call, ambiguity(odd, &pointer).under("/params"));
        }
        if self.policy.messages() == Mode::Off {
            return Ok(());
        }
        let checked = MessageSchemas::get().check(call.revision, call.kind, call.method.as_str(), params);
        checked.or_else(|fault| {
            self.judge(self.policy.messages(), Check::Messages, || match fault {
                MessageFault::UnknownMethod => {
                    let detail = format!("{} has no such request", call.revision);
                    Refusal::new(Reason::MethodNotFound, detail)
                }
                MessageFault::ParamsInvalid(violation) => refusal(Reason::InvalidParams, "", &[violation]),
            })
        })
    }

    fn needs_params(&self, call: &Call) -> bool {
        call.method.is(Method::TOOLS_LIST) || (call.tool().is_some() && !self.policy.needs_no_tools())
    }

    /// `params` on which parsers differ: the node could act on others than were checked, also by the tool's schema.
    fn ambiguous(&self, call: &Call, violation: Violation) -> Result<(), Refusal> {
        let violations = [violation];
        self.judge(self.policy.messages(), Check::Messages, || refusal(Reason::InvalidParams, "", &violations))?;
        if let Some(tool) = call.tool() {
            let of_tool = || refusal(Reason::InvalidArguments, tool, &violations);
            self.judge(self.policy.arguments(), Check::Arguments, of_tool)?;
        }
        Ok(())
    }

    /// Checks the arguments of a call of the tool called `name`; without any, as `{}`.
    fn check_arguments(&self, name: &str, tool: Option<&Tool>, params: Option<Json<'_>>) -> Result<(), Refusal> {
        let mode = self.policy.arguments();
        if mode == Mode::Off {
            return Ok(());
        }
        let Some(tool) = tool else {
            let is_usable = self.catalog.read(Catalog::is_usable);
            self.counters.unchecked(if is_usable { Unchecked::UnknownTool } else { Unchecked::NoList });
            return Ok(());
        };
        let Some(schema) = tool.input.as_deref() else { return Ok(()) };
        let Some(compiled) = self.compiled(schema, name) else {
            self.counters.unchecked(Unchecked::Schema);
            return Ok(());
        };
        let violations = match params.and_then(|params| params.get("arguments")) {
            Some(arguments) => compiled.check(arguments),
            None => NO_ARGUMENTS.as_ref().map_or_else(Vec::new, |none| compiled.check(none.root("{}"))),
        };
        if violations.is_empty() {
            return Ok(());
        }
        self.judge(mode, Check::Arguments, || refusal(Reason::InvalidArguments, name, &violations))
    }

    /// `schema`, ready to check. One that cannot be used is reported, once.
    fn compiled<'a>(&self, schema: &'a Schema, tool: &str) -> Option<&'a ToolSchema> {
        let compiled = schema.compiled(self.policy.compile_time_max(), clock::now);
        compiled
            .inspect_err(|fault| {
                if schema.is_to_be_reported() {
                    tracing::warn!(?tool, %fault, "a schema of this tool cannot be used, its calls pass unchecked");
                    metrics::skipped(fault);
                }
            })
            .ok()
    }

    /// Refuses, or counts and lets pass.
    fn judge(&self, mode: Mode, check: Check, refusal: impl FnOnce() -> Refusal) -> Result<(), Refusal> {
        match mode {
            Mode::Enforce => Err(refusal()),
            Mode::Report => {
                self.counters.reported(check);
                Ok(())
            }
            Mode::Off => Ok(()),
        }
    }

    /// Learns from the answer, and checks a tool's result.
    fn watch<B>(self: &Arc<Self>, answer: &mut Answer<B>, call: &Arc<Call>, Known { tool, asked }: Known) {
        if !answer.head().status.is_success() {
            return;
        }
        if answer.outcome().is_none() {
            let catalog = self.catalog.clone();
            answer.on_message(move |message| {
                if results::is_list_changed(message) {
                    catalog.write(Catalog::changed);
                }
                None
            });
        }
        if call.method.is(Method::INITIALIZE) {
            let (catalog, call) = (self.catalog.clone(), Arc::clone(call));
            answer.on_message(move |message| {
                if let Some(server) = results::result_of(message, &call).and_then(introduction::server_info) {
                    catalog.write(|catalog| catalog.introduced(server));
                }
                None
            });
        }
        if let Some(asked) = asked {
            let (shared, call) = (Arc::clone(self), Arc::clone(call));
            answer.on_message(move |message| {
                shared.learn(message, &call, &asked);
                None
            });
        }
        let has_output = tool.as_ref().is_some_and(|tool| tool.output.is_some());
        if let Some(tool) = tool.filter(|_| has_output && self.policy.results() != Mode::Off) {
            let (shared, call) = (Arc::clone(self), Arc::clone(call));
            answer.on_message(move |message| shared.check_result(message, &call, &tool));
        }
    }

    fn learn(&self, message: &[u8], call: &Call, asked: &Asked) {
        if let Some(page) = results::result_of(message, call).and_then(Page::read) {
            let now = clock::now();
            self.catalog.write(|catalog| catalog.learn(asked, &page, &self.policy, now));
        }
    }

    /// What takes the place of `message`, if it is a result that must not pass.
    fn check_result(&self, message: &[u8], call: &Call, tool: &Tool) -> Option<Bytes> {
        let result = results::result_of(message, call)?;
        let schema = self.compiled(tool.output.as_deref()?, call.tool().unwrap_or_default())?;
        let violations = results::check(result, schema);
        if violations.is_empty() {
            return None;
        }
        match self.policy.results() {
            Mode::Enforce => {
                self.counters.replaced();
                Some(Bytes::from(results::replacement(call, &violations)))
            }
            Mode::Report | Mode::Off => {
                self.counters.reported(Check::Results);
                None
            }
        }
    }
}

/// What is checked of a call without arguments: `{}`.
static NO_ARGUMENTS: LazyLock<Option<Tape>> = LazyLock::new(|| Tape::read("{}", 1).ok());

/// The violation that `odd` is.
fn ambiguity(odd: Odd, pointer: &str) -> Violation {
    match odd {
        Odd::Twice => Violation::new(pointer, "uniqueNames", "each member once"),
        Odd::Unreadable => Violation::new(pointer, "json", "text of whole characters, and numbers that a double holds"),
    }
}

/// A refusal that says where and by which rule, in words and for programs.
fn refusal(reason: Reason, tool: &str, violations: &[Violation]) -> Refusal {
    let detail = results::told(violations);
    let detail = if tool.is_empty() { detail } else { format!("`{tool}`: {detail}") };
    let refusal = Refusal::new(reason, detail).with("violations", results::places(violations));
    match violations.first() {
        Some(first) => refusal.with("pointer", first.pointer()).with("rule", first.rule()),
        None => refusal,
    }
}
