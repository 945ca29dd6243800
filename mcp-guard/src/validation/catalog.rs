//! The tools that a node lists, and when the list has to be fetched.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::page::{ListedTool, Page};
use super::policy::ValidationPolicy;
use super::schema::Schema;
use crate::retry::ToolHints;

/// The most pages of one list; what comes after is not learned, and calls of those tools pass unchecked.
pub const PAGES_MAX: usize = 1_000;

/// The most bytes of schemas of one list; tools beyond are known, but their calls pass unchecked.
pub const LISTING_BYTES_MAX: usize = 16 << 20;

/// The longest tool name that is kept. 2025-11-25 allows 128.
const NAME_BYTES_MAX: usize = 1024;

/// The longest cursor that is kept until its page passes by; a list with a longer one ends there.
const CURSOR_BYTES_MAX: usize = 8 << 10;

/// How old the catalogue must be before a call of a tool that it lacks has the tools listed again.
const UNKNOWN_TOOL_AGE: Duration = Duration::from_secs(10);

/// How old the catalogue must be before word of a change has the tools listed again. Each session may be told of the
/// same change, and a tool may say so with each call.
const CHANGED_LIST_AGE: Duration = Duration::from_secs(1);

/// The wait after a list that was refused to its caller. It does not grow, since others may fare better.
const REFUSED_WAIT: Duration = Duration::from_millis(500);

/// The wait after a first failed list; it doubles with each further one.
const BACKOFF_BASE: Duration = Duration::from_secs(1);

/// The longest wait after a failed list.
const BACKOFF_CAP: Duration = Duration::from_secs(60);

/// What is known of one tool.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) input: Option<Arc<Schema>>,
    pub(super) output: Option<Arc<Schema>>,
    pub(super) hints: ToolHints,
}

/// The tools of one node, swapped whole.
///
/// There is one for each layer, so for each upstream, and not one for each session: sessions of one node nearly
/// always see the same tools, and the last complete list counts for all.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// Kept when it must not be used any more, for its compiled schemas.
    listing: Arc<Listing>,
    /// When the listing was learned, and its edition; `None` when it must not be used.
    learned: Option<(Instant, Edition)>,
    /// The edition of a list that is asked for now.
    edition: Edition,
    /// A list that passes by page by page. There is room for one; an interleaved second takes its place.
    passing: Option<Passing>,
    /// Who the node said that it is when it last did, hashed with a secret of its own.
    server: Option<u64>,
    hasher: RandomState,
    failures: u32,
    not_before: Option<Instant>,
}

/// What a list is a list of; a later one is greater.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Edition {
    /// Counts the nodes: a list of one is worthless for the next.
    node: u64,
    /// Counts the changes that were told of: a list from before serves until there is another.
    change: u64,
}

/// A complete list.
#[derive(Debug, Default)]
struct Listing {
    /// Hashed fast: these names are the node's own, and callers cannot add any.
    tools: HashMap<Box<str>, Arc<Tool>, foldhash::fast::RandomState>,
    schemas: HashMap<Arc<str>, Arc<Schema>>,
}

#[derive(Debug)]
struct Passing {
    session: Option<Box<str>>,
    cursor: Box<str>,
    draft: Draft,
}

/// A list that is not complete yet.
#[derive(Debug)]
pub(super) struct Draft {
    known: Arc<Listing>,
    listing: Listing,
    edition: Edition,
    bytes: usize,
    pages: usize,
}

/// Which page a passing answer is.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) session: Option<Box<str>>,
    /// `None` for the first page.
    pub(super) cursor: Option<Box<str>>,
    /// [`Catalog::edition`] when it was asked for.
    pub(super) edition: Edition,
}

/// Whether a call has to have the tools listed first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    /// No: what is known is good, or it is too early to try again.
    Nothing,
    /// It is worth a try; until then, what is known serves.
    Refresh,
    /// Nothing usable is known.
    Learn,
}

impl Catalog {
    /// What to do before a call of `tool`.
    pub(super) fn need(&self, tool: &str, refresh: Duration, now: Instant) -> Need {
        if self.not_before.is_some_and(|not_before| now < not_before) {
            return Need::Nothing;
        }
        let Some((learned_at, edition)) = self.learned else { return Need::Learn };
        let age = now.saturating_duration_since(learned_at);
        let has_changed = edition < self.edition;
        let is_unknown = !self.listing.tools.contains_key(tool);
        let is_due =
            age >= refresh || (has_changed && age >= CHANGED_LIST_AGE) || (is_unknown && age >= UNKNOWN_TOOL_AGE);
        if is_due { Need::Refresh } else { Need::Nothing }
    }

    /// What is known of `tool`.
    pub(super) fn tool(&self, tool: &str) -> Option<Arc<Tool>> {
        self.learned?;
        self.listing.tools.get(tool).cloned()
    }

    /// Whether there is a list that may be used.
    pub(super) fn is_usable(&self) -> bool {
        self.learned.is_some()
    }

