//! The status page in a real browser, and what it asks for.

use std::path::Path;

use tests::browser::Browser;

use crate::support::{Broker, fresh_dir, run, text};

/// A broker with two topics, of which a group has read a part of one.
fn busy(name: &str) -> Broker {
    let broker = Broker::start(&fresh_dir(name));
    for topic in ["orders", "payments"] {
        broker.prints(&["topic", "create", topic, "--partitions", "2"]);
        let lines: String = (0..500).map(|number| format!("line {number}\n")).collect();
        text(&broker.run_with(&["produce", topic], &lines));
    }
    broker.prints(&["consume", "orders", "--group", "billing", "--max", "200"]);
    broker
}

#[test]
fn the_status_and_the_configuration_are_there_as_json() {
    let broker = busy("status");

    let status: serde_json::Value = serde_json::from_str(&broker.page("/api/status")).unwrap();
    let topics = status["topics"].as_array().unwrap();
    let orders = topics.iter().find(|topic| topic["name"] == "orders").unwrap();
    let ends = orders["partitions"].as_array().unwrap().iter();
    let records: i64 = ends.map(|partition| partition["high_watermark"].as_i64().unwrap()).sum();
    assert_eq!((records, &status["ready"]), (500, &true.into()));
    let billing = &status["groups"][0];
    assert_eq!((&billing["name"], &billing["topics"][0]["lag"]), (&"billing".into(), &300.into()));
    let config: serde_json::Value = serde_json::from_str(&broker.page("/api/config")).unwrap();
    let key = |name: &str| {
        let found = config.as_array().unwrap().iter().find(|key| key["name"] == name).unwrap();
        (found["value"].clone(), found["source"].clone())
    };
    let given = ("4".into(), "file or command line".into());
    assert_eq!(key("offsets.topic.num.partitions"), given);
    assert_eq!(key("num.partitions"), ("1".into(), "default".into()));
}

#[test]
fn nothing_but_a_sign_of_life_is_told_under_a_name_that_was_made_to_lead_here() {
    let broker = Broker::start(&fresh_dir("rebound"));
    let answer = |path: &str, host: &str| {
        let asked = format!("GET {path} HTTP/1.1\r\n{host}\r\n");
        let answer = crate::support::exchange(&broker.http(), asked.as_bytes());
        answer.split(' ').nth(1).map(str::to_owned).unwrap_or(answer)
    };
    let paths =
        ["/", "/api/status", "/api/config", "/record", "/ready", "/metrics", "/log-level", "/x"];
    for path in paths {
        assert_eq!(answer(path, "Host: evil.example\r\n"), "403", "{path}");
    }
    assert_eq!(answer("/health", "Host: evil.example\r\n"), "200");
    // What says no name is a program, not a page.
    for host in ["Host: localhost:9404\r\n", "Host: 127.0.0.1\r\n", ""] {
        assert_eq!(answer("/metrics", host), "200", "{host}");
    }
}

#[test]
fn the_flight_record_is_dumped_and_names_what_was_done() {
    let broker = busy("recorded");
    let path = fresh_dir("records-of-flights").join("broker.record");
    let dump = ["record", "dump", "--http", &broker.http(), "--out", path.to_str().unwrap()];
    text(&run(&dump, ""));

    let record: base::trace::Record = std::fs::read_to_string(path).unwrap().parse().unwrap();

    let names = |kind: base::trace::Kind, word: &str| {
        let mut of_kind = record.entries.iter().filter(|entry| entry.kind == kind);
        of_kind.any(|entry| entry.text.contains(word))
    };
    assert!(names(base::trace::Kind::Boot, "after"));
    assert!(names(base::trace::Kind::Metadata, "orders"));
    assert!(names(base::trace::Kind::Group, "billing"));
    let nobody = run(&["record", "dump", "--http", "127.0.0.1:1"], "");
    let said = crate::support::error(&nobody);
    assert!(said.contains("cannot connect to 127.0.0.1:1") && said.contains("--http"), "{said}");
    let no_port = crate::support::error(&run(&["record", "dump", "--http", "here"], ""));
    assert!(no_port.contains("--http HOST:PORT"), "{no_port}");
}

const STATE: &str = "document.getElementById('state').textContent";
/// The first cells of the rows that are shown.
const ROWS: &str = "[...document.querySelectorAll('#panel tbody tr')].map((r) => \
                    r.cells[0].textContent).join('|')";

fn click(browser: &mut Browser, what: &str) {
    browser.eval(&format!("(document.querySelector({what:?}).click(), 'done')"));
}

#[test]
fn a_browser_shows_topics_groups_and_configuration_and_says_when_the_broker_is_gone() {
    let broker = busy("page");
    let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chromium-status");
    let Some(mut browser) = Browser::start(&profile) else {
        return println!("not looked at: there is no chromium here");
    };
    browser.open(&format!("http://{}/", broker.http()));

    browser.until(STATE, "ready");
    browser.until(ROWS, "__consumer_offsets|orders|payments");
    click(&mut browser, "#panel tr[data-key='topics/orders']");
    let parts = "String(document.querySelectorAll('#panel tr.part').length)";
    browser.until(parts, "2");
    // Two readings make a rate, and a point of each curve.
    browser.until("String(points.length > 1)", "true");
    click(&mut browser, "[data-tab=groups]");
    browser.until(ROWS, "billing");
    let sums = "[...document.querySelectorAll('#panel tbody tr')[0].cells].slice(3, 5).map((c) => \
                c.textContent).join()";
    browser.until(sums, "200,300");
    assert!(browser.screenshot().len() > 20_000, "hardly anything is drawn");
    click(&mut browser, "[data-tab=config]");
    browser.eval(
        "(() => { const f = document.getElementById('filter'); f.value = 'offsets num'; \
         f.dispatchEvent(new Event('input')); return 'done'; })()",
    );
    let value = "document.querySelectorAll('#panel tbody tr')[0]?.cells[1].textContent || ''";
    browser.until(value, "4");

    broker.kill();
    browser.until(STATE, "no answer");
    browser.until("String(document.getElementById('alarm').hidden)", "false");
}
