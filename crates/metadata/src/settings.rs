//! Decisions about settings of brokers, groups and subscriptions to client metrics.
//!
//! Invariants: a resource changes whole or not at all; each wish of a request is judged on the settings as
//! those before it leave them, so that no two are only wrong together; what is stored of a known key passes
//! the table's check; a change that changes nothing leaves no record. A broker's key that nobody knows is
//! kept, as Kafka does, for it may be a plugin's. Source: KIP-226, KIP-339, KIP-714, KIP-848.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::config::{
    Configs, Kind, Layers, broker_key, dynamic_fault, group_fault, group_key, metrics_fault,
};
use base::{BrokerId, Probe};

use crate::alter::{appended, not_a_list, split, subtracted};
use crate::command::{AlterSettings, ConfigChange, ConfigEdit, Decision, Reply, TopicError};
use crate::decide::{check_length, check_name_length};
use crate::{Image, Record, Resource};

/// Groups and subscriptions that may have settings; further ones are refused (ours: whoever asks
/// names them).
const RESOURCES_MAX: usize = 10_000;
/// Keys that may be set of one resource (ours: a broker keeps keys that nobody knows).
const KEYS_MAX: usize = 1_000;

const NOTHING: &Configs = &Configs::new();

/// Where broker keys are set, as `broker` sees it (`None`: the only one there is).
pub(crate) fn layers<'a>(
    image: &'a Image,
    broker: Option<BrokerId>,
    file: &'a BTreeMap<String, String>,
) -> Layers<'a> {
    let broker = broker.unwrap_or_else(|| only_broker(image));
    let of = |resource| image.settings.get(&resource).unwrap_or(NOTHING);
    Layers { broker: of(Resource::Broker(broker)), cluster: of(Resource::Brokers), file }
}

fn only_broker(image: &Image) -> BrokerId {
    image.brokers.keys().next().copied().unwrap_or_default()
}

/// Settings as the wishes of a request leave them that were granted so far.
struct View<'a> {
    image: &'a Image,
    file: &'a BTreeMap<String, String>,
    /// What is set now of the resources that were changed.
    changed: BTreeMap<Resource, Configs>,
    /// How many resources have settings.
    resources: usize,
}

impl<'a> View<'a> {
    fn new(image: &'a Image, file: &'a BTreeMap<String, String>) -> Self {
        Self { image, file, changed: BTreeMap::new(), resources: image.settings.len() }
    }

    fn of(&self, resource: &Resource) -> &Configs {
        let changed = self.changed.get(resource);
        changed.or_else(|| self.image.settings.get(resource)).unwrap_or(NOTHING)
    }

    /// Where broker keys are set, as `broker` sees it (`None`: the only one there is).
    fn layers(&self, broker: Option<BrokerId>) -> Layers<'_> {
        let broker = Resource::Broker(broker.unwrap_or_else(|| only_broker(self.image)));
        let cluster = self.of(&Resource::Brokers);
        Layers { broker: self.of(&broker), cluster, file: self.file }
    }

    fn set(&mut self, resource: &Resource, configs: Configs) {
        match (self.of(resource).is_empty(), configs.is_empty()) {
            (true, false) => self.resources = self.resources.saturating_add(1),
            (false, true) => self.resources = self.resources.saturating_sub(1),
            (true, true) | (false, false) => {},
        }
        self.changed.insert(resource.clone(), configs);
    }
}

pub(crate) fn alter_settings<P: Probe>(
    image: &Image,
    wishes: &[AlterSettings],
    file: &BTreeMap<String, String>,
    probe: &P,
) -> Decision {
    let mut records = Vec::new();
    let mut replies = Vec::new();
    let mut view = View::new(image, file);
    for wish in wishes {
        let outcome = alter(&mut view, wish);
        probe.reached(match outcome {
            Ok(_) => "metadata_settings_changed",
            Err(_) => "metadata_settings_refused",
        });
        replies.push(outcome.map(|record| records.extend(record)));
    }
    Decision { records, reply: Reply::Altered(replies) }
}

