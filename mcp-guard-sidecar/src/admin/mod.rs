//! What operators and orchestrators ask: alive, ready, started, how much of what, with which config.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use mcp_guard::queue::Mark;
use serde_json::{Value, json};
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::GlobalKeyExtractor;

use crate::admin_door;
use crate::drain::Drain;
use crate::health::Healths;
use crate::memory::Memory;
use crate::metrics_page::Page;
use crate::reload::{Outcome, Reload};

/// What the endpoints tell about.
#[derive(Clone)]
pub struct Admin {
    /// Whether the guard drains.
    pub drain: Drain,
    /// Whether the nodes are well.
    pub health: Healths,
    /// Whether there is enough memory.
    pub memory: Arc<Memory>,
    /// Renders the metrics page.
    pub metrics: Page,
    /// The config, and how it becomes another.
    pub reload: Reload,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("drain", &self.drain).finish_non_exhaustive()
    }
}

impl Admin {
    /// The endpoints of `docs/operations.md`, with the paths that erlmcp's manifests probe.
    pub fn router(self) -> Router {
        let mut router = Router::new();
        for path in ["/livez", "/health/live", "/live"] {
            router = router.route(path, get(live));
        }
        for path in ["/readyz", "/health", "/health/ready", "/ready"] {
            router = router.route(path, get(ready));
        }
        for path in ["/startupz", "/health/startup"] {
            router = router.route(path, get(started));
        }
        router
            .route("/", get(|| page(TEXT_HTML, include_str!("page.html"))))
            .route("/page.css", get(|| page(TEXT_CSS, include_str!("page.css"))))
            .route("/page.js", get(|| page(TEXT_JAVASCRIPT, include_str!("page.js"))))
            .route("/metrics", get(metrics_page))
            .route("/config", get(config))
            .route("/status", get(status))
            .merge(actions())
            .layer(from_fn(admin_door::admit))
            .with_state(self)
    }
}

/// What changes the guard may be asked so often a second and no more: a script gone wild is stopped at the door.
fn actions() -> Router<Admin> {
    let mut actions = Router::new();
    for path in ["/drain", "/admin/drain", "/mcp/shutdown"] {
        actions = actions.route(path, post(drain));
    }
    actions = actions.route("/reload", post(reload));
    let quota = GovernorConfigBuilder::default()
        .key_extractor(GlobalKeyExtractor)
        .period(ACTION_INTERVAL)
        .burst_size(ACTION_BURST)
        .finish();
    match quota {
        Some(quota) => actions.layer(GovernorLayer::new(quota)),
        // The builder refuses only zeros, and both constants are not.
        None => actions,
    }
}

const ACTION_INTERVAL: Duration = Duration::from_millis(200);
const ACTION_BURST: u32 = 10;

async fn live() -> Response {
    report(true, &json!({"process": "running"}))
}

async fn ready(State(admin): State<Admin>) -> Response {
    let draining = admin.drain.is_leaving();
    let upstream = admin.health.report();
    let checks = json!({
        "drain": if draining { "draining" } else { "accepting" },
        "upstream": upstream.why,
        "memory": match admin.memory.mark() {
            Mark::None => "enough",
            Mark::First => "short: large calls, and those that would have to wait, are refused",
            Mark::Second => "short: new sessions and streams are refused",
            Mark::Third => "at its limit: everything is refused",
        },
    });
    report(!draining && upstream.healthy && !admin.memory.sheds(), &checks)
}

async fn started(State(admin): State<Admin>) -> Response {
    let upstream = admin.health.report();
    report(upstream.was_healthy, &json!({"upstream": upstream.why}))
}

fn report(good: bool, checks: &Value) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"status": if good { "ok" } else { "unavailable" }, "checks": checks}))).into_response()
}

const TEXT_HTML: &str = "text/html; charset=utf-8";
const TEXT_CSS: &str = "text/css; charset=utf-8";
const TEXT_JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A part of the page for people. It may load nothing but what is here, and be shown in no other page.
async fn page(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

async fn metrics_page(State(admin): State<Admin>) -> Response {
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], admin.metrics.render()).into_response()
}

async fn config(State(admin): State<Admin>) -> Json<Value> {
    Json(admin.reload.config().effective())
}

async fn status(State(admin): State<Admin>) -> Json<Value> {
    let upstream = admin.health.report();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "draining": admin.drain.is_leaving(),
        "turnsAway": admin.drain.is_draining(),
        "connections": admin.drain.connections(),
        "memoryPressure": admin.memory.mark() as u8,
        "config": admin.reload.status(),
        "upstream": {"healthy": upstream.healthy, "why": upstream.why},
        "nodes": admin.health.status(),
    }))
}

async fn drain(State(admin): State<Admin>) -> Response {
    admin.drain.begin();
    (StatusCode::ACCEPTED, Json(json!({"status": "draining", "connections": admin.drain.connections()})))
        .into_response()
}

async fn reload(State(admin): State<Admin>) -> Response {
    // It reads a file.
    let outcome = tokio::task::spawn_blocking(move || admin.reload.now()).await;
    let (status, answer) = match outcome {
        Ok(Outcome::Applied(changed)) => (StatusCode::OK, json!({"status": "applied", "changed": changed})),
        Ok(Outcome::Unchanged) => (StatusCode::OK, json!({"status": "unchanged"})),
        Ok(Outcome::Rejected(problems)) => {
            let problems: Vec<_> = problems.lines().collect();
            (StatusCode::UNPROCESSABLE_ENTITY, json!({"status": "rejected", "problems": problems}))
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, json!({"status": "failed", "problems": [error.to_string()]})),
    };
    (status, Json(answer)).into_response()
}
