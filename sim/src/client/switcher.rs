//! Who changes the durability mode of the topic while everybody works on it.
//!
//! Invariants: the history knows of a change before it is sent, and that it holds only when it was
//! answered; a change is sent again until it is answered, so that none is left half known; what was
//! answered is what is described, unless an earlier request may still be on its way.

use base::Duration;
use env::Env;
use protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use protocol::messages::describe_configs_response::DescribeConfigsResult;
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use super::connection::{CallError, Connection};
use super::errors::{NONE, is_retriable};
use super::{Job, TOPIC};
use crate::fault::BROKER;
use crate::world::SimEnv;

const TIMEOUT: Duration = Duration::from_millis(2_000);
const TOPIC_RESOURCE: i8 = 2;
const DURABILITY: &str = "gregor.durability";

/// Changes the mode as often as the work says.
pub async fn switch_modes(job: Job, env: SimEnv) {
    let incarnation = env.process().incarnation;
    let mut dice = job.world.dice(&format!("mode changes {incarnation}"));
    let mut connection = Connection::new(env.clone(), BROKER, "switcher".into());
    let broker = || job.world.incarnation(BROKER);
    // What an earlier process asked for went to a broker that was there by now.
    job.history.mode_changes_abandoned(broker());
    // The last process of the broker to which a request may have gone that was never answered.
    let mut loose = (incarnation > 1).then(broker);
    for number in 0..job.work.mode_changes {
        let wait = dice.between(20, 700);
        env.sleep(Duration::from_millis(wait)).await;
        // In turns, and sometimes to what it is already.
        let fsync = number.is_multiple_of(2) != job.work.fsync || dice.chance(100);
        let ask = change(fsync);
        loop {
            let sent_to = broker();
            let change = job.history.mode_change_sent(fsync, sent_to);
            let answer = connection.call(1, &ask, TIMEOUT).await;
            let unknown = matches!(answer, Err(CallError::Unknown));
            job.history.mode_change_ended(&change, unknown.then(broker));
            loose = unknown.then(broker).or(loose);
            let code =
                answer.ok().and_then(|answer| answer.responses.first().map(|r| r.error_code));
            match code {
                Some(NONE) => {
                    job.history.mode_changed(&job.world, &change);
                    if job.work.varied && loose.is_none_or(|upto| upto < sent_to) {
                        is_described(&job, &mut connection, mode(fsync)).await;
                    }
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

/// The mode of the topic is what was answered: nobody else changes it.
async fn is_described(job: &Job, connection: &mut Connection, mode: &str) {
    let resource = DescribeConfigsResource {
        resource_type: TOPIC_RESOURCE,
        resource_name: TOPIC.into(),
        configuration_keys: Some(vec![DURABILITY.into()]),
    };
    let ask = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let Ok(answer) = connection.call(4, &ask, TIMEOUT).await else { return };
    let result = answer.results.first();
    job.world.check("settings", result.is_none_or(|result| fits(result, mode)), || {
        format!("{DURABILITY} was set to {mode} and is described as {result:?}")
    });
}

/// Whether a description has this mode; one that is refused says nothing.
fn fits(result: &DescribeConfigsResult, mode: &str) -> bool {
    let found = result.configs.iter().find(|config| config.name == DURABILITY);
    result.error_code != NONE || found.is_some_and(|config| config.value.as_deref() == Some(mode))
}

fn mode(fsync: bool) -> &'static str {
    if fsync { "fsync" } else { "replicated" }
}

fn change(fsync: bool) -> IncrementalAlterConfigsRequest {
    const SET: i8 = 0;
    let config = AlterableConfig {
        name: DURABILITY.into(),
        config_operation: SET,
        value: Some(mode(fsync).into()),
    };
    let resource = AlterConfigsResource {
        resource_type: TOPIC_RESOURCE,
        resource_name: TOPIC.into(),
        configs: vec![config],
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}

#[cfg(test)]
mod tests {
    use protocol::messages::describe_configs_response::DescribeConfigsResourceResult;

    use super::*;

    #[test]
    fn a_description_has_to_name_the_mode_that_was_answered() {
        let described = |error_code, values: &[&str]| {
            let config = |value: &&str| DescribeConfigsResourceResult {
                name: DURABILITY.into(),
                value: Some((*value).into()),
                ..DescribeConfigsResourceResult::default()
            };
            let configs = values.iter().map(config).collect();
            DescribeConfigsResult { error_code, configs, ..DescribeConfigsResult::default() }
        };

        assert!(fits(&described(NONE, &["fsync"]), "fsync"));
        assert!(!fits(&described(NONE, &["replicated"]), "fsync"));
        assert!(!fits(&described(NONE, &[]), "fsync"));
        assert!(fits(&described(56, &[]), "fsync"));
    }
}
