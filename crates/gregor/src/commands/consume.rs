//! `gregor consume`: records out, alone or as a member of a group.
//!
//! Invariants: each partition's records are printed in order and once per run; in a group an offset
//! is committed only after what lies below it was handed to the system; without `--follow` the
//! command ends at the ends that were there when it started; Ctrl-C ends it also while standard
//! output takes nothing.

mod assign;
mod member;
mod print;
mod reader;
mod writer;

use std::collections::BTreeMap;
use std::pin::pin;

use base::Duration;
use env::Env;
use wire::client::WhichOffset;

use crate::cli::{self, Consume};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::remote::{self, Remote, TopicOf};
pub use print::RecordLine;
use print::{Nothing, Printer};
use reader::Reader;
use writer::Writer;

/// How long a broker may wait for records with `--follow`.
const WAIT: Duration = Duration::from_millis(500);
/// How long standard output may take for what is printed when Ctrl-C comes; the rest is dropped.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// Runs `gregor consume`.
///
/// # Errors
/// [`Failure`].
pub fn run(arguments: &Consume) -> Result<(), Failure> {
    remote::run(&arguments.connect, |remote| consume(remote, arguments))
}

async fn consume(remote: Remote, arguments: &Consume) -> Result<(), Failure> {
    let stop = pin!(interrupted());
    let writer = Writer::new(std::io::stdout())?;
    let json = arguments.output.json;
    let printer = Printer::new(writer, json, arguments.format.as_deref(), arguments.max);
    match &arguments.group {
        Some(group) => member::consume(remote, arguments, group, printer, stop).await,
        None => alone(remote, arguments, printer, stop).await,
    }
}

/// Completes at Ctrl-C or SIGTERM; never if neither can be waited for.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        _ = terminate.recv() => {},
        _ = interrupt.recv() => {},
    }
}

/// At Ctrl-C: waits for standard output, and not for ever.
async fn settle(remote: &Remote, printer: &mut Printer) -> Result<(), Failure> {
    let mut nothing = Nothing;
    tokio::select! {
        biased;
        () = remote.env().sleep(STOP_WAIT) => Ok(()),
        flushed = printer.flush(&mut nothing) => flushed,
    }
}

/// What was printed before something failed is printed all the same, unless Ctrl-C comes.
async fn fail(
    failure: Failure,
    printer: &mut Printer,
    stop: std::pin::Pin<&mut impl Future<Output = ()>>,
) -> Failure {
    if matches!(failure, Failure::Output(_)) {
        return failure;
    }
    let mut nothing = Nothing;
    tokio::select! {
        biased;
        () = stop => failure,
        flushed = printer.flush(&mut nothing) => flushed.err().unwrap_or(failure),
    }
}

async fn alone(
    mut remote: Remote,
    arguments: &Consume,
    mut printer: Printer,
    mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
) -> Result<(), Failure> {
    let topic = remote.topic(&arguments.topic).await?;
    let all = topic.partitions.iter().map(|partition| partition.index);
    let wanted: Vec<i32> = match arguments.partition {
        Some(partition) => {
            topic.leader(&arguments.topic, partition)?;
            vec![partition]
        },
        None => all.collect(),
    };
    let from = starts(&mut remote, &arguments.topic, &topic, &wanted, arguments.start()).await?;
    if let cli::From::Offset(offset) = arguments.start() {
        reachable(&mut remote, &arguments.topic, &topic, &wanted, offset).await?;
    }
    let mut reader = Reader::new(&arguments.topic, topic, from);
    if !arguments.follow {
        reader.end_at_the_ends(&mut remote).await?;
    }
    let mut left = reader.remaining();
    let progress = match arguments.max {
        Some(max) => Progress::beside_output(left.map_or(max, |left| left.min(max)), "records"),
        None => left.map_or_else(Progress::hidden, |left| Progress::beside_output(left, "records")),
    };
    while !reader.is_done() && !printer.is_done() {
        let printed = tokio::select! {
            biased;
            () = &mut stop => return settle(&remote, &mut printer).await,
            printed = one_round(&mut remote, &mut reader, &mut printer) => printed,
        };
        if let Err(failure) = printed {
            return Err(fail(failure, &mut printer, stop).await);
        }
        let now = reader.remaining();
        progress.add(left.zip(now).map_or(0, |(before, now)| before.saturating_sub(now)));
        left = now;
    }
    Ok(())
}

async fn one_round(
    remote: &mut Remote,
    reader: &mut Reader,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let round = reader.round(remote, WAIT).await?;
    printer.print_round(reader, &round, &mut Nothing).await
}

/// Refuses an offset that none of these partitions goes as far as.
async fn reachable(
    remote: &mut Remote,
    name: &str,
    topic: &TopicOf,
    partitions: &[i32],
    offset: i64,
) -> Result<(), Failure> {
    let ends = remote.offsets(name, topic, partitions, WhichOffset::Latest).await?;
    if ends.is_empty() || ends.values().any(|end| end.is_none_or(|end| offset <= end)) {
        return Ok(());
    }
    let first = remote.offsets(name, topic, partitions, WhichOffset::Earliest).await?;
    let held = |(index, end): (&i32, &Option<i64>)| {
        let first = first.get(index).copied().flatten().unwrap_or(0);
        match end.unwrap_or(0).saturating_sub(1) {
            last if last < first => format!("partition {index} is empty"),
            last => format!("partition {index} holds offsets {first} to {last}"),
        }
    };
    let held: Vec<String> = ends.iter().map(held).collect();
    Err(Failure::Advised {
        what: format!("{}; --from {offset} is beyond", held.join(", ")),
        hint: "--from end waits for what comes".to_owned(),
    })
}

/// Where to start in each partition, within what there is.
async fn starts(
    remote: &mut Remote,
    name: &str,
    topic: &TopicOf,
    partitions: &[i32],
    from: cli::From,
) -> Result<BTreeMap<i32, i64>, Failure> {
    let first = remote.offsets(name, topic, partitions, WhichOffset::Earliest).await?;
    let first = |index: &i32| first.get(index).copied().flatten().unwrap_or(0);
    if from == cli::From::Beginning {
        return Ok(partitions.iter().map(|index| (*index, first(index))).collect());
    }
    let ends = remote.offsets(name, topic, partitions, WhichOffset::Latest).await?;
    let end = |index: &i32| ends.get(index).copied().flatten().unwrap_or(0);
    let found = match from {
        cli::From::Time(time) => {
            remote.offsets(name, topic, partitions, WhichOffset::AtOrAfter(time)).await?
        },
        cli::From::Beginning | cli::From::End | cli::From::Offset(_) => BTreeMap::new(),
    };
    let start = |index: &i32| match from {
        cli::From::Beginning => first(index),
        cli::From::End => end(index),
        cli::From::Offset(offset) => offset.clamp(first(index), end(index).max(first(index))),
        cli::From::Time(_) => found.get(index).copied().flatten().unwrap_or_else(|| end(index)),
    };
    Ok(partitions.iter().map(|index| (*index, start(index))).collect())
}