/// The record of a change, if there is anything to change.
fn alter(view: &mut View<'_>, wish: &AlterSettings) -> Result<Option<Record>, TopicError> {
    let now = view.of(&wish.resource);
    let configs = changed(&wish.resource, now, &wish.change)?;
    check(view, &wish.resource, &configs)?;
    if configs == *now {
        return Ok(None);
    }
    if configs.len() > KEYS_MAX {
        return Err(TopicError::Policy(format!("More than {KEYS_MAX} keys of one resource.")));
    }
    let is_named = matches!(wish.resource, Resource::Group(_) | Resource::ClientMetrics(_));
    if is_named && now.is_empty() && view.resources >= RESOURCES_MAX {
        return Err(TopicError::Policy(format!(
            "More than {RESOURCES_MAX} resources have settings."
        )));
    }
    view.set(&wish.resource, configs.clone());
    Ok(Some(Record::Configured { resource: wish.resource.clone(), configs }))
}

/// What is set once the change is made; nothing of it is judged.
fn changed(
    resource: &Resource,
    now: &Configs,
    change: &ConfigChange,
) -> Result<Configs, TopicError> {
    let edits = match change {
        ConfigChange::Replace(pairs) => {
            let pair = |(name, value): &(String, String)| {
                check_name_length(name)?;
                check_length(value)?;
                Ok((Arc::from(name.as_str()), Arc::from(value.trim())))
            };
            return pairs.iter().map(pair).collect();
        },
        ConfigChange::Edit(edits) => edits,
    };
    let mut configs = now.clone();
    for (name, edit) in edits {
        let value = match edit {
            ConfigEdit::Set(value) => value.clone(),
            ConfigEdit::Delete => {
                configs.remove(name.as_str());
                continue;
            },
            ConfigEdit::Append(more) => {
                appended(&elements(resource, &configs, name, ["append", "APPEND"])?, more)
            },
            ConfigEdit::Subtract(less) => {
                subtracted(&elements(resource, &configs, name, ["subtract", "SUBTRACT"])?, less)
            },
        };
        check_name_length(name)?;
        check_length(&value)?;
        configs.insert(Arc::from(name.as_str()), Arc::from(value.trim()));
    }
    Ok(configs)
}

/// What a list holds now: what is set of it, or else the table's default.
fn elements(
    resource: &Resource,
    configs: &Configs,
    name: &str,
    [doing, loudly]: [&str; 2],
) -> Result<Vec<String>, TopicError> {
    let key = match resource {
        Resource::Brokers | Resource::Broker(_) => {
            let unknown = || TopicError::InvalidConfig(format!("Unknown config name: {name}"));
            let key = broker_key(name).ok_or_else(unknown)?;
            if key.kind != Kind::List {
                return Err(TopicError::InvalidConfig(format!(
                    "Config value {doing} is not allowed for config key: {name}"
                )));
            }
            Some(key)
        },
        Resource::Group(_) => group_key(name).filter(|key| key.kind == Kind::List),
        Resource::ClientMetrics(_) => None,
    };
    let key = key.ok_or_else(|| not_a_list(name, loudly))?;
    let own = configs.get(name).map(|value| &**value);
    Ok(split(own.or(key.default).unwrap_or_default()))
}

