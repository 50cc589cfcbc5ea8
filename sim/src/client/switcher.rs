//! Who changes the durability mode of the topic while everybody works on it.
//!
//! Invariants: the history knows of a change before it is sent, and that it holds only when it was
//! answered; a change is sent again until it is answered, so that none is left half known.

use base::Duration;
use env::Env;
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use super::connection::{CallError, Connection};
use super::errors::{NONE, is_retriable};
use super::{Job, TOPIC};
use crate::fault::BROKER;
use crate::world::SimEnv;

const TIMEOUT: Duration = Duration::from_millis(2_000);

/// Changes the mode as often as the work says.
pub async fn switch_modes(job: Job, env: SimEnv) {
    let incarnation = env.process().incarnation;
    let mut dice = job.world.dice(&format!("mode changes {incarnation}"));
    let mut connection = Connection::new(env.clone(), BROKER, "switcher".into());
    let broker = || job.world.incarnation(BROKER);
    // What an earlier process asked for went to a broker that was there by now.
    job.history.mode_changes_abandoned(broker());
    for number in 0..job.work.mode_changes {
        let wait = dice.between(20, 700);
        env.sleep(Duration::from_millis(wait)).await;
        // In turns, and sometimes to what it is already.
        let fsync = number.is_multiple_of(2) != job.work.fsync || dice.chance(100);
        let ask = change(fsync);
        loop {
            let change = job.history.mode_change_sent(fsync, broker());
            let answer = connection.call(1, &ask, TIMEOUT).await;
            let unknown = matches!(answer, Err(CallError::Unknown));
            job.history.mode_change_ended(&change, unknown.then(broker));
            let code =
                answer.ok().and_then(|answer| answer.responses.first().map(|r| r.error_code));
            match code {
                Some(NONE) => {
                    job.history.mode_changed(&job.world, &change);
                    break;
                },
                Some(code) if !is_retriable(code) => {
                    job.world.check("errors", false, || {
                        format!("IncrementalAlterConfigs was answered with {code}")
                    });
                    return;
                },
                _ => {
                    let wait = dice.between(10, 200);
                    env.sleep(Duration::from_millis(wait)).await;
                },
            }
        }
    }
}

fn change(fsync: bool) -> IncrementalAlterConfigsRequest {
    const TOPIC_RESOURCE: i8 = 2;
    const SET: i8 = 0;
    let mode = if fsync { "fsync" } else { "replicated" };
    let config = AlterableConfig {
        name: "gregor.durability".into(),
        config_operation: SET,
        value: Some(mode.into()),
    };
    let resource = AlterConfigsResource {
        resource_type: TOPIC_RESOURCE,
        resource_name: TOPIC.into(),
        configs: vec![config],
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}
