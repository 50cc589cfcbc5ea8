//! One plan, carried out: broker and clients booted, faults injected, everything healed, fresh
//! work demanded, promises checked.
//!
//! Invariants: a run is defined by work, not by time; after the last fault everything that is owed
//! has to be done within [`SETTLE_MS`] simulated milliseconds.

use std::sync::Arc;

use env::Env;

use crate::check::{self, History};
use crate::client::{self, Job};
use crate::determinism::random_order;
use crate::fault::{self, BROKER, Plan};
use crate::system;
use crate::world::{FailureKind, MS, Outcome, Settings, World, program, run};

/// Planted bugs the product carries, by probe id.
pub const MUTANTS: &[&str] = &[
    "skip_dir_sync",
    "ack_before_write",
    "trust_page_cache",
    "forget_group_offsets",
    "duplicate_is_error",
    "refused_first_forgotten",
    "ack_before_group_flush",
    "recycle_keeps_nonce",
    "envelope_before_flush",
    "unlink_before_drop_flushed",
    "cut_not_journaled",
];

/// Faults end after so many simulated milliseconds, whatever work is left.
const CHAOS_MS: u64 = 10_000;
/// What is owed after the last fault has to be done in so many simulated milliseconds.
const SETTLE_MS: u64 = 60_000;
/// Records that every producer owes after the last fault.
const FRESH: u64 = 5;

/// How a plan is run, beyond what is in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Keep the trace as text.
    pub keep_text: bool,
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
        keep_text: options.keep_text,
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
    let mut dice = world.dice("scenario");
    let restart_ms = dice.between(30, 400);
    world.install(BROKER, system::broker(&plan.work), Some(restart_ms));
    let job = Job { world: Arc::clone(&world), history, work: plan.work.clone(), id: 0 };
    install_clients(&job, &plan);
    for node in boot_order {
        world.boot(node);
    }
    fault::inject_all(&world, &plan);
    chaos(&job, &plan).await;
    fault::heal(&world);
    let fresh = demand_fresh_work(&job, &plan);
    if settle(&job, &plan, &fresh).await {
        last_look(&job).await;
    }
}

/// Node 1 is the administrator; producers and consumers follow.
fn install_clients(job: &Job, plan: &Plan) {
    let producers = 2..2 + plan.work.idempotent + plan.work.plain;
    // The odd client, if there is one, comes last; nobody has number 0.
    let odd = if plan.work.odd { plan.clients() } else { 0 };
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

fn producers(plan: &Plan) -> impl Iterator<Item = usize> + use<> {
    2..2 + plan.work.idempotent + plan.work.plain
}

fn is_done(job: &Job, plan: &Plan) -> bool {
    producers(plan).all(|id| job.history.progress(id) >= plan.work.records)
}

/// Lets faults and clients at it until the work is done and the last fault has begun.
async fn chaos(job: &Job, plan: &Plan) {
    let begun = job.world.now();
    let last = plan.faults.last().map_or(0, |timed| timed.at_ms) + 200;
    loop {
        job.world.sleep_ms(50).await;
        let passed = (job.world.now() - begun) / MS;
        if passed >= CHAOS_MS || (passed >= last && is_done(job, plan)) {
            return;
        }
    }
}

/// Progress must be demanded, not only not be denied.
fn demand_fresh_work(job: &Job, plan: &Plan) -> Vec<usize> {
    let mut fresh = Vec::new();
    for node in producers(plan) {
        let mut job = job.clone();
        job.id = node + Job::FRESH;
        fresh.push(job.id);
        let env = job.world.env(node);
        env.clone().spawn("fresh work", client::producer(job, env, FRESH));
    }
    fresh
}

/// Waits until everything owed is done. Returns whether it was.
async fn settle(job: &Job, plan: &Plan, fresh: &[usize]) -> bool {
    let deadline = job.world.now() + SETTLE_MS * MS;
    loop {
        job.world.sleep_ms(100).await;
        let (work, history) = (&plan.work, &job.history);
        let produced = is_done(job, plan) && fresh.iter().all(|id| history.progress(*id) >= FRESH);
        let consumed = work.consumers == 0
            || (produced && check::settled(history, &job.world, work.partitions));
        if produced && consumed {
            return true;
        }
        if job.world.now() >= deadline {
            let text = format!(
                "settle: {} s after the last fault, produced {produced}, consumed {consumed}",
                SETTLE_MS / 1000
            );
            job.world.fail(FailureKind::Liveness, text);
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
    if job.work.consumers > 0 {
        client::read_commits(job.clone(), env).await;
    }
    // Long enough for everything acknowledged to be due on the platter.
    job.world.sleep_ms(2_500).await;
    check::finish(&job.history, &job.world, job.work.partitions);
}
