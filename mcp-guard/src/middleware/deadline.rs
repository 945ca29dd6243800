//! Gives each call its time-out when it is sent, so that waiting in the queue does not eat it.

use std::time::Duration;

use super::answer::Answer;
use super::handler::{Handler, McpRequest};
use crate::call::Method;
use crate::config::ToolPolicy;

/// Sets the deadline of each message, of whatever kind: the tool's own time-out, else `default`, from now.
///
/// Whole answers must have ended by then. The tool's own also bounds an answer that comes as a stream; `default` bounds
/// only its beginning, and [`Deadline::total`] all of it. Streams that only listen may be open as long as they like.
#[derive(Clone, Debug)]
pub struct Deadline<H> {
    next: H,
    default: Option<Duration>,
    total: Option<Duration>,
    tools: Vec<ToolPolicy>,
}

impl<H> Deadline<H> {
    /// Calls of the tools in `tools` that have a time-out get that one, all else gets `default`.
    pub fn new(next: H, default: Option<Duration>, tools: &[ToolPolicy]) -> Self {
        let tools = tools.iter().filter(|tool| tool.timeout.is_some()).cloned().collect();
        Self { next, default, total: None, tools }
    }

    /// An answer to a request must have ended by `total`, unless its tool has a time-out of its own.
    #[must_use]
    pub fn total(mut self, total: Option<Duration>) -> Self {
        self.total = total;
        self
    }

    /// The time-out that the tool itself was given.
    fn of_tool(&self, tool: &str) -> Option<Duration> {
        let policy = self.tools.iter().find(|policy| policy.name.matches(tool))?;
        policy.timeout.map(|span| span.0)
    }
}

impl<H: Handler> Handler for Deadline<H> {
    type Body = H::Body;

    fn handle(&self, mut request: McpRequest) -> impl Future<Output = Answer<H::Body>> + Send {
        let own = request.call.tool().and_then(|tool| self.of_tool(tool));
        let listens = !request.call.is_request() || request.call.method.is(Method::SUBSCRIPTIONS_LISTEN);
        let whole = own.or(self.total.filter(|_| !listens));
        let now = request.now;
        request.deadline = own.or(self.default).or(whole).map(|timeout| now + timeout);
        request.stream_deadline = whole.map(|timeout| now + timeout);
        self.next.handle(request)
    }
}
