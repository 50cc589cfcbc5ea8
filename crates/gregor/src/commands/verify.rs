//! `gregor verify`: what a start would do to a data directory, offline.
//!
//! Invariants: nothing in the directory is changed; everything that is told was decided by the code
//! of a start ([`broker::verify`]); whatever is not clean is told in words and in the exit code.

mod lines;

use broker::verify::{Conclusion, Verified, VerifiedLog, VerifyError, verify};
use storage::{DirError, StartClass};

use crate::cli::Verify;
use crate::failure::Failure;
use crate::output::{Column, Output, counted};
use crate::remote;
use lines::{Directory, Line, Log};

/// Runs `gregor verify`.
///
/// # Errors
/// [`Failure::Damaged`] if anything durable is damaged, [`Failure::Refused`] if a start would refuse,
/// and what the system refuses.
pub fn run(arguments: &Verify) -> Result<(), Failure> {
    let dir = arguments.dir.display().to_string();
    remote::in_runtime(async |env| {
        let verified = verify(&env, &arguments.dir, arguments.deep).await;
        let verified = verified.map_err(|error| refused(&dir, &error))?;
        let mut out = Output::new(arguments.format.json);
        if out.is_json() {
            print_json(&mut out, &dir, &verified)?;
        } else {
            print(&mut out, &dir, &verified, arguments.deep)?;
        }
        out.flush()?;
        let conclusion = verified.conclusion();
        match conclusion {
            Conclusion::Clean | Conclusion::Recovers => Ok(()),
            Conclusion::Damaged => {
                let places = u64::try_from(findings(&verified).len()).unwrap_or(u64::MAX);
                Err(Failure::Damaged { dir, places })
            },
            Conclusion::Refused => Err(Failure::Unfit {
                what: format!("a start would refuse {dir}"),
                hint: "the lines above say why; nothing was changed".to_owned(),
            }),
        }
    })
}

fn refused(dir: &str, error: &VerifyError) -> Failure {
    let hint = match error {
        VerifyError::NotOurs(_) => {
            "name the directory that the broker serves: --data or log.dirs, ./data by default"
        },
        VerifyError::Refused(broker::StartError::Dir(DirError::Locked { .. })) => {
            "stop the broker that uses it, or verify a copy"
        },
        VerifyError::Io { .. } | VerifyError::Refused(_) => "nothing was changed",
    };
    let what = match error {
        VerifyError::Refused(broker::StartError::Dir(DirError::Locked { .. })) => {
            format!("{dir} is in use by another process")
        },
        error => error.to_string(),
    };
    Failure::Unfit { what, hint: hint.to_owned() }
}

/// What the start before left, in words.
fn found(class: StartClass) -> &'static str {
    match class {
        StartClass::Clean => "closed cleanly: a start reads no records",
        StartClass::Process => "not closed: the last process was killed, and its system still runs",
        StartClass::Os => "not closed: the system may have gone down since",
    }
}

/// The name by which people know a log.
fn name(log: &VerifiedLog) -> String {
    let topic =
        log.topic.as_deref().map_or_else(|| log.partition.topic.0.to_string(), str::to_owned);
    format!("{topic}-{}", log.partition.index)
}

/// Everything that is damaged, missing or refused: where, and what.
fn findings(verified: &Verified) -> Vec<(String, String)> {
    let start = &verified.start;
    let mut all = Vec::new();
    let directory = || "directory".to_owned();
    if let Some(why) = &verified.refusal {
        all.push((directory(), format!("a start refuses it: {why}")));
    }
    if start.journal_damaged {
        let why = "a durable part of the journal cannot be read: every log may hold less than it was promised to";
        all.push(("journal".to_owned(), why.to_owned()));
    }
    for missing in &start.missing {
        let log = verified.logs.iter().find(|log| log.partition == missing.partition);
        let at = log.map_or_else(|| missing.partition.to_string(), name);
        all.push((at, "its folder is gone, and it holds records".to_owned()));
    }
    for log in &verified.logs {
        let at = name(log);
        let found = match &log.outcome {
            Ok(found) => found,
            Err(why) => {
                all.push((at, format!("a start refuses it: {why}")));
                continue;
            },
        };
        let recovery = &found.recovery;
        let mut say = |what: String| all.push((at.clone(), what));
        for range in &recovery.faulty {
            say(format!("offsets {} to {} are damaged", range.from, range.to.0 - 1));
        }
        if recovery.uncertain {
            say("it may hold less than it was promised to".to_owned());
        }
        if let Some(cut) = recovery.cut.filter(|cut| !cut.torn) {
            say(format!(
                "a start cuts {} behind offset {}, more than a killed process leaves half-written",
                counted(cut.bytes, "byte"),
                cut.at
            ));
        }
        let is_told = |range| recovery.faulty.contains(range);
        let deep = found.deep.as_ref().map(|deep| deep.damaged.as_slice()).unwrap_or_default();
        for range in deep.iter().filter(|range| !is_told(range)) {
            say(format!("offsets {} to {} cannot be read", range.from, range.to.0 - 1));
        }
    }
    all
}

