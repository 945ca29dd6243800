//! Retries are paid for, waits stay within their bounds, and what may have run is never sent again unless that is safe (I11).

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::outcome::Outcome;
use mcp_guard::retry::{
    Attempts, BALANCE_MAX, Budget, Ended, Next, RESERVE_MAX, RETRY_AFTER_MAX, Repeat, RetryPolicy, RetrySpec,
    ToolHints, delay,
};
use mcp_guard::revision::Revision;
use mcp_guard::units::Span;

/// A retry, in the unit of the model: the nanoseconds in which one is earned.
const RETRY: u128 = 1_000_000_000;

/// What is called, and whether its method alone says that it may run twice (ADR 0004).
const METHODS: [(&str, bool); 16] = [
    (Method::TOOLS_CALL, false),
    (Method::PING, true),
    (Method::TOOLS_LIST, true),
    (Method::RESOURCES_READ, true),
    (Method::PROMPTS_GET, true),
    (Method::LOGGING_SET_LEVEL, true),
    (Method::RESOURCES_SUBSCRIBE, true),
    (Method::TASKS_CANCEL, true),
    (Method::SUBSCRIPTIONS_LISTEN, true),
    (Method::SERVER_DISCOVER, true),
    (Method::INITIALIZE, false),
    (Method::CANCELLED, false),
    ("vendor/anything", false),
    ("ping ", false),
    ("Tools/List", false),
    ("", false),
];

