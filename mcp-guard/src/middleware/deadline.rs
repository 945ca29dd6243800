//! Gives each call its time-out when it is sent, so that waiting in the queue does not eat it.

use std::time::Duration;

use super::answer::Answer;
use super::clock;
use super::handler::{Handler, McpRequest};
use crate::config::ToolPolicy;

/// Sets the deadline of each request: the tool's own time-out, else `default`, from now.
#[derive(Clone, Debug)]
pub struct Deadline<H> {
    next: H,
    default: Option<Duration>,
    tools: Vec<ToolPolicy>,
}

impl<H> Deadline<H> {
    /// Requests of the tools in `tools` that have a time-out get that one, others `default`.
    pub fn new(next: H, default: Option<Duration>, tools: &[ToolPolicy]) -> Self {
        let tools = tools.iter().filter(|tool| tool.timeout.is_some()).cloned().collect();
        Self { next, default, tools }
    }

    fn timeout(&self, tool: Option<&str>) -> Option<Duration> {
        let policy = tool.and_then(|tool| self.tools.iter().find(|policy| policy.name.matches(tool)));
        policy.and_then(|policy| policy.timeout).map(|span| span.0).or(self.default)
    }
}

impl<H: Handler> Handler for Deadline<H> {
    type Body = H::Body;

    async fn handle(&self, mut request: McpRequest) -> Answer<H::Body> {
        if request.call.is_request() {
            let own = self.timeout(request.call.tool()).map(|timeout| clock::now() + timeout);
            request.deadline = [own, request.deadline].into_iter().flatten().min();
        }
        self.next.handle(request).await
    }
}
