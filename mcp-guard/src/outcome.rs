//! How a forwarded call ended, and what counts as a failure (ADR 0003).

/// How a forwarded call ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// A JSON-RPC result, or an accepted notification.
    Ok,
    /// A tool result with `isError`: the tool ran and says that it could not.
    ToolError,
    /// A JSON-RPC error that blames the caller, or that is the server's ordinary answer.
    RpcError(i64),
    /// A JSON-RPC error that blames the server: -32603.
    ServerError(i64),
    /// An HTTP status of 500 and above, or one that says "not now" (429).
    HttpError(u16),
    /// Another HTTP status of 300 and above: the caller's mistake.
    HttpRefused(u16),
    /// The node could not be reached; nothing was sent.
    Unreachable,
    /// The connection broke, or the process died, after something was sent.
    Broken,
    /// The same, and the host has put another node in the place of the one that broke.
    Replaced,
    /// The node did not answer in time.
    TimedOut,
    /// The answer was larger than the guard passes on.
    TooLarge,
    /// The caller left, or cancelled, before the answer.
    Cancelled,
    /// The guard refused the call further in; the node had no part in it.
    Refused,
}

/// What an [`Outcome`] says about the health of whoever was called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "three words, used in matches everywhere")]
pub enum Verdict {
    /// It works.
    Success,
    /// It does not.
    Failure,
    /// Nothing can be said.
    Unknown,
}

impl Outcome {
    /// What this says about the *node*: only transport and HTTP failures speak against it.
    pub fn of_node(self) -> Verdict {
        match self {
            Self::Ok
            | Self::ToolError
            | Self::RpcError(_)
            | Self::ServerError(_)
            | Self::HttpRefused(_)
            | Self::TooLarge => Verdict::Success,
            Self::HttpError(_) | Self::Unreachable | Self::Broken | Self::TimedOut => Verdict::Failure,
            Self::Cancelled | Self::Refused | Self::Replaced => Verdict::Unknown,
        }
    }

    /// What this says about the *tool*: -32603 and time-outs too speak against it, `isError` does not.
    ///
    /// That the node cannot be reached says nothing about one of its tools.
    pub fn of_tool(self) -> Verdict {
        match self {
            Self::Ok | Self::ToolError | Self::RpcError(_) | Self::HttpRefused(_) | Self::TooLarge => Verdict::Success,
            Self::ServerError(_) | Self::HttpError(_) | Self::Broken | Self::Replaced | Self::TimedOut => {
                Verdict::Failure
            }
            Self::Unreachable | Self::Cancelled | Self::Refused => Verdict::Unknown,
        }
    }

    /// Its place among all outcomes, below [`Outcome::COUNT`]; what an outcome carries makes no difference.
    pub const fn index(self) -> usize {
        match self {
            Self::Ok => 0,
            Self::ToolError => 1,
            Self::RpcError(_) => 2,
            Self::ServerError(_) => 3,
            Self::HttpError(_) => 4,
            Self::HttpRefused(_) => 5,
            Self::Unreachable => 6,
            Self::Broken => 7,
            Self::TimedOut => 8,
            Self::TooLarge => 9,
            Self::Cancelled => 10,
            Self::Refused => 11,
            Self::Replaced => 12,
        }
    }

    /// How many outcomes there are.
    pub const COUNT: usize = 13;

    /// The value of the `outcome` label of `requests_total` and `tool_calls_total`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ToolError => "tool_error",
            Self::RpcError(_) => "rpc_error",
            Self::ServerError(_) => "server_error",
            Self::HttpError(_) => "http_error",
            Self::HttpRefused(_) => "http_refused",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::Replaced => "replaced",
            Self::TimedOut => "timed_out",
            Self::TooLarge => "too_large",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
        }
    }
}