fn check(view: &View<'_>, resource: &Resource, configs: &Configs) -> Result<(), TopicError> {
    match resource {
        Resource::Brokers => {
            let before = view.layers(None);
            let layers = Layers { cluster: configs, ..before };
            let fault = dynamic_fault(configs, false, &layers, &before);
            fault.map_or(Ok(()), |why| Err(TopicError::InvalidRequest(why)))
        },
        Resource::Broker(id) => {
            let before = view.layers(Some(*id));
            let layers = Layers { broker: configs, ..before };
            let fault = dynamic_fault(configs, true, &layers, &before);
            fault.map_or(Ok(()), |why| Err(TopicError::InvalidRequest(why)))
        },
        Resource::Group(name) => {
            if name.is_empty() {
                let why = "Default group resources are not allowed.".to_owned();
                return Err(TopicError::InvalidRequest(why));
            }
            let fault = group_fault(configs, &view.layers(None));
            fault.map_or(Ok(()), |why| Err(TopicError::InvalidConfig(why)))
        },
        Resource::ClientMetrics(name) => {
            if name.is_empty() {
                let why = "Subscription name can't be empty".to_owned();
                return Err(TopicError::InvalidRequest(why));
            }
            match metrics_fault(configs) {
                None => Ok(()),
                Some((true, why)) => Err(TopicError::InvalidConfig(why)),
                Some((false, why)) => Err(TopicError::InvalidRequest(why)),
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, Command, decide};

    fn alter(
        image: &mut Image,
        resource: Resource,
        edits: &[(&str, ConfigEdit)],
    ) -> Result<(), String> {
        let edits = edits.iter().map(|(key, edit)| ((*key).to_owned(), edit.clone())).collect();
        let wishes = vec![AlterSettings { resource, change: ConfigChange::Edit(edits) }];
        let file = Arc::default();
        let command = Command::AlterSettings { wishes, file, validate_only: false };
        let decision = decide(image, command, &());
        for record in &decision.records {
            assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(record), "what we wrote");
            assert!(matches!(image.apply(record), Change::Configured(_)));
        }
        let Reply::Altered(mut replies) = decision.reply else { panic!("{:?}", decision.reply) };
        replies.remove(0).map_err(|error| error.to_string())
    }

    fn alter_all(
        image: &mut Image,
        wishes: Vec<(Resource, &str, ConfigEdit)>,
    ) -> Vec<Result<(), String>> {
        let wish = |(resource, key, edit): (Resource, &str, ConfigEdit)| AlterSettings {
            resource,
            change: ConfigChange::Edit(vec![(key.to_owned(), edit)]),
        };
        let wishes = wishes.into_iter().map(wish).collect();
        let command = Command::AlterSettings { wishes, file: Arc::default(), validate_only: false };
        let decision = decide(image, command, &());
        for record in &decision.records {
            image.apply(record);
        }
        let Reply::Altered(replies) = decision.reply else { panic!("{:?}", decision.reply) };
        replies.into_iter().map(|reply| reply.map_err(|error| error.to_string())).collect()
    }

    fn set(value: &str) -> ConfigEdit {
        ConfigEdit::Set(value.to_owned())
    }

    #[test]
    fn what_is_set_for_one_broker_and_for_all_is_kept_apart_and_survives_a_snapshot() {
        let mut image = Image::default();
        alter(&mut image, Resource::Brokers, &[("log.retention.ms", set("8"))]).unwrap();
        alter(&mut image, Resource::Broker(BrokerId(1)), &[("log.retention.ms", set(" 7 "))])
            .unwrap();
        alter(
            &mut image,
            Resource::Group("g".into()),
            &[("consumer.session.timeout.ms", set("50000"))],
        )
        .unwrap();

        let mut again = Image::default();
        for record in image.to_records() {
            again.apply(&Record::decode(&record.encode()).unwrap());
        }

        assert_eq!(again.settings, image.settings);
        let file = BTreeMap::new();
        let layers = layers(&again, Some(BrokerId(1)), &file);
        assert_eq!(layers.set("log.retention.ms"), Some("7"));
        assert_eq!(layers.cluster.get("log.retention.ms").map(|value| &**value), Some("8"));
    }

    #[test]
    fn what_is_taken_back_is_as_if_it_had_never_been_set() {
        let mut image = Image::default();
        let before = image.clone();
        alter(&mut image, Resource::Brokers, &[("log.retention.ms", set("8"))]).unwrap();
        alter(&mut image, Resource::Brokers, &[("log.retention.ms", ConfigEdit::Delete)]).unwrap();
        assert_eq!(image, before);
        alter(&mut image, Resource::Brokers, &[("foo", ConfigEdit::Delete)]).unwrap();
        assert_eq!(image, before);
    }

    #[test]
    fn one_bad_value_keeps_all_of_a_resource_as_it_was() {
        let mut image = Image::default();
        let before = image.clone();
        let edits = [("message.max.bytes", set("9")), ("log.retention.ms", set("x"))];
        let said = alter(&mut image, Resource::Brokers, &edits).unwrap_err();
        assert!(said.ends_with("Not a number of type LONG"), "{said}");
        assert_eq!(image, before);
    }

    #[test]
    fn lists_grow_and_shrink_and_nothing_else_does() {
        let mut image = Image::default();
        let one = Resource::Broker(BrokerId(1));
        let append = |value: &str| ConfigEdit::Append(value.to_owned());
        let value = |image: &Image| {
            image.settings[&Resource::Broker(BrokerId(1))]["log.cleanup.policy"].to_string()
        };

        alter(&mut image, one.clone(), &[("log.cleanup.policy", append("compact"))]).unwrap();
        assert_eq!(value(&image), "delete,compact");
        let less = ConfigEdit::Subtract("delete".to_owned());
        alter(&mut image, one.clone(), &[("log.cleanup.policy", less)]).unwrap();
        assert_eq!(value(&image), "compact");
        for (resource, key, said) in [
            (
                one.clone(),
                "log.retention.ms",
                "Config value append is not allowed for config key: log.retention.ms",
            ),
            (one, "foo", "Unknown config name: foo"),
            (
                Resource::Group("g".into()),
                "consumer.session.timeout.ms",
                "Can't APPEND to key consumer.session.timeout.ms because its type is not LIST.",
            ),
            (
                Resource::ClientMetrics("m".into()),
                "metrics",
                "Can't APPEND to key metrics because its type is not LIST.",
            ),
        ] {
            assert_eq!(alter(&mut image, resource, &[(key, append("1"))]).unwrap_err(), said);
        }
    }

    #[test]
    fn nobody_fills_the_metadata_with_keys_that_nobody_knows() {
        let mut image = Image::default();
        let keys: Vec<String> = (0..=KEYS_MAX).map(|at| format!("key.{at}")).collect();
        let edits: Vec<_> = keys.iter().map(|key| (key.as_str(), set("x"))).collect();
        let said = alter(&mut image, Resource::Brokers, &edits).unwrap_err();
        assert_eq!(said, "More than 1000 keys of one resource.");
        alter(&mut image, Resource::Brokers, &edits[1..]).unwrap();
    }

    #[test]
    fn a_name_that_nobody_knows_is_no_longer_than_it_need_be() {
        let mut image = Image::default();
        let (fits, long) = ("k".repeat(1_024), "k".repeat(1_025));
        alter(&mut image, Resource::Brokers, &[(&fits, set("x"))]).unwrap();
        let said = alter(&mut image, Resource::Brokers, &[(&long, set("x"))]).unwrap_err();
        assert!(said.contains("exceeds the maximum name size of 1024 bytes"), "{said}");
        alter(&mut image, Resource::Brokers, &[(&long, ConfigEdit::Delete)]).unwrap();
    }

    #[test]
    fn two_wishes_of_one_request_that_are_only_wrong_together_are_not_both_granted() {
        const LIMIT: &str = "max.connections.per.ip";
        const OVERRIDES: &str = "max.connections.per.ip.overrides";
        let mut image = Image::default();
        let one = Resource::Broker(BrokerId(1));
        image.brokers.insert(BrokerId(1), crate::Broker::default());
        alter(&mut image, Resource::Brokers, &[(OVERRIDES, set("10.0.0.1:5"))]).unwrap();
        let (zero, taken_back) =
            ((one.clone(), LIMIT, set("0")), (Resource::Brokers, OVERRIDES, ConfigEdit::Delete));

        for wishes in [vec![zero.clone(), taken_back.clone()], vec![taken_back, zero]] {
            let mut image = image.clone();
            let said = alter_all(&mut image, wishes);
            assert_eq!(said[0], Ok(()));
            let refused = said[1].as_ref().unwrap_err();
            assert!(refused.contains("can be set to zero only if"), "{refused}");
            assert!(image.settings.len() <= 2);
        }
    }

    #[test]
    fn of_two_wishes_for_one_resource_the_second_adds_to_the_first() {
        let mut image = Image::default();
        let one = Resource::Broker(BrokerId(1));
        let wishes = vec![
            (one.clone(), "log.retention.ms", set("7")),
            (one.clone(), "log.retention.bytes", set("8")),
        ];
        assert_eq!(alter_all(&mut image, wishes), [Ok(()), Ok(())]);
        assert_eq!(image.settings[&one].len(), 2);
    }

    #[test]
    fn one_request_does_not_pass_the_bound_of_resources_either() {
        let mut image = Image::default();
        let key = "consumer.session.timeout.ms";
        let groups = (0..=RESOURCES_MAX).map(|at| Resource::Group(format!("g{at}").into()));
        let mut wishes: Vec<_> = groups.map(|group| (group, key, set("50000"))).collect();
        // One that is taken back makes room for another.
        wishes.push((Resource::Group("g0".into()), key, ConfigEdit::Delete));
        wishes.push((Resource::Group("last".into()), key, set("50000")));

        let said = alter_all(&mut image, wishes);

        let refused: Vec<_> = said.iter().enumerate().filter(|(_, said)| said.is_err()).collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(refused[0].0, RESOURCES_MAX);
        assert_eq!(image.settings.len(), RESOURCES_MAX);
    }

    #[test]
    fn a_group_and_a_subscription_need_a_name() {
        let mut image = Image::default();
        let edit = [("interval.ms", set("1000"))];
        let said = alter(&mut image, Resource::ClientMetrics("".into()), &edit).unwrap_err();
        assert_eq!(said, "Subscription name can't be empty");
        let said = alter(&mut image, Resource::Group("".into()), &[]).unwrap_err();
        assert_eq!(said, "Default group resources are not allowed.");
    }
}
