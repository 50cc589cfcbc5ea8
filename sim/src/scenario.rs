//! One plan, carried out: broker and clients booted, faults injected, everything healed, fresh
//! work demanded, promises checked.
//!
//! Invariants: a run is defined by work, not by time; after the last fault everything that is owed
//! has to be done within [`SETTLE_MS`] simulated milliseconds, and again after some clients are lost
//! for good.

mod full;

use std::sync::Arc;

use env::Env;

use crate::check::{self, History};
use crate::client::{self, Job};
use crate::determinism::random_order;
use crate::fault::{self, BROKER, Plan};
use crate::system;
use crate::world::{FailureKind, MS, Outcome, Settings, World, program, run};

/// Faults end after so many simulated milliseconds, whatever work is left.
pub const CHAOS_MS: u64 = 10_000;
/// What is owed after the last fault has to be done in so many simulated milliseconds.
const SETTLE_MS: u64 = 60_000;
/// Records that every producer owes after the last fault.
const FRESH: u64 = 5;

/// How a plan is run, beyond what is in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Keep the events of the trace.
    pub keep_events: bool,
    /// Boot the nodes in the order of a randomly keyed map.
    pub canary: bool,
}

/// Runs one plan.
pub fn run_plan(plan: &Plan, options: &RunOptions) -> Outcome<()> {
    let settings = Settings {
        seed: plan.seed,
        nodes: 1 + plan.clients(),
        knobs: plan.knobs.clone(),
        mutants: plan.mutants.iter().cloned().collect(),
        keep_events: options.keep_events,
        notes_max: 0,
    };
    // Drawn out here, where keys are really random.
    let nodes = settings.nodes;
    let order = if options.canary { random_order(nodes) } else { (0..nodes).collect() };
    let plan = plan.clone();
    run(settings, move |world| universe(world, plan, order))
}

async fn universe(world: Arc<World>, plan: Plan, boot_order: Vec<usize>) {
    let history = History::new();
    let watcher = history.clone();
    world.on_power_loss(move |world, node| {
        if node == BROKER {
            watcher.power_is_lost(world);
        }
    });
    system::mount(&world, &plan.work);
    let mut dice = world.dice("scenario");
    let restart_ms = dice.between(30, 400);
    world.install(BROKER, system::broker(&plan.work, &history), Some(restart_ms));
    let job = Job { world: Arc::clone(&world), history, work: plan.work.clone(), id: 0 };
    install_clients(&job, &plan);
    for node in boot_order {
        world.boot(node);
    }
    fault::inject_all(&world, &plan, &job.history);
    chaos(&job, &plan).await;
    fault::heal(&world);
    if plan.work.full_when_quiet && !full::reads_go_on(&job).await {
        return;
    }
    let mut owed: Vec<(usize, u64)> = plan.producers().map(|id| (id, plan.work.records)).collect();
    owed.extend(demand_fresh_work(&job, plan.producers(), Job::FRESH));
    let mut is_done = settle(&job, &owed, "the last fault").await;
    if is_done && !plan.gone.is_empty() {
        plan.gone.iter().for_each(|gone| fault::lose(&world, gone));
        let is_there = |node: &usize| plan.gone.iter().all(|gone| gone.node != *node);
        let left = plan.producers().filter(is_there);
        let owed = demand_fresh_work(&job, left, 2 * Job::FRESH);
        is_done = settle(&job, &owed, "some clients were lost for good").await;
    }
    if is_done {
        last_look(&job).await;
    }
}

/// Node 1 is the administrator; producers and consumers follow.
fn install_clients(job: &Job, plan: &Plan) {
    let producers = plan.producers();
    // The odd client and the keeper, if there are any, come last; nobody has number 0.
    let keeper = if plan.work.keeper { plan.clients() } else { 0 };
    let others = plan.clients() - usize::from(plan.work.keeper);
    let odd = if plan.work.odd { others } else { 0 };
    for id in 1..=plan.clients() {
        let mut mine = job.clone();
        mine.id = id;
        let producers = producers.clone();
        let main = program(move |env| {
            let (job, producers) = (mine.clone(), producers.clone());
            async move {
                if id == 1 {
                    client::admin(job, env).await;
                } else if id == odd {
                    client::odd(job, env).await;
                } else if id == keeper {
                    client::keeper(job, env).await;
                } else if producers.contains(&id) {
                    let owed = job.work.records;
                    client::producer(job, env, owed).await;
                } else {
                    client::consumer(job, env).await;
                }
                // A client that is done stays, so that its machine can still be hit.
                std::future::pending::<()>().await;
            }
        });
        job.world.install(id, main, None);
    }
}

