//! What the side door answers.
//!
//! Invariants: only the log level can be changed, only from this machine, and not by a page in
//! somebody's browser; every other path is read only, and from this machine, where a browser may be,
//! under a name of this machine alone. Only that the process is alive is told under any name.

use std::net::IpAddr;

use base::Duration;
use bytes::Bytes;
use env::Env;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, ORIGIN,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tracing::warn;

use super::status::{self, Status};
use crate::daemon::Daemon;
use crate::metrics;

/// Bytes of a body that comes in.
const BODY_BYTES_MAX: usize = 4096;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const INDEX: &str = "gregor
GET /health     200 while the process answers
GET /ready      200 if clients can be sent here, else 503 and why
GET /metrics    for Prometheus
GET /record     what the flight recorder holds (gregor record dump)
GET /           in a browser: what the broker does now, drawn
GET /log-level  what is logged
PUT /log-level  changes it, from this machine alone: curl -X PUT -d debug http://localhost:9404/log-level
";

type Answer = Response<Full<Bytes>>;

/// Answers one request.
pub async fn answer(
    daemon: &Daemon,
    peer: IpAddr,
    request: Request<Incoming>,
    timeout: Duration,
) -> Answer {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        path if path != "/health" && is_other_name(peer, request.headers()) => {
            plain(StatusCode::FORBIDDEN, "asked by a name that only leads here; use localhost\n")
        },
        "/" if reads && wants_page(request.headers()) => page(),
        "/" if reads => plain(StatusCode::OK, INDEX),
        "/api/status" if reads => {
            let reading = metrics::reading::take(daemon, timeout / 2).await;
            json(&Status::of(&reading, daemon.env().wall().0))
        },
        "/api/config" if reads => match status::config(daemon, timeout / 2).await {
            Ok(config) => json(&config),
            Err(error) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        },
        "/record" if reads => match daemon.served() {
            Some(served) => {
                let record = served.broker.flight_record(env!("CARGO_PKG_VERSION"));
                reply(StatusCode::OK, TEXT, record.to_string())
            },
            None => plain(StatusCode::SERVICE_UNAVAILABLE, "the broker is starting\n"),
        },
        "/health" if reads => {
            let version = env!("CARGO_PKG_VERSION");
            let alive = serde_json::json!({ "alive": true, "version": version });
            reply(StatusCode::OK, JSON, alive.to_string() + "\n")
        },
        "/ready" if reads => ready(daemon),
        "/metrics" if reads => {
            let format = format_of(request.headers());
            // Half of the time is for whoever reads the answer.
            let text = metrics::scrape(daemon, format, timeout / 2).await;
            reply(StatusCode::OK, format.content_type(), text)
        },
        "/log-level" if reads => plain(StatusCode::OK, format!("{}\n", daemon.levels().now())),
        "/log-level" if *request.method() == Method::PUT => set_level(daemon, peer, request).await,
        "/log-level" => not_allowed("GET, HEAD, PUT"),
        "/" | "/health" | "/ready" | "/metrics" | "/api/status" | "/api/config" | "/record" => {
            not_allowed("GET, HEAD")
        },
        _ => plain(StatusCode::NOT_FOUND, INDEX),
    }
}

fn ready(daemon: &Daemon) -> Answer {
    let readiness = daemon.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut answer = json(&readiness);
    if answer.status() == StatusCode::OK {
        *answer.status_mut() = status;
    }
    answer
}

fn json(value: &impl serde::Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(json) => reply(StatusCode::OK, JSON, json + "\n"),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// Whether a browser asks, rather than a program.
fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("text/html")
}

/// The status page: one file that loads nothing but readings of this broker.
fn page() -> Answer {
    let style = include_str!("page/page.css");
    let script = include_str!("page/page.js");
    let whole = include_str!("page/page.html").replace("{{STYLE}}", style);
    let mut answer = reply(StatusCode::OK, HTML, whole.replace("{{SCRIPT}}", script));
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    answer
}

/// Whether somebody here asks under a name that is not this machine's own: a page elsewhere whose
/// name was made to lead here would read what it must not. A browser always says a name.
fn is_other_name(peer: IpAddr, headers: &HeaderMap) -> bool {
    peer.to_canonical().is_loopback() && headers.contains_key(HOST) && !is_our_name(headers)
}

fn format_of(headers: &HeaderMap) -> metrics::Format {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("application/openmetrics-text") {
        metrics::Format::OpenMetrics
    } else {
        metrics::Format::Prometheus
    }
}

async fn set_level(daemon: &Daemon, peer: IpAddr, request: Request<Incoming>) -> Answer {
    if !is_from_here(peer, request.headers()) {
        return plain(StatusCode::FORBIDDEN, "the log level is changed from this machine alone\n");
    }
    let wish = match read(request.into_body()).await {
        Some(wish) => wish,
        None => return plain(StatusCode::BAD_REQUEST, "the body is too long, or no text\n"),
    };
    let before = daemon.levels().now();
    match daemon.levels().set(&wish) {
        Ok(()) => {
            let now = daemon.levels().now();
            warn!("the log level was {before} and is {now}, by a request over HTTP");
            plain(StatusCode::OK, format!("{now}\n"))
        },
        Err(form) => plain(StatusCode::BAD_REQUEST, format!("{form}\n")),
    }
}

/// Whether a request comes from a program on this machine. A page in a browser here says where it
/// is from (`Origin`), or has a name of its own resolve to this machine (`Host`).
fn is_from_here(peer: IpAddr, headers: &HeaderMap) -> bool {
    peer.to_canonical().is_loopback() && is_our_name(headers) && !headers.contains_key(ORIGIN)
}

/// Whether the request names this machine by a name that nobody else can give out.
fn is_our_name(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A short body as text.
async fn read<B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>>(
    body: B,
) -> Option<String> {
    let whole = Limited::new(body, BODY_BYTES_MAX).collect().await.ok()?;
    String::from_utf8(whole.to_bytes().into()).ok()
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, format!("only {methods}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    reply(status, TEXT, text)
}

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_level_is_changed_by_programs_of_this_machine_and_nobody_else() {
        let here: IpAddr = "127.0.0.1".parse().expect("an address");
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().expect("an address");
        let there: IpAddr = "192.0.2.1".parse().expect("an address");
        let named = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().expect("a value"));
            headers
        };

        for host in ["localhost:9404", "127.0.0.1", "[::1]:9404", "[::1]"] {
            assert!(is_from_here(here, &named(host)) && is_from_here(mapped, &named(host)));
            assert!(!is_from_here(there, &named(host)), "another machine");
            let mut of_a_page = named(host);
            of_a_page.insert(ORIGIN, "http://example.org".parse().expect("a value"));
            assert!(!is_from_here(here, &of_a_page), "a page in a browser");
        }
        assert!(!is_from_here(here, &named("example.org:9404")), "a name made to lead here");
        assert!(!is_from_here(here, &HeaderMap::new()));
    }
}
