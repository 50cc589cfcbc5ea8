//! Many partitions: created, left alone, opened after a stop and after a crash.
//!
//! Each phase is a process of its own, so that its memory and its reads are its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base::{LeaderEpoch, Offset, PartitionId, PartitionIndex};
use broker::api::{Acks, CreateTopic, Produce};
use broker::{Broker, BrokerConfig};
use env_tokio::{Settings, TokioEnv, raise_descriptor_limit};
use records::{BatchBuilder, NewRecord};
use tokio::runtime::{Builder, Runtime};

use crate::Outcome;

/// How long nothing is done, to see what an idle broker costs.
const IDLE: Duration = Duration::from_secs(10);
/// So often memory is measured: how much of what was given back stays resident varies by a tenth.
const ROUNDS: usize = 9;

/// Runs the phases one after the other and prints what each cost.
pub(crate) fn table(dir: &Path, count: i32) -> Outcome {
    println!("{count} partitions of one topic, one broker on {}\n", dir.display());
    let phases = [
        ("create", "created, no record in any; then left alone, then stopped"),
        ("empty", "started after that stop; then a record to each, then killed"),
        ("killed", "started after that kill; then stopped"),
        ("full", "started after that stop: every log has a segment"),
    ];
    for (phase, what) in phases {
        println!("{phase}: {what}");
        print!("{}", spawned(phase, dir, count)?);
    }
    let (mut created, mut started) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let dir = dir.with_extension(format!("memory{round}"));
        created.push(memory_told(&spawned("fresh", &dir, count)?)?);
        started.push(memory_told(&spawned("again", &dir, count)?)?);
    }
    println!("memory of a partition without a record, {ROUNDS} processes each: resident bytes");
    for (what, mut figures) in [("created", created), ("started", started)] {
        figures.sort_unstable();
        let at = |place: usize| figures.get(place).copied().unwrap_or_default();
        let median = at(figures.len() / 2);
        say(what, &format!("median {median}, from {} to {}", at(0), at(figures.len() - 1)));
    }
    println!();
    Ok(())
}

/// Runs a phase in a process of its own, and returns what it printed.
fn spawned(phase: &str, dir: &Path, count: i32) -> Outcome<String> {
    let exe = std::env::current_exe()?;
    let args = ["phase".into(), phase.into(), dir.display().to_string(), count.to_string()];
    let output = Command::new(exe).args(args).output()?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let killed = phase == "empty";
    if output.status.success() == killed { Err(told.into()) } else { Ok(told) }
}

fn memory_told(told: &str) -> Outcome<u64> {
    let line = told.lines().find_map(|line| line.trim().strip_prefix("memory"));
    let figure = line.and_then(|line| line.split_whitespace().next());
    Ok(figure.ok_or("the process told no memory")?.parse()?)
}

/// One phase, in the process made for it.
pub(crate) fn phase(phase: &str, dir: &Path, count: i32) -> Outcome {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let small = dir.with_extension("none");
    let per = u64::try_from(count)?;
    // What a broker without partitions has.
    let empty = started(&runtime, &small)?;
    let base = rss()?;
    let (read, begun) = (read_bytes()?, Instant::now());
    let broker = started(&runtime, dir)?;
    if ["create", "fresh"].contains(&phase) {
        let wish =
            CreateTopic { name: "many".into(), partitions: Some(count), ..CreateTopic::default() };
        for created in runtime.block_on(broker.create_topics(vec![wish], false)) {
            created.map_err(|error| error.to_string())?;
        }
    }
    say("ready after", &format!("{} ms", begun.elapsed().as_millis()));
    say("read", &format!("{} bytes a partition", (read_bytes()? - read) / per));
    say("memory", &format!("{} bytes a partition", rss()?.saturating_sub(base) / per));
    match phase {
        "create" => {
            let before = cpu()?;
            std::thread::sleep(IDLE);
            let used = cpu()?.saturating_sub(before);
            say("idle", &format!("{} ms of CPU in {} s", used.as_millis(), IDLE.as_secs()));
        },
        "empty" => {
            let begun = Instant::now();
            runtime.block_on(one_record_each(&runtime, &broker))?;
            say("a record to each", &format!("{} ms", begun.elapsed().as_millis()));
            use std::io::Write;
            std::io::stdout().flush()?;
            std::process::abort();
        },
        _ => {},
    }
    let begun = Instant::now();
    runtime.block_on(broker.stop());
    say("stopped after", &format!("{} ms", begun.elapsed().as_millis()));
    runtime.block_on(empty.stop());
    Ok(())
}

fn say(what: &str, figure: &str) {
    println!("  {what:<18}{figure}");
}

fn started(runtime: &Runtime, dir: &Path) -> Outcome<Broker<TokioEnv>> {
    let env = TokioEnv::new(runtime.handle().clone(), Settings::default())?;
    let open_files_max = usize::try_from(raise_descriptor_limit())? / 2;
    let log_dirs = vec![PathBuf::from(dir)];
    let config = BrokerConfig { log_dirs, open_files_max, ..BrokerConfig::default() };
    Ok(runtime.block_on(Broker::start(env, config))?)
}

/// Writers that share the work, as connections would.
const WRITERS: i32 = 64;

async fn one_record_each(runtime: &Runtime, broker: &Broker<TokioEnv>) -> Outcome {
    let Some(topic) = broker.cluster().topics.get("many").cloned() else {
        return Err("the topic is gone".into());
    };
    let count = i32::try_from(topic.partitions.len())?;
    let writers = (0..WRITERS).map(|first| {
        let (broker, id) = (broker.clone(), topic.id);
        runtime.spawn(async move {
            let batch = batch(Offset::ZERO, 100)?;
            let mut index = first;
            while index < count {
                let wish = Produce {
                    partition: PartitionId { topic: id, index: PartitionIndex(index) },
                    acks: Acks::All,
                    deadline: base::Instant::NEVER,
                    batch: batch.clone(),
                    internal_allowed: false,
                };
                broker.produce(wish).await?;
                index += WRITERS;
            }
            Ok(()) as Outcome
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await??;
    }
    Ok(())
}

/// A batch of one record with a value of so many bytes.
pub(crate) fn batch(at: Offset, bytes: usize) -> Outcome<bytes::Bytes> {
    let mut builder = BatchBuilder::new().assigned(at, LeaderEpoch(0));
    builder.push(&NewRecord { value: Some(&vec![7; bytes]), ..NewRecord::default() })?;
    Ok(builder.finish()?.into_bytes())
}

/// A figure of this process, as the kernel tells it.
fn told(file: &str, key: &str) -> Outcome<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/{file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).ok_or(key.to_owned())?;
    let number = line.trim_start_matches(':').split_whitespace().next().ok_or(key.to_owned())?;
    Ok(number.parse()?)
}

fn rss() -> Outcome<u64> {
    Ok(told("status", "VmRSS")? * 1024)
}

fn read_bytes() -> Outcome<u64> {
    told("io", "rchar")
}

/// CPU time of this process so far.
pub(crate) fn cpu() -> Outcome<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks: u64 = fields.get(11..13).ok_or("stat")?.iter().flat_map(|f| f.parse::<u64>()).sum();
    // A tick is 10 ms on every Linux that anybody runs.
    Ok(Duration::from_millis(ticks * 10))
}