fn print(out: &mut Output, dir: &str, verified: &Verified, deep: bool) -> Result<(), Failure> {
    let start = &verified.start;
    out.line(&format!("directory {dir}, id {}", start.dir_id))?;
    out.line(&format!("  cluster {}, node {}", start.cluster_id, verified.node_id))?;
    out.line(&format!("  {}", found(start.class)))?;
    if let Some((groups, end)) = verified.journal {
        let end = lines::end_name(end);
        out.line(&format!("  journal: {} since the manifest, {end}", counted(groups, "group")))?;
    }
    if let Some((records, torn)) = verified.metadata {
        let torn = if torn { ", its torn last entry would be cut" } else { "" };
        out.line(&format!("  metadata: {}{torn}", counted(records, "record")))?;
    }
    if start.deletions_finished > 0 {
        let count = u64::try_from(start.deletions_finished).unwrap_or(u64::MAX);
        out.line(&format!("  a start would finish {} of a log", counted(count, "deletion")))?;
    }
    for (topic, id) in &verified.absent {
        out.line(&format!("  a start would create the log {topic}-{}", id.index))?;
    }
    if !start.unknown.is_empty() {
        out.line(&format!("  not ours: {}", start.unknown.join(", ")))?;
    }
    let rows: Vec<_> = verified.logs.iter().filter_map(row).collect();
    if !rows.is_empty() {
        out.line("")?;
    }
    let columns = [
        Column::Text("LOG"),
        Column::Number("START"),
        Column::Number("END"),
        Column::Number("BYTES"),
        Column::Number("DURABLE TO"),
        Column::Number("CUT BYTES"),
        Column::Text("A START WOULD"),
    ];
    out.table(&columns, rows)?;
    let findings = findings(verified);
    for (at, what) in &findings {
        out.line(&format!("DAMAGED {at}: {what}"))?;
    }
    if deep {
        let deep = verified.logs.iter().filter_map(|log| log.outcome.as_ref().ok()?.deep.as_ref());
        let (batches, bytes) = deep
            .fold((0, 0), |(batches, bytes), deep| (batches + deep.batches, bytes + deep.bytes));
        let (noun, bytes) =
            (if batches == 1 { "batch" } else { "batches" }, counted(bytes, "byte"));
        out.line(&format!("read {batches} {noun} of {bytes} whose checksums match"))?;
    } else if !verified.logs.is_empty() {
        out.line("only what a start reads was read; --deep reads every record")?;
    }
    out.line(match verified.conclusion() {
        Conclusion::Clean => "clean: a start changes nothing that can be read",
        Conclusion::Recovers => "sound: a start recovers and loses nothing that was promised",
        Conclusion::Damaged => "damaged: a start serves what is sound, and says so",
        Conclusion::Refused => "unfit: a start refuses",
    })
}

fn row(log: &VerifiedLog) -> Option<Vec<String>> {
    let found = log.outcome.as_ref().ok()?;
    let recovery = &found.recovery;
    let does = if log.is_stray {
        "remove it: its topic was deleted"
    } else if recovery.clean {
        "leave it as it is"
    } else {
        "check its end"
    };
    let durable = if recovery.clean { found.log_end } else { recovery.recovery_point };
    Some(vec![
        name(log),
        found.log_start.to_string(),
        found.log_end.to_string(),
        found.bytes.to_string(),
        durable.to_string(),
        recovery.cut.map_or(0, |cut| cut.bytes).to_string(),
        does.to_owned(),
    ])
}

fn print_json(out: &mut Output, dir: &str, verified: &Verified) -> Result<(), Failure> {
    out.object(&Line::Directory(Directory::new(dir, verified)))?;
    for log in &verified.logs {
        out.object(&Line::Log(Log::new(log)))?;
    }
    for (topic, id) in &verified.absent {
        out.object(&Line::Absent { topic, partition: id.index.0 })?;
    }
    for (at, why) in findings(verified) {
        out.object(&Line::Damage { at, why })?;
    }
    out.object(&Line::Conclusion { conclusion: lines::conclusion_name(verified.conclusion()) })
}