/// What is said with a call, and whether it goes on with an exchange of which each step is taken once (2026-07-28).
const PARAMS: [(Option<&str>, bool); 8] = [
    (None, false),
    (Some("{}"), false),
    (Some(r#"{"uri":"requestState","a":{"inputResponses":1}}"#), false),
    (Some(r#"{"requestState":"x"}"#), true),
    (Some(r#"{"a":1,"input\u0052esponses":{}}"#), true),
    (Some(r#"{"requestState":"x","requestState":null}"#), true),
    (Some(r#"{"inputResponses":{},"name":"a"}"#), true),
    (Some("[1"), true),
];

/// How a call may end, and whether something of it may have run.
const OUTCOMES: [(Outcome, bool); 16] = [
    (Outcome::Unreachable, false),
    (Outcome::Unreachable, false),
    (Outcome::Broken, true),
    (Outcome::Broken, true),
    (Outcome::Replaced, true),
    (Outcome::HttpError(503), true),
    (Outcome::HttpError(429), true),
    (Outcome::HttpError(502), true),
    (Outcome::HttpError(504), true),
    (Outcome::HttpError(500), true),
    (Outcome::HttpRefused(404), true),
    (Outcome::ServerError(-32603), true),
    (Outcome::RpcError(-32602), true),
    (Outcome::TimedOut, true),
    (Outcome::Ok, true),
    (Outcome::Refused, false),
];

/// What was paid in and out.
enum Entry {
    Paid(u64),
    Retried,
}

/// The budget, and what it should hold.
struct Purse {
    budget: Budget,
    share_thousandths: u64,
    balance: u128,
    earned_until: u64,
    now: u64,
    start: Instant,
    entries: Vec<(u64, Entry)>,
}

/// Takes six bytes as a policy, and each four behind as something that happens.
pub(crate) fn check(data: &[u8]) {
    let Some(([attempts, base, cap, share_high, share_low, trusts], rest)) = data.split_first_chunk() else { return };
    let base_time = Duration::from_millis(u64::from(base % 64) * u64::from(base % 64) + 1);
    let share_thousandths = u64::from(u16::from_le_bytes([*share_low, share_high % 4])).min(1000);
    let spec = RetrySpec {
        attempts: NonZeroU32::MIN.saturating_add(u32::from(attempts % 10)),
        base: Span(base_time),
        cap: Span((base_time * (u32::from(cap % 16) + 1)).min(Duration::from_secs(60))),
        budget: share_thousandths as f64 / 1000.0,
        trust_annotations: trusts % 2 == 1,
        hedge_after: None,
    };
    let policy = RetryPolicy::try_from(spec).expect("it can be meant");
    let start = start();
    let budget = Budget::new(policy.budget(), start);
    let balance = u128::from(RESERVE_MAX) * RETRY;
    let mut purse = Purse { budget, share_thousandths, balance, earned_until: 0, now: 0, start, entries: Vec::new() };
    for four in rest.chunks_exact(4) {
        let &[what, which, how, random] = four else { continue };
        match what % 8 {
            0 => purse.deposit(),
            1 => drop(purse.withdraw()),
            2 => purse.now += u64::from(how) << (which % 36),
            3 => waits(&policy, [which, how, random]),
            _ => play(&policy, &mut purse, four),
        }
    }
    purse.no_window_holds_more_than_was_paid();
}

/// A call, its attempts and what each came to, by what a layer would do.
fn play(policy: &RetryPolicy, purse: &mut Purse, bytes: &[u8]) {
    let &[what, which, how, random] = bytes else { return };
    let (call, params, hints) = call(which, how);
    let repeat = Repeat::of(&call, params.map(str::as_bytes), hints.filter(|_| policy.trusts_annotations()));
    let is_safe = may_run_twice(&call, which, how, hints.filter(|_| policy.trusts_annotations()));
    assert_eq!(repeat.is_safe(), is_safe, "{call:?} {params:?} {hints:?}");
    purse.deposit();
    let mut dice = fastrand::Rng::with_seed(u64::from_le_bytes([what, which, how, random, 0, 0, 0, 0]));
    let deadline = (random % 2 == 0).then(|| purse.now + u64::from(random) * 40_000_000);
    let mut attempts = Attempts::first(policy);
    let mut longest = policy.base();
    for sent in 1.. {
        assert!(sent <= policy.attempts_max(), "as often as is allowed at most");
        assert_eq!(attempts.remain(policy), sent < policy.attempts_max());
        let (outcome, may_have_run) = OUTCOMES[dice.usize(..OUTCOMES.len())];
        let asked = (dice.u8(..8) == 0).then(|| Duration::from_secs(dice.u64(..15)));
        let until = deadline.map(|at| purse.start + Duration::from_nanos(at));
        let ended = Ended { outcome, repeat, retry_after: asked, deadline: until };
        let next = attempts.next(ended, policy, purse.instant(), dice.u64(..));
        let is_worth_it = helps(outcome) && (is_safe || !may_have_run && repeat != Repeat::Never);
        let left = deadline.map(|at| Duration::from_nanos(at.saturating_sub(purse.now)));
        let asked = asked.unwrap_or_default();
        longest = (longest * 3).min(policy.cap()).max(policy.base());
        match next {
            Next::Retry { wait } => {
                assert!(is_worth_it, "{outcome:?} of {call:?}: it may have run, and is sent again");
                assert!(call.kind != Kind::Response, "the second would answer something else");
                assert!((policy.base()..=longest.max(asked)).contains(&wait) && wait >= asked, "{wait:?}");
                assert!(asked <= RETRY_AFTER_MAX && left.is_none_or(|left| wait < left), "in time");
                purse.now += u64::try_from(wait.as_nanos()).expect("a minute at most");
                if !purse.withdraw() {
                    return;
                }
            }
            Next::Done => return assert!(!is_worth_it, "{outcome:?} of {call:?} is given up"),
            Next::Exhausted => return assert!(is_worth_it && sent == policy.attempts_max()),
            Next::TooLate => {
                let is_late = left.is_some_and(|left| left <= longest.max(asked));
                return assert!(is_worth_it && (asked > RETRY_AFTER_MAX || is_late));
            }
        }
        attempts.sent();
    }
}

/// Whether another attempt may end better: the way to the node failed, or the node said that it is busy.
fn helps(outcome: Outcome) -> bool {
    let failed = [Outcome::Unreachable, Outcome::Broken, Outcome::Replaced];
    failed.contains(&outcome) || [429, 502, 503, 504].map(Outcome::HttpError).contains(&outcome)
}

/// A message of each kind, with params of each, and with what its tool says about itself.
fn call(which: u8, how: u8) -> (Call, Option<&'static str>, Option<ToolHints>) {
    let kind = match how / 8 % 8 {
        0 => Kind::Notification,
        1 => Kind::Response,
        2 => Kind::Listen,
        3 => Kind::End,
        _ => Kind::Request,
    };
    let revision = if which / 16 % 2 == 1 { Revision::V2026_07_28 } else { Revision::V2025_11_25 };
    let mut call = Call::new(kind, Method::new(METHODS[usize::from(which % 16)].0), revision);
    call.target = (which / 32 % 2 == 1).then(|| "a".into());
    let hints = (how >= 128).then_some(ToolHints { read_only: which / 64 % 2 == 1, idempotent: which >= 128 });
    (call, PARAMS[usize::from(how % 8)].0, hints)
}

fn may_run_twice(call: &Call, which: u8, how: u8, hints: Option<ToolHints>) -> bool {
    let (method, by_method) = METHODS[usize::from(which % 16)];
    let is_tool = method == Method::TOOLS_CALL && call.target.is_some() && call.kind == Kind::Request;
    let is_hinted = is_tool && hints.is_some_and(|hints| hints.read_only || hints.idempotent);
    let is_later_round = call.revision.is_stateless() && PARAMS[usize::from(how % 8)].1;
    let by_kind = match call.kind {
        Kind::Request => by_method,
        Kind::Listen => true,
        Kind::Notification | Kind::Response | Kind::End => false,
    };
    (by_kind || is_hinted) && !is_later_round
}

/// Waits, one after the other, with random bits of all sorts.
fn waits(policy: &RetryPolicy, bytes: [u8; 3]) {
    let (base, cap) = (policy.base(), policy.cap());
    let mut previous = base;
    for random in bytes.map(|byte| u64::from_le_bytes([byte; 8])).into_iter().chain([0, u64::MAX]) {
        let wait = delay(previous, base, cap, random);
        assert!((base..=cap).contains(&wait) && wait <= previous * 3, "{wait:?} after {previous:?}");
        // The random bits are a share of what may be added.
        let span = (previous * 3).min(cap).max(base) - base;
        let share = (wait - base).as_secs_f64() - span.as_secs_f64() * (random as f64 / u64::MAX as f64);
        assert!(share.abs() < 1e-6, "{share}");
        previous = wait;
    }
}

impl Purse {
    fn instant(&self) -> Instant {
        self.start + Duration::from_nanos(self.now)
    }

    fn deposit(&mut self) {
        self.budget.deposit(self.instant());
        self.earn();
        let paid = u128::from(self.share_thousandths) * (RETRY / 1000);
        self.balance = (self.balance + paid).min(u128::from(BALANCE_MAX) * RETRY);
        self.entries.push((self.now, Entry::Paid(self.share_thousandths)));
    }

    fn withdraw(&mut self) -> bool {
        let is_paid = self.budget.withdraw(self.instant());
        self.earn();
        assert_eq!(is_paid, self.balance >= RETRY, "{} are left", self.balance);
        if is_paid {
            self.balance -= RETRY;
            self.entries.push((self.now, Entry::Retried));
        }
        is_paid
    }

    /// One a second, up to the reserve; of a microsecond that is not over, nothing yet.
    fn earn(&mut self) {
        let earned = (self.now - self.earned_until) / 1000 * 1000;
        self.earned_until += earned;
        let reserve = u128::from(RESERVE_MAX) * RETRY;
        self.balance = self.balance.max(reserve.min(self.balance + u128::from(earned)));
    }

    /// Whenever one begins to count, there are never more retries than could have been saved up, were paid and earned since.
    fn no_window_holds_more_than_was_paid(&self) {
        // The most by which retries exceed what was paid and earned, of all times that end here.
        let (mut excess, mut before) = (0, 0);
        for (at, entry) in &self.entries {
            let micros = i128::from(at - before) / 1000 + 1;
            let change = match entry {
                Entry::Paid(thousandths) => -i128::from(*thousandths) * 1000,
                Entry::Retried => 1_000_000,
            };
            (excess, before) = ((excess - micros).max(0) + change, *at);
            assert!(excess <= i128::from(BALANCE_MAX) * 1_000_000 + 1, "{excess} millionths");
            excess = excess.max(0);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a start for virtual time")]
fn start() -> Instant {
    Instant::now()
}
