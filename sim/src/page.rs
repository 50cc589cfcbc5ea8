//! A run as one page: lanes over simulated time, to be opened in any browser, from a file.
//!
//! Owns: what the page shows ([`Timeline`]) and the file it becomes. Invariants: the page is
//! self-contained and its own policy forbids it to load anything; drawing changes nothing about the
//! run; what is left out is said on the page.

mod led;
mod messages;
mod record;
mod timeline;
mod windows;

use base::trace::Record;

use crate::fault::Plan;
use crate::world::Outcome;

pub use timeline::Timeline;

/// The page of a run whose events were kept. `reproduce` is the command that runs it again.
///
/// # Errors
/// Never in practice: every part has a JSON form.
pub fn page<T>(plan: &Plan, outcome: &Outcome<T>, reproduce: &str) -> serde_json::Result<String> {
    filled(&Timeline::of(plan, outcome, reproduce)?)
}

/// The page of what a broker's flight recorder held; `from` says where it was read.
///
/// # Errors
/// Never in practice: every part has a JSON form.
pub fn record_page(held: &Record, from: &str) -> serde_json::Result<String> {
    filled(&record::timeline(held, from))
}

fn filled(timeline: &Timeline) -> serde_json::Result<String> {
    // Nothing in the data can end the element it stands in.
    let data = serde_json::to_string(timeline)?.replace('<', "\\u003c");
    let parts = [
        ("{{STYLE}}", include_str!("page/page.css")),
        ("{{DATA}}", &data),
        ("{{SCRIPT}}", include_str!("page/page.js")),
    ];
    let mut rest = include_str!("page/page.html");
    let mut whole = String::new();
    for (mark, text) in parts {
        let (before, after) = rest.split_once(mark).unwrap_or((rest, ""));
        whole.push_str(before);
        whole.push_str(text);
        rest = after;
    }
    whole.push_str(rest);
    Ok(whole)
}
