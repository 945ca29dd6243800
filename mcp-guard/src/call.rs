//! The facts about one message that a decision may look at. No HTTP in it.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use compact_str::CompactString;

use crate::revision::Revision;

/// What the guard knows about one message from a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call {
    /// What sort of message it is.
    pub kind: Kind,
    /// The id of a request or of a response, as its JSON text.
    pub id: Option<CompactString>,
    /// The method; [`Method::NONE`] for what has none.
    pub method: Method,
    /// The tool, the prompt, or the URI of the resource that is meant.
    pub target: Option<CompactString>,
    /// Where `params` lies in the body.
    pub params: Option<Range<usize>>,
    /// Where `params.arguments` lies in the body.
    pub arguments: Option<Range<usize>>,
    /// The revision that the message is written in.
    pub revision: Revision,
    /// The session that the client named.
    pub session: Option<Box<str>>,
    /// The address that the connection came from.
    pub client: Option<IpAddr>,
    /// Who the caller is, where identity is configured.
    pub subject: Option<Box<str>>,
    /// Whether the message came behind another in one HTTP request, a batch.
    pub later_member: bool,
    /// Whether the guard itself asks, for what it needs to know.
    pub guards_own: bool,
}

/// What sort of message a [`Call`] is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "every layer must say what it does with each")]
pub enum Kind {
    /// Has an id and a method; is answered.
    Request,
    /// Has a method only; is accepted.
    Notification,
    /// Answers a request of the server's.
    Response,
    /// Opens the stream for what the server has to say (HTTP GET).
    Listen,
    /// Ends the session (HTTP DELETE).
    End,
}

impl Call {
    /// A call of `kind` about which nothing else is known.
    pub fn new(kind: Kind, method: Method, revision: Revision) -> Self {
        Self {
            kind,
            id: None,
            method,
            target: None,
            params: None,
            arguments: None,
            revision,
            session: None,
            client: None,
            subject: None,
            later_member: false,
            guards_own: false,
        }
    }

    /// The name of the tool, if this is a `tools/call`.
    pub fn tool(&self) -> Option<&str> {
        if self.method.is(Method::TOOLS_CALL) { self.target.as_deref() } else { None }
    }

    /// Whether someone waits for an answer.
    pub fn is_request(&self) -> bool {
        self.kind == Kind::Request
    }
}

/// The name of a method.
///
/// Known ones cost nothing to hold and compare; [`Method::label`] is bounded by them.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Method(Name);

#[derive(Clone, Eq, Hash, PartialEq)]
enum Name {
    None,
    /// By its place in [`Method::KNOWN`].
    Known(usize),
    Other(Box<str>),
}

macro_rules! methods {
    ($($(#[$doc:meta])* $constant:ident = $text:literal;)*) => {
        impl Method {
            $($(#[$doc])* pub const $constant: &'static str = $text;)*
            /// Every method that a client may send, in any revision.
            pub const KNOWN: &'static [&'static str] = &[$($text),*];
        }
    };
}

methods! {
    /// Starts a session.
    INITIALIZE = "initialize";
    /// Is anyone there?
    PING = "ping";
    /// Lists tools.
    TOOLS_LIST = "tools/list";
    /// Runs a tool.
    TOOLS_CALL = "tools/call";
    /// Lists resources.
    RESOURCES_LIST = "resources/list";
    /// Lists resource templates.
    RESOURCES_TEMPLATES_LIST = "resources/templates/list";
    /// Reads a resource.
    RESOURCES_READ = "resources/read";
    /// Asks to be told when a resource changes.
    RESOURCES_SUBSCRIBE = "resources/subscribe";
    /// Takes that back.
    RESOURCES_UNSUBSCRIBE = "resources/unsubscribe";
    /// Lists prompts.
    PROMPTS_LIST = "prompts/list";
    /// Renders a prompt.
    PROMPTS_GET = "prompts/get";
    /// Completes an argument.
    COMPLETION_COMPLETE = "completion/complete";
    /// Sets how much the server logs.
    LOGGING_SET_LEVEL = "logging/setLevel";
    /// How is a task getting on?
    TASKS_GET = "tasks/get";
    /// Lists tasks.
    TASKS_LIST = "tasks/list";
    /// The result of a task.
    TASKS_RESULT = "tasks/result";
    /// Cancels a task.
    TASKS_CANCEL = "tasks/cancel";
    /// What a stateless server offers.
    SERVER_DISCOVER = "server/discover";
    /// A stream of notifications.
    SUBSCRIPTIONS_LISTEN = "subscriptions/listen";
    /// The client has initialized.
    INITIALIZED = "notifications/initialized";
    /// The client gives up on a request.
    CANCELLED = "notifications/cancelled";
    /// The client reports progress.
    PROGRESS = "notifications/progress";
    /// The client's roots changed.
    ROOTS_LIST_CHANGED = "notifications/roots/list_changed";
    /// The status of a task of the client's changed.
    TASKS_STATUS = "notifications/tasks/status";
}

impl Method {
    /// What stands in for the method of a message that has none.
    pub const NONE: Self = Self(Name::None);

    /// The method called `text`.
    pub fn new(text: &str) -> Self {
        match Self::KNOWN.iter().position(|known| *known == text) {
            Some(place) => Self(Name::Known(place)),
            None => Self(Name::Other(text.into())),
        }
    }

    /// Its name, as it came.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::None => "",
            Name::Known(place) => known(*place),
            Name::Other(text) => text,
        }
    }

    /// Whether this is `method`, one of the constants.
    pub fn is(&self, method: &str) -> bool {
        self.as_str() == method
    }

    /// Its name if known, else `other`: a label that a client cannot multiply.
    pub fn label(&self) -> &'static str {
        match &self.0 {
            Name::None => "none",
            Name::Known(place) => known(*place),
            Name::Other(_) => "other",
        }
    }

    /// Its place among all labels, below [`Method::LABELS`].
    pub fn index(&self) -> usize {
        match &self.0 {
            Name::None => Self::KNOWN.len(),
            Name::Known(place) => *place,
            Name::Other(_) => Self::KNOWN.len() + 1,
        }
    }

    /// How many labels there are.
    pub const LABELS: usize = Self::KNOWN.len() + 2;

    /// Whether MCP defines it, in some revision.
    pub fn is_known(&self) -> bool {
        matches!(self.0, Name::Known(_))
    }
}

fn known(place: usize) -> &'static str {
    Method::KNOWN.get(place).copied().unwrap_or_default()
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
