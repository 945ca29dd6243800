//! A limiter allows, refuses and forgets exactly what a plain model of it does, and never more than was earned.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::allowance::Allowances;
use super::key::Key;
use super::policy::CallMatch;
use super::table::{Purpose, Question};
use super::{Decision, KeyPart, RateLimitPolicy, RateLimiter, RateLimits};
use crate::call::{Call, Kind, Method};
use crate::matcher::Pattern;
use crate::revision::Revision;

/// By what a rule tells calls apart, and whether it is about tools only.
const KEYS: [(&[KeyPart], bool); 8] = [
    (&[KeyPart::Client], false),
    (&[], false),
    (&[KeyPart::Session], false),
    (&[KeyPart::Client, KeyPart::Tool], true),
    (&[KeyPart::Subject], false),
    (&[KeyPart::Method, KeyPart::Client], false),
    (&[KeyPart::Tool], true),
    (&[KeyPart::Session, KeyPart::Client, KeyPart::Subject], false),
];

const RATES: [&str; 8] = ["1/s", "3/s", "7/m", "100/s", "1000000/s", "1/h", "999/m", "50/h"];

/// So many keys at most lie in one set, of which then each place is known.
const KEYS_MAX: u8 = 16;

/// One rule as it should be. A place holds who has it, and when their allowance is whole, in nanoseconds.
#[derive(Clone)]
struct Rule {
    policy: RateLimitPolicy,
    interval: u64,
    burst: u64,
    places: Vec<(Option<String>, u64)>,
    /// What was allowed to whom, when and for how much, since they were last forgotten.
    spent: Vec<(String, u64, u64)>,
}

/// By how much clocks of threads may differ.
const SKEW: u64 = u8::MAX as u64;

/// What a rule is asked for; nothing is only a look.
type Claim = (usize, String, Option<u64>);

struct World {
    limiter: RateLimiter,
    rules: Vec<Rule>,
    start: Instant,
    now: u64,
    latest: u64,
    forgotten: u64,
}

/// Takes the first byte as how many rules there are, four bytes for each, and each three behind as something that happens.
pub(crate) fn check(data: &[u8]) {
    let Some((count, mut rest)) = data.split_first() else { return };
    let mut rules = Vec::new();
    for number in 0..count % 3 + 1 {
        let Some((bytes, behind)) = rest.split_first_chunk() else { return };
        rules.push(Rule::of(number, *bytes));
        rest = behind;
    }
    give_backs(&rules[0], rest);
    let start = start();
    let mut world =
        World { limiter: RateLimiter::new(&limits(&rules), start), rules, start, now: 0, latest: 0, forgotten: 0 };
    for triple in rest.chunks_exact(3) {
        let &[what, which, how] = triple else { continue };
        world.step(what, which, how);
    }
}

fn limits(rules: &[Rule]) -> RateLimits {
    RateLimits::new(rules.iter().map(|rule| rule.policy.clone()).collect()).expect("they can stand together")
}

impl World {
    fn step(&mut self, what: u8, which: u8, how: u8) {
        match what % 8 {
            0 | 1 => self.ask(&call(which), how, what / 8 % 4 == 3),
            2 => self.ask_in_halves(&call(which), how),
            3 => self.now += u64::from(how) << (which % 40),
            // To the nanosecond at which the first allowance is whole that is not, and one before.
            4 => {
                let all = self.rules.iter().flat_map(|rule| rule.places.iter().map(|(_, at)| *at));
                let next = all.filter(|at| *at > self.now + 1).min();
                self.now = next.map_or(self.now, |at| at - u64::from(how % 2));
            }
            5 if how.is_multiple_of(8) => self.reload(which),
            // Another thread read the clock a little earlier.
            6 => self.now = self.latest.saturating_sub(u64::from(how)),
            _ => self.ask(&call(which), 0, false),
        }
        self.latest = self.latest.max(self.now);
        assert_eq!(self.limiter.take_evictions(), std::mem::take(&mut self.forgotten), "what is forgotten is counted");
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_nanos(self.now)
    }