    /// The edition of a list that is asked for now.
    pub(super) fn edition(&self) -> Edition {
        self.edition
    }

    /// An empty list to be filled, one that remembers what is compiled already.
    pub(super) fn draft(&self) -> Draft {
        Draft {
            known: Arc::clone(&self.listing),
            listing: Listing::default(),
            edition: self.edition,
            bytes: 0,
            pages: 0,
        }
    }

    /// Learns from a page that passes by. True if that completed a list.
    pub(super) fn learn(&mut self, asked: &Asked, page: &Page<'_>, policy: &ValidationPolicy, now: Instant) -> bool {
        let mut draft = match &asked.cursor {
            None => Draft { edition: asked.edition, ..self.draft() },
            Some(cursor) => {
                let follows = |passing: &mut Passing| passing.cursor == *cursor && passing.session == asked.session;
                let Some(passing) = self.passing.take_if(follows) else { return false };
                passing.draft
            }
        };
        let has_room = draft.add(page, policy);
        match page.next_cursor.as_deref().filter(|cursor| has_room && cursor.len() <= CURSOR_BYTES_MAX) {
            None => self.install(draft, now),
            Some(cursor) => {
                self.passing = Some(Passing { session: asked.session.clone(), cursor: cursor.into(), draft });
                false
            }
        }
    }

    /// Takes a complete list, unless it is another node's or there is one from after a later change.
    pub(super) fn install(&mut self, draft: Draft, now: Instant) -> bool {
        let is_overtaken = self.learned.is_some_and(|(_, edition)| draft.edition < edition);
        if draft.edition.node != self.edition.node || is_overtaken {
            return false;
        }
        self.listing = Arc::new(draft.listing);
        self.learned = Some((now, draft.edition));
        self.failures = 0;
        self.not_before = None;
        true
    }

    /// The node says that its tools changed: what is known serves until they are listed again.
    ///
    /// Were it dropped, calls would pass unchecked for as long as a client can have a tool say so.
    pub(super) fn changed(&mut self) {
        self.edition.change += 1;
    }

    /// The node says who it is. If that is another than the last time, what runs there is another program or version,
    /// whose tools may be others: they are listed again, as after word of a change.
    ///
    /// Sessions of both may be open while a new version is rolled out, so nothing is dropped.
    pub(super) fn introduced(&mut self, server: &str) {
        let server = self.hasher.hash_one(server);
        if self.server.replace(server).is_some_and(|last| last != server) {
            self.changed();
        }
    }

    /// Calls go to another node now: what is known must not be used.
    pub(super) fn forget(&mut self) {
        self.learned = None;
        self.edition.node += 1;
        self.passing = None;
        self.not_before = None;
    }

    /// A list was refused to its caller: the next try waits a little.
    pub(super) fn list_refused(&mut self, now: Instant) {
        self.not_before = self.not_before.max(now.checked_add(REFUSED_WAIT));
    }

    /// A list could not be had: the next try waits, twice as long each time.
    pub(super) fn list_failed(&mut self, now: Instant) {
        let wait = BACKOFF_BASE.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(BACKOFF_CAP);
        self.failures = (self.failures + 1).min(31);
        self.not_before = now.checked_add(wait);
    }
}

impl Draft {
    /// Adds a page; false if there is no room for another: what comes after is not learned.
    pub(super) fn add(&mut self, page: &Page<'_>, policy: &ValidationPolicy) -> bool {
        self.pages += 1;
        for tool in &page.tools {
            if self.listing.tools.len() >= policy.tools_max() {
                break;
            }
            if tool.name.len() <= NAME_BYTES_MAX {
                let known = self.tool(tool, policy);
                self.listing.tools.insert((&*tool.name).into(), Arc::new(known));
            }
        }
        self.pages < PAGES_MAX && self.listing.tools.len() < policy.tools_max()
    }

    fn tool(&mut self, tool: &ListedTool<'_>, policy: &ValidationPolicy) -> Tool {
        Tool {
            input: tool.input_schema.map(|text| self.schema(text.get(), policy)),
            output: tool.output_schema.map(|text| self.schema(text.get(), policy)),
            hints: tool.hints(),
        }
    }

    /// The schema of this text: each text is kept and compiled once, also from one list to the next.
    fn schema(&mut self, text: &str, policy: &ValidationPolicy) -> Arc<Schema> {
        if let Some(schema) = self.listing.schemas.get(text) {
            return Arc::clone(schema);
        }
        let schema = match self.known.schemas.get(text) {
            Some(schema) => Arc::clone(schema),
            None => {
                let room = LISTING_BYTES_MAX.saturating_sub(self.bytes);
                Arc::new(Schema::new(text, policy.schema_bytes_max().min(room)))
            }
        };
        self.bytes += schema.text().len();
        if !schema.text().is_empty() {
            self.listing.schemas.insert(Arc::clone(schema.text()), Arc::clone(&schema));
        }
        schema
    }
}
