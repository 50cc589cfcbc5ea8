//! Who changes settings of brokers and of the topic while everybody works.
//!
//! Invariants: nobody else changes these settings; a change is sent again until it is answered, so that
//! none is left half known; what was answered is what is described from then on, whatever the broker
//! goes through, unless an earlier request may still be on its way. What a process asked for is not
//! known to the next one.

use std::collections::BTreeMap;

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
use crate::world::{Dice, SimEnv};

const TIMEOUT: Duration = Duration::from_millis(2_000);
const OF_TOPIC: i8 = 2;
const OF_BROKER: i8 = 4;
/// Looks at what was set, once everything is.
const LOOKS: u64 = 6;
/// All but zstd, which consumers of old versions are refused.
const CODECS: &[&str] = &["producer", "uncompressed", "gzip", "snappy", "lz4"];

/// A setting: the kind of its resource, the resource's name, the key.
type Place = (i8, &'static str, &'static str);

/// What may be set, and to what. Nothing of it keeps anybody from doing what it does.
const PLACES: &[(Place, &[&str])] = &[
    ((OF_BROKER, "", "compression.type"), CODECS),
    ((OF_BROKER, "", "log.cleaner.backoff.ms"), &["50", "100", "150"]),
    ((OF_BROKER, "", "message.max.bytes"), &["1048588", "2000000"]),
    ((OF_BROKER, "1", "compression.type"), CODECS),
    ((OF_BROKER, "1", "max.connections"), &["1000", "2000"]),
    ((OF_TOPIC, TOPIC, "compression.gzip.level"), &["-1", "1", "9"]),
    ((OF_TOPIC, TOPIC, "compression.type"), CODECS),
    ((OF_TOPIC, TOPIC, "max.message.bytes"), &["1048588", "2000000"]),
];

struct Operator {
    job: Job,
    env: SimEnv,
    dice: Dice,
    connection: Connection,
    /// What was answered: the value, or that there is none any more.
    answered: BTreeMap<Place, Option<&'static str>>,
    /// The last process of the broker to which a request may have gone that was never answered.
    loose: Option<u32>,
}

/// Changes settings as often as the work says, then looks at them a few times more.
pub async fn operate(job: Job, env: SimEnv) {
    let incarnation = env.process().incarnation;
    let dice = job.world.dice(&format!("operator {incarnation}"));
    let connection = Connection::new(env.clone(), BROKER, "operator".into());
    let loose = (incarnation > 1).then(|| job.world.incarnation(BROKER));
    let answered = BTreeMap::new();
    let mut operator = Operator { job, env, dice, connection, answered, loose };
    for _ in 0..operator.job.work.settings {
        operator.pause(20, 600).await;
        operator.look().await;
        if !operator.change().await {
            return;
        }
        operator.look().await;
    }
    for _ in 0..LOOKS {
        operator.pause(200, 1_500).await;
        operator.look().await;
    }
}

impl Operator {
    async fn pause(&mut self, from: u64, to: u64) {
        let millis = self.dice.between(from, to);
        self.env.sleep(Duration::from_millis(millis)).await;
    }

    /// Sets something, or takes it back; false if the broker refused.
    async fn change(&mut self) -> bool {
        let (place, values) = *self.dice.pick(PLACES);
        let value = *self.dice.pick(values);
        let value = (!self.dice.chance(200)).then_some(value);
        let ask = alter(place, value);
        // From here on it may be this or what it was.
        self.answered.remove(&place);
        loop {
            let answer = self.connection.call(1, &ask, TIMEOUT).await;
            if matches!(answer, Err(CallError::Unknown)) {
                self.loose = Some(self.job.world.incarnation(BROKER));
            }
            let code =
                answer.ok().and_then(|answer| answer.responses.first().map(|r| r.error_code));
            match code {
                Some(NONE) => {
                    self.answered.insert(place, value);
                    return true;
                },
                Some(code) if !is_retriable(code) => {
                    self.job.world.check("errors", false, || {
                        format!("IncrementalAlterConfigs of {place:?} was answered with {code}")
                    });
                    return false;
                },
                _ => self.pause(10, 200).await,
            }
        }
    }

    /// What was answered is described, and is where it was set.
    async fn look(&mut self) {
        for (kind, name) in [(OF_BROKER, ""), (OF_BROKER, "1"), (OF_TOPIC, TOPIC)] {
            let resource = DescribeConfigsResource {
                resource_type: kind,
                resource_name: name.into(),
                configuration_keys: None,
            };
            let ask = DescribeConfigsRequest {
                resources: vec![resource],
                include_synonyms: true,
                ..DescribeConfigsRequest::default()
            };
            let sent_to = self.job.world.incarnation(BROKER);
            let Ok(answer) = self.connection.call(4, &ask, TIMEOUT).await else { continue };
            // What is on its way to a process may come before or after any other request; and the last
            // entry of a metadata log that rotted is taken for torn.
            let is_damaged = crate::check::damages(&self.job.world) > 0;
            if is_damaged || self.loose.is_some_and(|upto| upto >= sent_to) {
                continue;
            }
            let Some(result) = answer.results.first().filter(|r| r.error_code == NONE) else {
                continue;
            };
            let mine = self.answered.iter().filter(|((k, n, _), _)| (*k, *n) == (kind, name));
            for (place, value) in mine {
                let found = own_value(result, *place);
                self.job.world.check("settings", found == value.map(str::to_owned), || {
                    format!("{place:?} was set to {value:?} and is described as {found:?}")
                });
            }
        }
    }
}

/// The value that the resource itself has of the key, whatever it inherits.
fn own_value(result: &DescribeConfigsResult, (kind, name, key): Place) -> Option<String> {
    let source = match (kind, name) {
        (OF_TOPIC, _) => 1,
        (_, "") => 3,
        _ => 2,
    };
    let config = result.configs.iter().find(|config| config.name == key)?;
    let mut synonyms = config.synonyms.iter();
    synonyms.find(|synonym| synonym.source == source)?.value.clone()
}

fn alter((kind, name, key): Place, value: Option<&str>) -> IncrementalAlterConfigsRequest {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    let config = AlterableConfig {
        name: key.into(),
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.map(Into::into),
    };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: vec![config],
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}

#[cfg(test)]
mod tests {
    use protocol::messages::describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsSynonym,
    };

    use super::*;

    #[test]
    fn a_setting_is_looked_for_where_it_was_set_and_not_where_it_is_inherited_from() {
        let synonym = |source, value: &str| DescribeConfigsSynonym {
            name: "compression.type".into(),
            value: Some(value.into()),
            source,
        };
        let config = DescribeConfigsResourceResult {
            name: "compression.type".into(),
            value: Some("gzip".into()),
            synonyms: vec![synonym(2, "gzip"), synonym(3, "zstd")],
            ..DescribeConfigsResourceResult::default()
        };
        let result =
            DescribeConfigsResult { configs: vec![config], ..DescribeConfigsResult::default() };
        let found = |kind, name| own_value(&result, (kind, name, "compression.type"));

        assert_eq!(found(OF_BROKER, "1").as_deref(), Some("gzip"));
        assert_eq!(found(OF_BROKER, "").as_deref(), Some("zstd"));
        assert_eq!(found(OF_TOPIC, TOPIC), None);
    }
}
