//! `gregor verify`: what a start would do to the directories of a node, offline.
//!
//! Invariants: nothing in the directories is changed; everything that is told was decided by the code
//! of a start ([`broker::verify`]); whatever is not clean is told in words and in the exit code.

mod lines;

use broker::verify::{
    Asked, Conclusion, Verified, VerifiedContents, VerifiedDir, VerifiedLog, VerifyError, verify,
};
use storage::{DirError, StartClass};

use crate::cli::{Serve, Verify};
use crate::config;
use crate::failure::Failure;
use crate::output::{Column, Output, counted};
use crate::remote;
use lines::{Away, Directory, Line, Log, Partition};

/// Runs `gregor verify`.
///
/// # Errors
/// [`Failure::Damaged`] if anything durable is damaged, [`Failure::Unfit`] if a start would refuse,
/// and what the system refuses.
pub fn run(arguments: &Verify) -> Result<(), Failure> {
    let asked = asked(arguments)?;
    let dirs = match &asked {
        Asked::Dirs(dirs) => dirs,
        Asked::Config(config) => &config.log_dirs,
    };
    let shown: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    let dir = shown.join(", ");
    remote::in_runtime(async |env| {
        let verified = verify(&env, &asked, arguments.deep).await;
        let verified = verified.map_err(|error| refused(&error))?;
        let mut out = Output::new(arguments.format.json);
        let printed = match out.is_json() {
            true => print_json(&mut out, &verified),
            false => print(&mut out, &verified, arguments.deep),
        };
        let printed = printed.and_then(|()| out.flush());
        // What is wrong with the directory is told whether or not the rest could be printed.
        match verified.conclusion() {
            Conclusion::Clean | Conclusion::Recovers => printed,
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

fn asked(arguments: &Verify) -> Result<Asked, Failure> {
    if !arguments.dirs.is_empty() {
        return Ok(Asked::Dirs(arguments.dirs.clone()));
    }
    let serve = Serve {
        config: arguments.config.clone(),
        overrides: arguments.overrides.clone(),
        accept_lost_dirs: arguments.accept_lost_dirs.clone(),
        accept_lost_topics: arguments.accept_lost_topics.clone(),
        ..Serve::default()
    };
    Ok(Asked::Config(Box::new(config::load(&serve)?.broker)))
}

fn refused(error: &VerifyError) -> Failure {
    use broker::StartError::{Dir, DirectoryLost};
    let (what, hint) = match error {
        VerifyError::NotOurs(_) => (
            error.to_string(),
            "name the directory that the broker serves: --data or log.dirs, ./data by default",
        ),
        VerifyError::Refused(Dir(DirError::Locked { path })) => (
            format!("{} is in use by another process", path.display()),
            "stop the broker that uses it, or verify a copy",
        ),
        VerifyError::Refused(DirectoryLost { .. }) => {
            (error.to_string(), "name the directories that are there to see what is in them")
        },
        VerifyError::Refused(_) => (error.to_string(), "nothing was changed"),
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
    let mut all = Vec::new();
    if let Some(why) = &verified.refusal {
        all.push(("metadata".to_owned(), format!("a start is refused: {why}")));
    }
    for dir in &verified.dirs {
        let at = |what: &str| format!("{what} {}", dir.path.display());
        let start = match &dir.contents {
            Ok(contents) => &contents.start,
            Err(why) => {
                let what = format!("a start goes on without it, its partitions are offline: {why}");
                all.push((at("directory"), what));
                continue;
            },
        };
        if start.journal_damaged {
            let why = "a durable part of the journal cannot be read: every log may hold less than it was promised to";
            all.push((at("journal of"), why.to_owned()));
        }
        for missing in &start.missing {
            let log = dir.logs().find(|log| log.partition == missing.partition);
            let at = log.map_or_else(|| missing.partition.to_string(), name);
            all.push((at, "its folder is gone, and it holds records".to_owned()));
        }
        for log in dir.logs().filter(|log| !log.is_stray) {
            let at = name(log);
            all.extend(findings_in(log).into_iter().map(|what| (at.clone(), what)));
        }
    }
    all
}

fn findings_in(log: &VerifiedLog) -> Vec<String> {
    let found = match &log.outcome {
        Ok(found) => found,
        Err(unopened) if unopened.takes_directory => {
            let why = &unopened.why;
            return vec![format!("a start goes on without its whole directory: {why}")];
        },
        Err(unopened) => return vec![format!("a start is refused: {}", unopened.why)],
    };
    let recovery = &found.recovery;
    let mut all = Vec::new();
    for range in &recovery.faulty {
        all.push(format!("offsets {} to {} are damaged", range.from, range.to.0 - 1));
    }
    if recovery.uncertain {
        all.push("it may hold less than it was promised to".to_owned());
    }
    if let Some(cut) = recovery.cut.filter(|cut| !cut.torn) {
        all.push(format!(
            "a start cuts {} behind offset {}, more than a killed process leaves half-written",
            counted(cut.bytes, "byte"),
            cut.at
        ));
    }
    let Some(deep) = &found.deep else { return all };
    for range in deep.damaged.iter().filter(|range| !recovery.faulty.contains(range)) {
        all.push(format!("offsets {} to {} cannot be read", range.from, range.to.0 - 1));
    }
    if let Some((at, why)) = &deep.ended {
        all.push(format!("from offset {at} on it cannot be read: {why}"));
    }
    all
}

fn print(out: &mut Output, verified: &Verified, deep: bool) -> Result<(), Failure> {
    for dir in &verified.dirs {
        match &dir.contents {
            Ok(contents) => print_dir(out, verified, dir, contents)?,
            Err(_) => out.line(&format!("directory {}: cannot be used", dir.path.display()))?,
        }
    }
    for (topic, id) in &verified.absent {
        out.line(&format!("a start would create the log {topic}-{}", id.index))?;
    }
    for away in &verified.away {
        out.line(&format!("not looked at: directory {}, id {}", away.path, away.dir_id))?;
    }
    if !verified.away.is_empty() {
        out.line("  they are of this node, and a start without them is refused")?;
    }
    for (topic, id) in &verified.elsewhere {
        out.line(&format!("not here: the log {topic}-{}", id.index))?;
    }
    for (at, what) in findings(verified) {
        out.line(&format!("DAMAGED {at}: {what}"))?;
    }
    if deep {
        let deep = verified.logs().filter_map(|log| log.outcome.as_ref().ok()?.deep.as_ref());
        let (batches, bytes) = deep
            .fold((0, 0), |(batches, bytes), deep| (batches + deep.batches, bytes + deep.bytes));
        let (noun, bytes) =
            (if batches == 1 { "batch" } else { "batches" }, counted(bytes, "byte"));
        out.line(&format!("read {batches} {noun} of {bytes} whose checksums match"))?;
    } else if verified.logs().next().is_some() {
        out.line("only what a start reads was read; --deep reads every record")?;
    }
    out.line(match verified.conclusion() {
        Conclusion::Clean => "clean: a start changes nothing that can be read",
        Conclusion::Recovers => {
            "sound, as far as it was read: a start recovers and cuts nothing that was promised"
        },
        Conclusion::Damaged => "damaged: a start serves what is sound, and says so",
        Conclusion::Refused => "unfit: a start refuses",
    })
}

fn print_dir(
    out: &mut Output,
    verified: &Verified,
    dir: &VerifiedDir,
    contents: &VerifiedContents,
) -> Result<(), Failure> {
    let start = &contents.start;
    if dir.is_new {
        return out.line(&format!("directory {}: a start would make it", dir.path.display()));
    }
    out.line(&format!("directory {}, id {}", dir.path.display(), start.dir_id))?;
    out.line(&format!("  cluster {}, node {}", start.cluster_id, verified.node_id))?;
    out.line(&format!("  {}", found(start.class)))?;
    if let Some((groups, end)) = contents.journal {
        let end = lines::end_name(end);
        out.line(&format!("  journal: {} since the manifest, {end}", counted(groups, "group")))?;
    }
    if let Some((records, torn)) = verified.metadata.filter(|_| dir.is_home) {
        let torn = if torn { ", its torn last entry would be cut" } else { "" };
        out.line(&format!("  metadata: {}{torn}", counted(records, "record")))?;
    }
    if start.deletions_finished > 0 {
        let count = u64::try_from(start.deletions_finished).unwrap_or(u64::MAX);
        out.line(&format!("  a start would finish {} of a log", counted(count, "deletion")))?;
    }
    if !start.unknown.is_empty() {
        out.line(&format!("  not ours: {}", start.unknown.join(", ")))?;
    }
    let rows: Vec<_> = dir.logs().filter_map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    out.line("")?;
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
    // What follows is of all directories, or of another one.
    out.line("")
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

fn print_json(out: &mut Output, verified: &Verified) -> Result<(), Failure> {
    for dir in &verified.dirs {
        let path = dir.path.display().to_string();
        out.object(&Line::Directory(Directory::new(&path, verified, dir)))?;
        for log in dir.logs() {
            out.object(&Line::Log(Log::new(&path, log)))?;
        }
    }
    for (topic, id) in &verified.absent {
        out.object(&Line::Absent(Partition { topic, partition: id.index.0 }))?;
    }
    for away in &verified.away {
        let (path, directory_id) = (away.path.as_str(), away.dir_id.to_string());
        out.object(&Line::Away(Away { path, directory_id }))?;
    }
    for (topic, id) in &verified.elsewhere {
        out.object(&Line::Elsewhere(Partition { topic, partition: id.index.0 }))?;
    }
    for (at, why) in findings(verified) {
        out.object(&Line::Damage { at, why })?;
    }
    out.object(&Line::Conclusion { conclusion: lines::conclusion_name(verified.conclusion()) })
}