fn is_done(job: &Job, owed: &[(usize, u64)]) -> bool {
    owed.iter().all(|(id, records)| job.history.progress(*id) >= *records)
}

/// Lets faults and clients at it until the work is done and the last fault has begun.
async fn chaos(job: &Job, plan: &Plan) {
    let begun = job.world.now();
    let last = plan.faults.last().map_or(0, |timed| timed.at_ms) + 200;
    let owed: Vec<_> = plan.producers().map(|id| (id, plan.work.records)).collect();
    loop {
        job.world.sleep_ms(50).await;
        let passed = (job.world.now() - begun) / MS;
        if passed >= CHAOS_MS || (passed >= last && is_done(job, &owed)) {
            return;
        }
    }
}

/// Progress must be demanded, not only not be denied. Returns who owes how much.
fn demand_fresh_work(
    job: &Job,
    producers: impl Iterator<Item = usize>,
    number: usize,
) -> Vec<(usize, u64)> {
    let mut fresh = Vec::new();
    for node in producers {
        let mut job = job.clone();
        job.id = node + number;
        fresh.push((job.id, FRESH));
        let env = job.world.env(node);
        env.clone().spawn("fresh work", client::producer(job, env, FRESH));
    }
    fresh
}

/// Waits until everything `owed` is done, and the group has read it. Returns whether it was.
async fn settle(job: &Job, owed: &[(usize, u64)], since: &str) -> bool {
    let deadline = job.world.now() + SETTLE_MS * MS;
    loop {
        job.world.sleep_ms(100).await;
        let (work, history) = (&job.work, &job.history);
        let produced = is_done(job, owed);
        let consumed = work.consumers == 0
            || (produced && check::settled(history, &job.world, work.partitions))
            || history.group_is_damaged(&job.world);
        if produced && consumed {
            return true;
        }
        if job.world.now() >= deadline {
            let excused = job.world.ledger.lock().budget.excuses("settle");
            let text = format!(
                "settle: {} s after {since}, produced {produced}, consumed {consumed}",
                SETTLE_MS / 1000
            );
            if !excused {
                job.world.fail(FailureKind::Liveness, text);
            }
            return false;
        }
    }
}

/// Reads everything once more, then holds all that was seen against the disk.
async fn last_look(job: &Job) {
    const ADMIN: usize = 1;
    let env = job.world.env(ADMIN);
    let before = job.history.topics_settled();
    let topics = client::list_topics(job.clone(), env.clone()).await;
    let names: Vec<String> = topics.into_iter().map(|(name, _)| name).collect();
    job.history.topics_listed(&job.world, &before, &names);
    client::read_all(job.clone(), env.clone()).await;
    // A drive that lied may have cost a whole directory, and nobody waits for that.
    let lied = job.work.dirs > 1 && job.world.ledger.lock().budget.excuses("settle");
    if job.work.consumers > 0 && !lied && !job.history.group_is_damaged(&job.world) {
        client::read_commits(job.clone(), env.clone()).await;
    }
    if job.work.groups && !lied && !job.history.group_is_damaged(&job.world) {
        client::look_at_groups(job.clone(), env.clone()).await;
    }
    if job.work.keeper && !lied {
        client::read_tables(job.clone(), env.clone()).await;
    }
    client::refused_frames_hang_up(job, &env).await;
    job.history.wants_last_look();
    job.history.tables_are_due(&job.world);
    // Long enough for everything acknowledged to be due on the platter, for that look, and for
    // retention and compaction.
    job.world.sleep_ms(3_500).await;
    job.history.had_last_look(&job.world);
    job.history.nothing_is_overdue(&job.world);
    check::finish(&job.history, &job.world, job.work.partitions);
}
