//! What is checked of calls and of their answers, and what is learned from them.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Mutex;

use super::catalog::{Asked, Catalog, Need, Tool};
use super::compile::ToolSchema;
use super::handle::CatalogHandle;
use super::messages::{MessageFault, MessageSchemas};
use super::metrics::{Check, Counters, Unchecked};
use super::page::Page;
use super::policy::{Mode, ValidationPolicy};
use super::schema::Schema;
use super::violation::Violation;
use super::{introduction, metrics, results};
use crate::call::{Call, Kind, Method};
use crate::json::{Json, Odd, Tape};
use crate::middleware::{Answer, clock};
use crate::refusal::{Reason, Refusal};

/// What all services of one layer share.
pub(super) struct Shared {
    policy: ValidationPolicy,
    catalog: CatalogHandle,
    counters: Counters,
    /// Held by the one call that has the tools listed.
    pub(super) turn: Mutex<()>,
    /// The next number of a list of the guard's own.
    pub(super) number: AtomicU64,
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

    /// What checks by another policy, and has the tools listed by it before they are needed next.
    pub(super) fn succeeded(&self, policy: ValidationPolicy) -> Self {
        self.catalog.forget();
        Self { catalog: self.catalog.clone(), ..Self::new(policy) }
    }

    pub(super) fn policy(&self) -> &ValidationPolicy {
        &self.policy
    }

    pub(super) fn catalog(&self) -> &CatalogHandle {
        &self.catalog
    }
}

/// What is known of a call when it is forwarded, for what has to be done with its answer.
#[derive(Default)]
pub(super) struct Known {
    tool: Option<Arc<Tool>>,
    asked: Option<Asked>,
}

impl Shared {
    pub(super) fn need(&self, tool: &str, now: Instant) -> Need {
        self.catalog.read(|catalog| catalog.need(tool, self.policy.refresh(), now))
    }

    /// Whether the tools have to be listed before a call of the one called `name` can be checked, and what is known of it.
    pub(super) fn look_up(&self, name: &str, now: Instant) -> (Need, Option<Arc<Tool>>) {
        if self.policy.needs_no_tools() {
            return (Need::Nothing, None);
        }
        self.catalog.read(|catalog| (catalog.need(name, self.policy.refresh(), now), catalog.tool(name)))
    }

    /// Checks a call by what is known of its `tool`.
    pub(super) fn check_call(
        &self,
        call: &Call,
        tool: Option<Arc<Tool>>,
        params: Option<Json<'_>>,
    ) -> Result<Known, Refusal> {
        let mut known = Known::default();
        if let Some(name) = call.tool().filter(|_| !self.policy.needs_no_tools()) {
            self.check_arguments(name, tool.as_deref(), params)?;
            known.tool = tool;
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
    pub(super) fn looks_at(&self, call: &Call) -> bool {
        match call.kind {
            Kind::Request | Kind::Notification => self.policy.messages() != Mode::Off || self.needs_params(call),
            Kind::Response | Kind::Listen | Kind::End => false,
        }
    }

    /// Checks a message by its method's schema.
    pub(super) fn check_message(&self, call: &Call, params: Option<Json<'_>>) -> Result<(), Refusal> {
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
    pub(super) fn watch<B>(self: &Arc<Self>, answer: &mut Answer<B>, call: &Arc<Call>, Known { tool, asked }: Known) {
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