    /// Asks every rule at once, and again when it should fit.
    fn ask(&mut self, call: &Call, cost: u8, is_patient: bool) {
        let applying = |rule: &&(usize, &Rule)| match call.kind {
            Kind::Listen => rule.1.policy.is_of_client_only(),
            Kind::Request | Kind::Notification => rule.1.is_about(call),
            Kind::Response | Kind::End => false,
        };
        let cost_all = u64::from(cost) + 1;
        let rules = self.rules.iter().enumerate();
        let claims: Vec<Claim> =
            rules.filter(|rule| applying(&rule)).map(|(at, rule)| (at, rule.key(call), Some(cost_all))).collect();
        let cost = NonZeroU32::MIN.saturating_add(u32::from(cost));
        let decision = self.limiter.decide(call, cost, self.instant());
        self.compare(decision, &claims);
        if let (true, Decision::Deny(denial)) = (is_patient, decision) {
            let wait = u64::try_from(denial.retry_after().as_nanos()).expect("some years at most");
            self.now += wait - 1;
            let decision = self.limiter.decide(call, cost, self.instant());
            assert!(matches!(decision, Decision::Deny(early) if early.retry_after() == Duration::from_nanos(1)));
            self.compare(decision, &claims);
            self.now += 1;
            let decision = self.limiter.decide(call, cost, self.instant());
            assert!(matches!(decision, Decision::Allow(_)), "who waits as long as told is served");
            self.compare(decision, &claims);
        }
    }

    fn ask_in_halves(&mut self, call: &Call, cost: u8) {
        let of_client = |rule: &Rule| rule.policy.is_of_client_only();
        let rules = || self.rules.iter().enumerate();
        let key = |(at, rule): (usize, &Rule), claim| (at, rule.key(call), claim);
        let first: Vec<Claim> = rules().filter(|(_, rule)| of_client(rule)).map(|rule| key(rule, Some(1))).collect();
        let cost_all = u64::from(cost % 8) + 1;
        let rest = cost_all - u64::from(!call.later_member);
        let claims = rules().filter(|(_, rule)| is_counted(call) && (of_client(rule) || rule.is_about(call)));
        let second: Vec<Claim> = claims
            .map(|rule| key(rule, if of_client(rule.1) { (rest > 0).then_some(rest) } else { Some(cost_all) }))
            .collect();
        if !call.later_member {
            let decision = self.limiter.before_body(call.client, self.instant());
            self.compare(decision, &first);
            if matches!(decision, Decision::Deny(_)) {
                return;
            }
        }
        let cost = NonZeroU32::MIN.saturating_add(u32::from(cost % 8));
        let decision = self.limiter.after_body(call, cost, self.instant());
        self.compare(decision, &second);
    }

    /// Compares what was decided with what should be, and takes note of it.
    fn compare(&mut self, decision: Decision, claims: &[Claim]) {
        let now = self.now;
        let spending = || claims.iter().filter_map(|(at, key, cost)| Some((*at, key, (*cost)?)));
        let waits = spending().map(|(at, key, cost)| (at, self.rules[at].wait(key, cost, now)));
        // Of waits that are as long, one that is asked later.
        let longest = waits.filter(|(_, wait)| *wait > 0).max_by_key(|(_, wait)| *wait);
        match (decision, longest) {
            (Decision::Deny(denial), Some((at, wait))) => {
                assert_eq!(denial.retry_after(), Duration::from_nanos(wait), "the wait is exact");
                let standing = denial.standing();
                assert_eq!(self.limiter.policy(&standing), Some(&self.rules[at].policy));
                let (_, key, _) = spending().find(|(other, ..)| *other == at).expect("it was asked");
                assert_eq!(u64::from(standing.remaining()), self.rules[at].left(key, now), "{key}");
            }
            (Decision::Allow(standing), None) => {
                for (at, key, cost) in spending() {
                    self.forgotten += self.rules[at].spend(key, cost, now);
                }
                let least = claims.iter().map(|(at, key, _)| self.rules[*at].left(key, now)).min();
                assert_eq!(standing.map(|standing| u64::from(standing.remaining())), least, "what is left");
            }
            (decision, longest) => panic!("{decision:?}, but the longest wait is {longest:?}"),
        }
    }

