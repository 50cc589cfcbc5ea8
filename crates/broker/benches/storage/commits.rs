//! Durable commits through the journal against the disk's own flushes.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use base::{BrokerId, PartitionId, PartitionIndex, ReplicaGen, TopicId, Uuid};
use env::IoBufs;
use env_tokio::{Settings, TokioEnv};
use records::BatchView;
use smallvec::smallvec;
use storage::{Append, DirOptions, Durability, Expect, Log, LogConfig, LogDir};
use tokio::runtime::{Builder, Runtime};

use crate::Outcome;
use crate::partitions::batch;

/// How long each measurement takes.
const SPAN: Duration = Duration::from_secs(2);
const WRITERS: usize = 64;
const VALUE_BYTES: usize = 1000;

/// What one measurement found.
#[derive(Clone, Copy, Default)]
struct Figures {
    rate: f64,
    p50: Duration,
    p99: Duration,
    /// Commits per group of the journal.
    shared: f64,
}

/// Measures in turns and prints medians and ratios.
pub(crate) fn table(dir: &Path, rounds: usize) -> Outcome {
    std::fs::create_dir_all(dir)?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let (mut raw, mut one, mut many) = (Vec::new(), Vec::new(), Vec::new());
    let file = flushed_file(&dir.join("raw"))?;
    let logs = runtime.block_on(opened(&runtime, &dir.join("data")))?;
    for _ in 0..rounds {
        raw.push(flushes(&file)?);
        one.push(commits(&runtime, &logs, 1)?);
        many.push(commits(&runtime, &logs, WRITERS)?);
    }
    let (raw, one, many) = (median(&raw), median(&one), median(&many));
    println!("durable commits of {VALUE_BYTES} bytes, medians of {rounds} rounds in turns\n");
    println!(
        "                               a second   ratio    p50 ms    p99 ms   commits a flush"
    );
    let line = |what: &str, found: Figures| {
        let ratio = found.rate / raw.rate;
        let (p50, p99) = (found.p50.as_secs_f64() * 1e3, found.p99.as_secs_f64() * 1e3);
        let (rate, shared) = (found.rate, found.shared);
        println!("  {what:<26}{rate:>11.0}{ratio:>8.2}{p50:>10.2}{p99:>10.2}{shared:>12.1}");
    };
    line("4 KiB and fdatasync", raw);
    line("1 writer, fsync", one);
    line(&format!("{WRITERS} writers, fsync"), many);
    println!("\n  {WRITERS} writers to one: {:.1}", many.rate / one.rate);
    Ok(())
}

fn median(found: &[Figures]) -> Figures {
    let mut found = found.to_vec();
    found.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    found.get(found.len() / 2).copied().unwrap_or_default()
}

fn figures(mut took: Vec<Duration>, span: Duration, shared: f64) -> Figures {
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    let rate = f64::from(u32::try_from(took.len()).unwrap_or(u32::MAX)) / span.as_secs_f64();
    Figures { rate, p50: at(50), p99: at(99), shared }
}

/// A file whose blocks are there already, as those of the journal are.
fn flushed_file(path: &Path) -> Outcome<File> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    file.write_all_at(&vec![1; 4 << 20], 0)?;
    file.sync_all()?;
    Ok(file)
}

fn flushes(file: &File) -> Outcome<Figures> {
    let (begun, block, mut took, mut at) = (Instant::now(), [2; 4096], Vec::new(), 0);
    while begun.elapsed() < SPAN {
        let one = Instant::now();
        file.write_all_at(&block, at)?;
        file.sync_data()?;
        took.push(one.elapsed());
        at = (at + 4096) % (4 << 20);
    }
    Ok(figures(took, begun.elapsed(), 1.0))
}

/// A directory with a log per writer.
struct Logs {
    dir: LogDir<TokioEnv>,
    logs: Vec<Log<TokioEnv>>,
}

async fn opened(runtime: &Runtime, path: &Path) -> Outcome<Logs> {
    let env = TokioEnv::new(runtime.handle().clone(), Settings::default())?;
    let expect = Expect { cluster_id: None, node_id: BrokerId(1) };
    let (dir, _) = LogDir::open(&env, path, expect, DirOptions::default()).await?;
    let flusher = dir.clone();
    drop(runtime.spawn(async move { flusher.run_flusher(|_| ()).await }));
    let mut logs = Vec::new();
    for index in 0..i32::try_from(WRITERS)? {
        let id = PartitionId { topic: TopicId(Uuid([9; 16])), index: PartitionIndex(index) };
        logs.push(dir.create_log(id, ReplicaGen(0), LogConfig::default()).await?);
    }
    Ok(Logs { dir, logs })
}

fn commits(runtime: &Runtime, logs: &Logs, writers: usize) -> Outcome<Figures> {
    let groups = logs.dir.journal_groups();
    let begun = Instant::now();
    let tasks: Vec<_> = logs
        .logs
        .iter()
        .take(writers)
        .map(|log| runtime.spawn(write(log.clone(), begun)))
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(runtime.block_on(task)??);
    }
    let groups = u32::try_from(logs.dir.journal_groups() - groups)?;
    let shared = f64::from(u32::try_from(took.len())?) / f64::from(groups.max(1));
    Ok(figures(took, begun.elapsed(), shared))
}

async fn write(log: Log<TokioEnv>, begun: Instant) -> Outcome<Vec<Duration>> {
    let mut took = Vec::new();
    while begun.elapsed() < SPAN {
        let batch: BatchView = records::exactly_one(&batch(log.end(), VALUE_BYTES)?)?;
        let bufs: IoBufs = smallvec![batch.bytes().clone()];
        let append = Append {
            bufs,
            batches: smallvec![*batch.header()],
            durability: Durability::Fsync,
            owned: false,
        };
        let one = Instant::now();
        log.append(append).await?;
        took.push(one.elapsed());
    }
    Ok(took)
}
