//! `--html` through the binary, and its page in a real browser.
//!
//! Without a browser the test in one says so and looks at nothing, unless `GREGOR_README_ALL` is
//! set, as in CI.
#![expect(clippy::unwrap_used, reason = "how a test fails")]
#![expect(clippy::disallowed_methods, reason = "a test reads what the simulator wrote")]

use std::path::Path;
use std::process::{Command, Output};

use tests::browser::Browser;

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Writes the page of a run. Returns where it is, and what the simulator said.
fn page(name: &str, arguments: &[&str]) -> (String, Output) {
    let path = format!("{}/{name}.html", env!("CARGO_TARGET_TMPDIR"));
    let output = sim(&[arguments, &["--html", &path]].concat());
    (path, output)
}

const FAILS: &[&str] =
    &["--plan", concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/mutant-skip_dir_sync.json")];

#[test]
fn a_page_changes_nothing_about_the_run() {
    for seed in ["3", "12"] {
        let (_, with) = page(&format!("hash-{seed}"), &["--seed", seed]);
        let without = sim(&["--seed", seed]);

        assert!(text(&without).contains("hash "), "{}", text(&without));
        assert_eq!(text(&with).lines().next(), text(&without).lines().next());
    }
    let (_, with) = page("hash-plan", FAILS);
    assert_eq!(with.status.code(), Some(10));
    assert_eq!(text(&with).lines().next(), text(&sim(FAILS)).lines().next());
}

#[test]
fn a_page_needs_nothing_but_itself() {
    let (path, output) = page("alone", FAILS);
    assert!(text(&output).contains(&format!("page: {path}\n")), "{}", text(&output));

    let page = std::fs::read_to_string(path).unwrap();

    assert!(
        page.contains("default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'")
    );
    for outside in ["http:", "https:", "src=", "<link", "@import", "url(", "{{"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("</script>").count(), 2);
}

/// Writes a flight record and its page. Returns where the page is, and what the simulator said.
fn record_page(name: &str, record: &str) -> (String, Output) {
    let file = format!("{}/{name}.record", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&file, record).unwrap();
    page(name, &["--record", &file])
}

const RECORD: &str = "gregor flight record 1 now=9000000 wall=5 dropped=7 version=0.1.0\n\
    1000000 boot after Clean, 3 partitions\n2000000 group (1, Tick)\n3000000 halt no disk\n";

#[test]
fn a_flight_record_becomes_the_same_page_and_anything_else_is_refused_with_its_line() {
    let (path, output) = record_page("recorded", RECORD);
    assert!(output.status.success() && text(&output) == format!("page: {path}\n"));
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page.contains("Flight record") && page.contains("7 entries before these"));
    let (_, output) = record_page("unreadable", &format!("{RECORD}nonsense\n"));
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("line 5 is no entry"), "{said}");
}

/// What `script` is in the page, as text.
fn ask(browser: &mut Browser, script: &str) -> String {
    browser.eval(&format!("String({script})"))
}

/// A browser, if there is one.
fn browser(profile: &str) -> Option<Browser> {
    Browser::start(Path::new(&format!("{}/chromium-{profile}", env!("CARGO_TARGET_TMPDIR"))))
}

#[test]
fn a_browser_draws_a_flight_record_in_lanes() {
    let Some(mut browser) = browser("record") else {
        return println!("not looked at: there is no chromium here");
    };
    let (path, _) = record_page("drawn", RECORD);
    browser.open(&format!("file://{path}"));
    assert_eq!(ask(&mut browser, "document.getElementById('verdict').textContent"), "record");
    assert_eq!(ask(&mut browser, "document.getElementById('plan').hidden"), "true");
    assert_eq!(ask(&mut browser, "timeline.items.map((i) => i.kind).join()"), "life,core,death");
    let lanes = "timeline.items.map((item) => timeline.placeOf(item)[1]).join()";
    let places = ask(&mut browser, lanes);
    assert!(places.split(',').all(|y| y.parse::<f64>().is_ok_and(|y| y > 0.0)), "{places}");
}

#[test]
fn a_browser_draws_the_page_and_answers_clicks() {
    let Some(mut browser) = browser("clicks") else {
        return println!("not looked at: there is no chromium here");
    };
    let (path, _) = page("clicks", FAILS);
    browser.open(&format!("file://{path}"));

    // It says what failed, and lists what led to it.
    assert_eq!(ask(&mut browser, "document.getElementById('verdict').textContent"), "Safety");
    assert_eq!(
        ask(&mut browser, "document.getElementById('list-title').textContent"),
        "What led to it"
    );
    let drawn = "(() => { const c = document.getElementById('lanes'); const all = c.getContext('2d')\
        .getImageData(0, 0, c.width, c.height).data; const seen = new Set(); for (let i = 0; i < all.length; i += 4) \
        seen.add(all[i] << 16 | all[i + 1] << 8 | all[i + 2]); return seen.size > 20; })()";
    assert_eq!(ask(&mut browser, drawn), "true");

    // A click on a message shows both of its sides, a click into the list its event.
    let wanted = "timeline.items.find((i) => i.message && i.kind === 'produce')";
    ask(
        &mut browser,
        &format!("(window.wanted = {wanted}, document.getElementById('next').click(), 1)"),
    );
    ask(&mut browser, "(document.getElementById('fit').click(), 1)");
    let span = "timeline.view.to - timeline.view.from";
    let whole: f64 = ask(&mut browser, span).parse().unwrap();
    let place = ask(&mut browser, "timeline.placeOf(wanted).join(' ')");
    let (x, y) = place.split_once(' ').unwrap();
    let (x, y) = (x.parse().unwrap(), y.parse().unwrap());
    for _ in 0..6 {
        browser.wheel(x, y, -400.0);
    }
    let near: f64 = ask(&mut browser, span).parse().unwrap();
    assert!(near < whole / 10.0, "the wheel zooms: {whole} to {near}");
    let place = ask(&mut browser, "timeline.placeOf(wanted).join(' ')");
    let (x, y) = place.split_once(' ').unwrap();
    browser.click(x.parse().unwrap(), y.parse().unwrap());
    let details = "document.getElementById('details').innerText";
    let shown = ask(&mut browser, details);
    for part in ["Produce v", "sent", "at the broker", "answered", "correlation"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }

    // The filter counts, lists and leaves the rest pale; dragging pans.
    ask(
        &mut browser,
        "(() => { const f = document.getElementById('filter'); f.value = 'boot'; \
         f.dispatchEvent(new Event('input')); return 1; })()",
    );
    assert!(
        ask(&mut browser, "document.getElementById('matches').textContent").ends_with(" found")
    );
    let rows =
        "[...document.querySelectorAll('#list li')].every((row) => /boot/i.test(row.textContent))";
    assert_eq!(ask(&mut browser, rows), "true");
    let from = "timeline.view.from";
    let before: f64 = ask(&mut browser, from).parse().unwrap();
    browser.drag((700.0, 300.0), (500.0, 300.0));
    let after: f64 = ask(&mut browser, from).parse().unwrap();
    assert!(after > before, "dragging to the left shows what comes later");
}