    /// Another config: rules leave, and come back as new ones; one stays as it is.
    fn reload(&mut self, which: u8) {
        let kept = usize::from(which) % self.rules.len();
        let is_changed = which >= 128;
        for (at, rule) in self.rules.iter_mut().enumerate() {
            if at != kept && is_changed {
                let burst = NonZeroU32::new(u32::from(which) - 100).expect("28 at least");
                let policy = rule.policy.clone().with_burst(burst).expect("it can be meant");
                if policy != rule.policy {
                    *rule = Rule::from(policy);
                }
            }
        }
        self.limiter = self.limiter.succeeded(&limits(&self.rules));
    }
}

impl Rule {
    fn of(number: u8, [key, rate, burst, keys_max]: [u8; 4]) -> Self {
        let (parts, of_tools) = KEYS[usize::from(key % 8)];
        let rate = RATES[usize::from(rate % 8)].parse().expect("a rate");
        let count = |number: u8| NonZeroU32::MIN.saturating_add(u32::from(number));
        let policy = RateLimitPolicy::new(format!("rule-{number}"), parts, rate).expect("it can be meant");
        let policy =
            policy.with_burst(count(burst % 64)).and_then(|policy| policy.with_keys_max(count(keys_max % KEYS_MAX)));
        let matching = CallMatch { method: of_tools.then(|| Pattern::new("tools/*")), ..CallMatch::default() };
        Self::from(policy.expect("it can be meant").matching(matching))
    }

    fn from(policy: RateLimitPolicy) -> Self {
        let rate = policy.rate();
        let interval = rate.per().as_nanos().div_ceil(u128::from(rate.count()));
        let places = vec![(None, 0); policy.keys_max().get() as usize];
        let interval = u64::try_from(interval).expect("an hour at most");
        Self { interval, burst: policy.burst().get().into(), places, policy, spent: Vec::new() }
    }

    fn is_about(&self, call: &Call) -> bool {
        self.policy.call_match().method.is_none() || call.method.as_str().starts_with("tools/")
    }

    /// Who calls. An IPv6 network is one client, and an IPv4 address however it is written.
    fn key(&self, call: &Call) -> String {
        let client = call.client.map(|client| match client.to_canonical() {
            IpAddr::V4(client) => client.to_string(),
            IpAddr::V6(client) => format!("{:?}", &client.segments()[..4]),
        });
        let part = |part: &KeyPart| match part {
            KeyPart::Client => format!("{client:?}"),
            KeyPart::Session => format!("{:?}", call.session),
            KeyPart::Subject => format!("{:?}", call.subject),
            KeyPart::Method => call.method.as_str().to_owned(),
            KeyPart::Tool => format!("{:?}", call.tool()),
        };
        self.policy.key().iter().map(part).collect::<Vec<_>>().join(" ")
    }

    /// What is missing from a whole allowance, in nanoseconds.
    fn debt(&self, key: &str, now: u64) -> u64 {
        let place = self.places.iter().find(|(kept, _)| kept.as_deref() == Some(key));
        place.map_or(0, |(_, at)| at.saturating_sub(now))
    }

    fn weight(&self, cost: u64) -> u64 {
        cost.min(self.burst) * self.interval
    }

    fn wait(&self, key: &str, cost: u64, now: u64) -> u64 {
        (self.debt(key, now) + self.weight(cost)).saturating_sub(self.burst * self.interval)
    }

    fn left(&self, key: &str, now: u64) -> u64 {
        (self.burst * self.interval).saturating_sub(self.debt(key, now)) / self.interval
    }

    /// Spends, and returns whether somebody was forgotten for it who was not whole: the one nearest to it.
    fn spend(&mut self, key: &str, cost: u64, now: u64) -> u64 {
        let whole_at = now + self.debt(key, now) + self.weight(cost);
        let own = self.places.iter().position(|(kept, _)| kept.as_deref() == Some(key));
        let nearest = (0..self.places.len()).min_by_key(|at| self.places[*at].1).expect("a place at least");
        let is_known = own.is_some();
        let (before, at) =
            std::mem::replace(&mut self.places[own.unwrap_or(nearest)], (Some(key.to_owned()), whole_at));
        let is_lost = !is_known && at > now;
        if let (false, Some(before)) = (is_known, before) {
            // Who was whole and forgotten for it has no more than before.
            self.spent.retain(|(spender, ..)| !is_lost || *spender != before);
        }
        self.spent.push((key.to_owned(), now, cost.min(self.burst)));
        self.never_more_than_earned(key);
        is_lost.into()
    }

