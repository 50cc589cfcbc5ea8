//! `gregor man`: the manual pages, from the descriptions that the program itself goes by.
//!
//! Owns: gregor(1) and a page per command, gregor.properties(5) from the tables of keys, and
//! gregor-metrics(7) from the table of metrics.

use std::fs;
use std::io;
use std::path::Path;

use base::config::{BROKER_KEYS, Key, TOPIC_KEYS};
use clap::{Command, CommandFactory};
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::Cli;
use crate::failure::Failure;
use crate::metrics::table::METRICS;

/// Writes the pages below `folder`.
///
/// # Errors
/// [`Failure::System`].
pub fn run(folder: &Path) -> Result<(), Failure> {
    let failed = |source| Failure::System {
        what: format!("writing manual pages into {}", folder.display()),
        source,
    };
    write_all(folder).map_err(failed)
}

fn write_all(folder: &Path) -> io::Result<()> {
    let [commands, files, others] = ["man1", "man5", "man7"].map(|section| folder.join(section));
    for section in [&commands, &files, &others] {
        fs::create_dir_all(section)?;
    }
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    pages(&command, &commands)?;
    fs::write(files.join("gregor.properties.5"), properties())?;
    fs::write(others.join("gregor-metrics.7"), metrics())
}

/// The page of a command and of all below it.
fn pages(command: &Command, folder: &Path) -> io::Result<()> {
    let man = clap_mangen::Man::new(command.clone()).manual("Gregor");
    man.generate_to(folder)?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        pages(below, folder)?;
    }
    Ok(())
}

fn page(name: &str, section: &str, what: &str) -> Roff {
    let version = format!("gregor {}", env!("CARGO_PKG_VERSION"));
    let mut page = Roff::new();
    page.control("TH", [name, section, "", version.as_str(), "Gregor"]);
    // Long names of keys and MBeans leave holes in adjusted lines.
    page.control("ad", ["l"]);
    page.control("nh", []);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{name} - {what}"))]);
    page
}

fn item(page: &mut Roff, head: &str, of_head: &str, text: &str) {
    page.control("TP", []);
    page.text([bold(head), roman(of_head)]);
    page.text([roman(text)]);
}

fn properties() -> String {
    let mut page = page("gregor.properties", "5", "configuration of a Gregor broker");
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "A file in the notation of Java properties, read by 'gregor serve --config FILE' and again \
         at SIGHUP. Names, types and defaults are Kafka's. A key without effect is accepted, so \
         that Kafka's files work. 'gregor config check FILE' checks a file line by line.",
    )]);
    for (title, keys) in [("KEYS OF A BROKER", BROKER_KEYS), ("SETTINGS OF A TOPIC", TOPIC_KEYS)] {
        page.control("SH", [title]);
        for Key { name, default, inert, doc, .. } in keys {
            let default = match default {
                Some("") => " (empty)".to_owned(),
                Some(default) => format!(" ({default})"),
                None => " (not set)".to_owned(),
            };
            let effect = if *inert { "No effect. " } else { "" };
            item(&mut page, name, &default, &format!("{effect}{doc}"));
        }
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([roman("gregor(1), gregor-serve(1), gregor-metrics(7)")]);
    page.render()
}

fn metrics() -> String {
    let mut page = page("gregor-metrics", "7", "metrics of a Gregor broker");
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "Served at /metrics of the address that gregor.http.listener names, for Prometheus.",
    )]);
    page.control("SH", ["METRICS"]);
    for metric in METRICS {
        let labels = match metric.labels {
            [] => String::new(),
            labels => format!(" {{{}}}", labels.join(", ")),
        };
        let kafka = match metric.kafka {
            "" => String::new(),
            kafka => format!(" Kafka: {kafka}."),
        };
        item(&mut page, metric.name, &labels, &format!("{}{kafka}", metric.help));
    }
    page.render()
}
