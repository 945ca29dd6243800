//! The catalogue as a state machine: time is an argument.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::catalog::{Asked, Catalog, Need, PAGES_MAX};
use super::page::Page;
use super::policy::ValidationPolicy;
use crate::middleware::clock;

const REFRESH: Duration = Duration::from_secs(300);

fn first(catalog: &Catalog) -> Asked {
    Asked { session: None, cursor: None, edition: catalog.edition() }
}

fn at(cursor: &str, catalog: &Catalog) -> Asked {
    Asked { cursor: Some(cursor.into()), ..first(catalog) }
}

fn learn(catalog: &mut Catalog, asked: &Asked, page: &str, now: Instant) -> bool {
    catalog.learn(asked, &Page::read(page).unwrap(), &ValidationPolicy::default(), now)
}

fn listed(now: Instant) -> Catalog {
    let mut catalog = Catalog::default();
    let asked = first(&catalog);
    assert!(learn(&mut catalog, &asked, r#"{"tools": [{"name": "a", "inputSchema": {}}]}"#, now));
    catalog
}

#[test]
fn a_list_is_swapped_whole_when_its_last_page_came() {
    let now = clock::now();
    let mut catalog = listed(now);
    let asked = first(&catalog);
    assert!(!learn(&mut catalog, &asked, r#"{"tools": [{"name": "b"}], "nextCursor": "2"}"#, now));
    assert!(catalog.tool("a").is_some() && catalog.tool("b").is_none());
    let asked = at("2", &catalog);
    assert!(learn(&mut catalog, &asked, r#"{"tools": [{"name": "c"}]}"#, now));
    assert!(catalog.tool("a").is_none() && catalog.tool("b").is_some() && catalog.tool("c").is_some());
}

#[test]
fn a_page_of_another_session_or_cursor_completes_nothing() {
    let now = clock::now();
    let mut catalog = Catalog::default();
    let asked = first(&catalog);
    learn(&mut catalog, &asked, r#"{"tools": [], "nextCursor": "2"}"#, now);
    let stranger = Asked { session: Some("s".into()), ..at("2", &catalog) };
    assert!(!learn(&mut catalog, &stranger, r#"{"tools": []}"#, now));
    let elsewhere = at("3", &catalog);
    assert!(!learn(&mut catalog, &elsewhere, r#"{"tools": []}"#, now));
    assert!(!catalog.is_usable());
}

#[test]
fn another_nodes_tools_must_not_be_used_and_a_list_of_them_is_worthless() {
    let now = clock::now();
    let mut catalog = listed(now);
    let before = first(&catalog);
    let draft = catalog.draft();
    catalog.forget();
    assert!(catalog.tool("a").is_none());
    assert_eq!(catalog.need("a", REFRESH, now), Need::Learn);
    assert!(!learn(&mut catalog, &before, r#"{"tools": []}"#, now));
    assert!(!catalog.install(draft, now));
    assert_eq!(catalog.need("a", REFRESH, now), Need::Learn);
}

#[test]
fn what_changed_serves_until_it_is_listed_again() {
    let now = clock::now();
    let mut catalog = listed(now);
    catalog.changed();
    let need = |catalog: &Catalog, millis| catalog.need("a", REFRESH, now + Duration::from_millis(millis));
    assert!(catalog.tool("a").is_some());
    assert_eq!((need(&catalog, 999), need(&catalog, 1_000)), (Need::Nothing, Need::Refresh));
    let asked = first(&catalog);
    assert!(learn(&mut catalog, &asked, r#"{"tools": [{"name": "a"}]}"#, now));
    assert_eq!(need(&catalog, 1_000), Need::Nothing);
}

/// Else whoever can have the node say so while it is listed would keep the tools unknown.
#[test]
fn a_list_from_before_a_change_is_taken_but_not_in_place_of_a_later_one() {
    let now = clock::now();
    let mut catalog = Catalog::default();
    let (before, passing) = (catalog.draft(), first(&catalog));
    catalog.changed();
    assert!(catalog.install(before, now) && catalog.is_usable());
    assert_eq!(catalog.need("a", REFRESH, now + Duration::from_secs(1)), Need::Refresh);
    assert!(catalog.install(catalog.draft(), now));
    assert!(!learn(&mut catalog, &passing, r#"{"tools": []}"#, now));
}

#[test]
fn word_of_a_change_does_not_shorten_the_wait_after_a_failed_list() {
    let now = clock::now();
    let mut catalog = listed(now - Duration::from_secs(10));
    catalog.list_failed(now);
    catalog.changed();
    assert_eq!(catalog.need("a", REFRESH, now), Need::Nothing);
    assert_eq!(catalog.need("a", REFRESH, now + Duration::from_secs(1)), Need::Refresh);
}

#[test]
fn refused_lists_wait_half_a_second_each_time_and_shorten_no_other_wait() {
    let now = clock::now();
    let mut catalog = Catalog::default();
    for _ in 0..3 {
        catalog.list_refused(now);
        assert_eq!(catalog.need("a", REFRESH, now + Duration::from_millis(499)), Need::Nothing);
        assert_eq!(catalog.need("a", REFRESH, now + Duration::from_millis(500)), Need::Learn);
    }
    catalog.list_failed(now);
    catalog.list_refused(now);
    assert_eq!(catalog.need("a", REFRESH, now + Duration::from_millis(999)), Need::Nothing);
}

#[test]
fn an_aged_list_and_an_unknown_tool_are_worth_a_new_list_but_not_each_time() {
    let now = clock::now();
    let catalog = listed(now);
    let need = |tool: &str, seconds| catalog.need(tool, REFRESH, now + Duration::from_secs(seconds));
    assert_eq!(need("a", 299), Need::Nothing);
    assert_eq!(need("a", 300), Need::Refresh);
    assert_eq!(need("z", 9), Need::Nothing);
    assert_eq!(need("z", 10), Need::Refresh);
}

#[test]
fn failed_lists_back_off_up_to_a_minute_and_a_good_one_ends_that() {
    let now = clock::now();
    let mut catalog = Catalog::default();
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        catalog.list_failed(now);
        assert_eq!(catalog.need("a", REFRESH, now + Duration::from_millis(seconds * 1_000 - 1)), Need::Nothing);
        assert_eq!(catalog.need("a", REFRESH, now + Duration::from_secs(seconds)), Need::Learn);
    }
    assert!(catalog.install(catalog.draft(), now));
    catalog.list_failed(now);
    assert_eq!(catalog.need("z", REFRESH, now + Duration::from_secs(10)), Need::Refresh);
}

#[test]
fn the_same_text_is_one_schema_from_tool_to_tool_and_from_list_to_list() {
    let now = clock::now();
    let mut catalog = Catalog::default();
    let page = r#"{"tools": [{"name": "a", "inputSchema": {"type": "object"}},
        {"name": "b", "inputSchema": {"type": "object"}, "outputSchema": {"type": "object"}}]}"#;
    let asked = first(&catalog);
    learn(&mut catalog, &asked, page, now);
    let a = catalog.tool("a").unwrap().input.clone().unwrap();
    let b = catalog.tool("b").unwrap();
    assert!(Arc::ptr_eq(&a, b.input.as_ref().unwrap()) && Arc::ptr_eq(&a, b.output.as_ref().unwrap()));
    catalog.forget();
    let asked = first(&catalog);
    learn(&mut catalog, &asked, page, now);
    assert!(Arc::ptr_eq(&a, catalog.tool("a").unwrap().input.as_ref().unwrap()));
}

#[test]
fn a_list_without_end_is_taken_as_far_as_it_goes() {
    let now = clock::now();
    let mut catalog = Catalog::default();
    let mut asked = first(&catalog);
    let pages = (1..).find(|_| {
        let done = learn(&mut catalog, &asked, r#"{"tools": [{"name": "a"}], "nextCursor": "again"}"#, now);
        asked = at("again", &catalog);
        done
    });
    assert_eq!(pages, Some(PAGES_MAX));
    assert!(catalog.tool("a").is_some());
}

#[test]
fn more_tools_than_allowed_are_not_kept() {
    let policy: ValidationPolicy = serde_json::from_str(r#"{"tools": 2}"#).unwrap();
    let catalog = Catalog::default();
    let mut draft = catalog.draft();
    let page = Page::read(r#"{"tools": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}"#).unwrap();
    assert!(!draft.add(&page, &policy));
    let mut catalog = catalog;
    catalog.install(draft, clock::now());
    assert!(catalog.tool("b").is_some() && catalog.tool("c").is_none());
}

#[test]
fn a_policy_that_cannot_be_meant_says_what_is_allowed() {
    let error = |text: &str| serde_json::from_str::<ValidationPolicy>(text).unwrap_err().to_string();
    assert_eq!(error(r#"{"refresh": "10ms"}"#), "refresh is 10ms: allowed is 1s to 1d");
    assert_eq!(error(r#"{"schema": "1B"}"#), "schema is 1B: allowed is 1KiB to 4MiB");
    assert_eq!(error(r#"{"tools": 200000}"#), "tools is 200000: allowed is 1 to 100000");
    assert!(error(r#"{"messages": "warn"}"#).contains("expected one of `enforce`, `report`, `off`"));
}

#[derive(Clone, Debug)]
enum Event {
    Page { cursor: Option<u8>, next: Option<u8>, tool: u8, stale: bool },
    Changed,
    Moved,
    Failed,
    Refused,
    Pass(u16),
}

fn any_event() -> impl Strategy<Value = Event> {
    let cursor = || proptest::option::of(0_u8..3);
    prop_oneof![
        4 => (cursor(), cursor(), 0_u8..4, any::<bool>())
            .prop_map(|(cursor, next, tool, stale)| Event::Page { cursor, next, tool, stale }),
        1 => Just(Event::Changed),
        1 => Just(Event::Moved),
        1 => Just(Event::Failed),
        1 => Just(Event::Refused),
        2 => (0_u16..400).prop_map(Event::Pass),
    ]
}

proptest! {
    /// A tool is only ever known from a complete list of this node, and a change takes none away.
    #[test]
    fn nothing_from_another_node_is_ever_used(events in proptest::collection::vec(any_event(), 0..60)) {
        let mut now = clock::now();
        let mut catalog = Catalog::default();
        let mut of_another_node = None;
        let mut is_completed = false;
        for event in events {
            match event {
                Event::Page { cursor, next, tool, stale } => {
                    let old = of_another_node.filter(|_| stale);
                    let edition = old.unwrap_or(catalog.edition());
                    let cursor = cursor.map(|cursor| cursor.to_string().into());
                    let is_first = cursor.is_none();
                    let next = next.map_or("null".into(), |next| format!("\"{next}\""));
                    let page = format!(r#"{{"tools": [{{"name": "{tool}"}}], "nextCursor": {next}}}"#);
                    let completed = learn(&mut catalog, &Asked { session: None, cursor, edition }, &page, now);
                    prop_assert!(!(completed && is_first && old.is_some()));
                    is_completed |= completed;
                    if completed {
                        prop_assert!(catalog.tool(&tool.to_string()).is_some());
                        prop_assert_eq!(catalog.need(&tool.to_string(), REFRESH, now), Need::Nothing);
                    }
                }
                Event::Changed => catalog.changed(),
                Event::Moved => {
                    of_another_node = Some(catalog.edition());
                    catalog.forget();
                    is_completed = false;
                }
                Event::Failed | Event::Refused => {
                    let failed = matches!(event, Event::Failed);
                    if failed { catalog.list_failed(now) } else { catalog.list_refused(now) }
                    prop_assert_eq!(catalog.need("a", REFRESH, now), Need::Nothing);
                }
                Event::Pass(seconds) => now += Duration::from_secs(seconds.into()),
            }
            prop_assert_eq!(catalog.is_usable(), is_completed);
            prop_assert!(is_completed || (0..4).all(|tool| catalog.tool(&tool.to_string()).is_none()));
        }
    }
}