    /// In no time that ends now is more allowed than the burst and what was earned in it.
    fn never_more_than_earned(&self, key: &str) {
        let theirs = self.spent.iter().filter(|(spender, ..)| spender == key);
        let (mut spent, mut latest) = (0, 0);
        for (_, at, cost) in theirs.rev() {
            (spent, latest) = (spent + cost, latest.max(*at));
            assert!(spent <= self.burst + (latest - at + SKEW) / self.interval, "{key}: {spent}");
        }
    }
}

/// Takes bytes as calls under one rule, some of which are taken back, as if another rule had refused them after all.
fn give_backs(rule: &Rule, data: &[u8]) {
    let forgotten = Arc::new(AtomicU64::new(0));
    let allowances = Allowances::new(&rule.policy, Arc::clone(&forgotten));
    let (mut rule, mut lost, mut now) = (rule.clone(), 0, 0);
    for triple in data.chunks_exact(3) {
        let &[what, which, how] = triple else { continue };
        let (number, name) = (u64::from(which % 20) + 1, format!("{}", which % 20));
        let question = |purpose| Question { key: Key(number), now, purpose };
        let (cost, asked) = (u64::from(how % 70) + 1, NonZeroU32::MIN.saturating_add(u32::from(how % 70)));
        let wait = rule.wait(&name, cost, now);
        let looked = allowances.ask(&question(Purpose::Look), asked).map_err(|short| short.wait);
        assert_eq!(looked.err(), (wait > 0).then(|| Duration::from_nanos(wait)));
        match what % 4 {
            0 | 1 if wait == 0 => {
                let before = rule.debt(&name, now);
                lost += rule.spend(&name, cost, now);
                let left = allowances.ask(&question(Purpose::Spend), asked).expect("it fits");
                assert_eq!(u64::from(left), rule.left(&name, now));
                if what % 4 == 1 {
                    allowances.ask(&question(Purpose::GiveBack), asked).expect("giving back is never refused");
                    let place = rule.places.iter_mut().find(|(kept, _)| kept.as_ref() == Some(&name));
                    place.expect("they have just spent").1 = now + before;
                    rule.spent.pop();
                }
            }
            2 => now += u64::from(how) << (which % 32),
            _ => {}
        }
        assert_eq!(forgotten.load(Ordering::Relaxed), lost);
    }
}

fn is_counted(call: &Call) -> bool {
    matches!(call.kind, Kind::Request | Kind::Notification)
}

/// A message of one of many clients, sessions and subjects, some of which are nobody's.
fn call(which: u8) -> Call {
    let kinds = [Kind::Request, Kind::Request, Kind::Notification, Kind::Listen, Kind::Response, Kind::End];
    let (method, tool) = [(Method::PING, None), (Method::TOOLS_CALL, Some("a")), (Method::TOOLS_CALL, Some("b"))]
        [usize::from(which % 3)];
    let mut call = Call::new(kinds[usize::from(which % 32) % 6], Method::new(method), Revision::V2025_11_25);
    call.target = tool.map(Into::into);
    call.later_member = which % 5 == 4;
    call.session = (!which.is_multiple_of(4)).then(|| (which % 4).to_string().into());
    call.subject = (!which.is_multiple_of(7)).then(|| (which % 7).to_string().into());
    call.client = match which / 8 {
        0 => None,
        number @ 1..=8 => Some([192, 0, 2, number].into()),
        number @ 9..=16 => Some([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0200 + u16::from(number - 8)].into()),
        number => Some([0x2001, 0xdb8, 0, u16::from(number / 4), 0, 0, 0, u16::from(number)].into()),
    };
    call
}

#[expect(clippy::disallowed_methods, reason = "a start for virtual time")]
fn start() -> Instant {
    Instant::now()
}
