//! What values must satisfy beyond their own type and bounds, in Kafka's words.
//!
//! Owns: the rules between keys, and which keys may change while a broker runs. Invariant: nothing here
//! depends on more than the values it is given.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Configs, Layers, Update, broker_key, client_metrics_key, group_key, topic_key};

/// Keys of TLS that may change for a listener, and not for the broker.
const OF_LISTENERS: [&str; 10] = [
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];
/// What a subscription to client metrics may match by.
const MATCHED: [&str; 6] = [
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// What is wrong with a topic that has these values of its own, each sound by itself.
pub fn topic_fault(own: &Configs, layers: &Layers<'_>) -> Option<String> {
    let number = |name: &str| {
        let value = layers.effective(topic_key(name)?, own)?;
        value.trim().parse::<i64>().ok()
    };
    let (min, max) = (number("min.compaction.lag.ms")?, number("max.compaction.lag.ms")?);
    if min > max {
        return Some(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        ));
    }
    let is_remote =
        own.get("remote.storage.enable").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    is_remote.then(|| {
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
            .to_owned()
    })
}

/// What is wrong with these values of broker keys that were set while brokers run, for one broker or
/// for all of them.
pub fn dynamic_fault(values: &Configs, for_one: bool, layers: &Layers<'_>) -> Option<String> {
    let keys = || values.keys().filter_map(|name| broker_key(name));
    let named = |names: Vec<&str>| (!names.is_empty()).then(|| format!("[{}]", names.join(", ")));
    let fixed = keys().filter(|key| key.update == Update::ReadOnly).map(|key| key.name);
    if let Some(names) = named(fixed.collect()) {
        return Some(format!("Cannot update these configs dynamically: {names}"));
    }
    let of_listeners = keys().filter(|key| OF_LISTENERS.contains(&key.name)).map(|key| key.name);
    if let Some(names) = named(of_listeners.collect()) {
        return Some(format!(
            "These security configs can be dynamically updated only per-listener using the listener prefix: {names}"
        ));
    }
    for (name, value) in values {
        if let Some(Err(error)) = broker_key(name).map(|key| key.check(value)) {
            return Some(error.to_string());
        }
    }
    let of_one = keys().filter(|key| key.update == Update::PerBroker).map(|key| key.name);
    if !for_one && let Some(names) = named(of_one.collect()) {
        return Some(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: {names}"
        ));
    }
    layers_fault(layers)
}

/// What is wrong between the values in force of a broker's keys, each sound by itself, wherever they
/// are set.
pub fn layers_fault(layers: &Layers<'_>) -> Option<String> {
    file_fault(|name| layers.value(name).map(str::to_owned)).or_else(|| local_fault(layers))
}

/// What is wrong between the values of a broker's keys, each sound by itself.
pub fn file_fault(value: impl Fn(&str) -> Option<String>) -> Option<String> {
    let number = |name: &str| value(name).and_then(|value| value.trim().parse::<i64>().ok());
    let required = |what: &str| Some(format!("requirement failed: {what}"));
    if number("log.roll.ms").is_some_and(|millis| millis < 1) {
        return required("log.roll.ms must be greater than or equal to 1");
    }
    for unit in ["ms", "minutes", "hours"] {
        if number(&format!("log.retention.{unit}")) == Some(0) {
            return required(&format!(
                "log.retention.{unit} must be unlimited (-1) or, greater than or equal to 1"
            ));
        }
    }
    let (map, threads) = (number("log.cleaner.dedupe.buffer.size"), number("log.cleaner.threads"));
    if let (Some(map), Some(threads)) = (map, threads)
        && map.checked_div(threads).is_some_and(|each| each <= 1024 * 1024)
    {
        return required("log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.");
    }
    let overrides = value("max.connections.per.ip.overrides").unwrap_or_default();
    if number("max.connections.per.ip") == Some(0) && overrides.trim().is_empty() {
        return required(
            "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
        );
    }
    connections_per_ip(&overrides).err()
}

fn local_fault(layers: &Layers<'_>) -> Option<String> {
    let retention = layers.inherited(topic_key("retention.ms")?);
    let retention = retention.as_deref().unwrap_or("604800000").parse::<i64>().ok()?;
    let local = layers.value("log.local.retention.ms")?.trim().parse::<i64>().ok()?;
    let too_long = local != -2 && retention != -1 && (local == -1 || local > retention);
    too_long.then(|| {
        format!(
            "Invalid value org.apache.kafka.common.config.ConfigException: Invalid value {local} for configuration log.local.retention.ms: Value must not be more than log.retention.ms property value: {retention} for configuration Invalid dynamic configuration"
        )
    })
}

/// `max.connections.per.ip.overrides` as addresses and limits. A name that is no address is passed
/// over: there is nobody to ask for it.
///
/// # Errors
/// What Kafka says of a list that does not parse.
pub fn connections_per_ip(list: &str) -> Result<BTreeMap<IpAddr, usize>, String> {
    let mut limits = BTreeMap::new();
    for one in list.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let Some((address, count)) = one.rsplit_once(':') else {
            return Err(format!(
                "Error parsing configuration property 'max.connections.per.ip.overrides': begin 0, end -1, length {}",
                one.len()
            ));
        };
        let count =
            count.trim().parse::<i32>().map_err(|_| format!("For input string: \"{count}\""))?;
        let address = match address.trim() {
            "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
            address => address.trim_matches(['[', ']']).parse::<IpAddr>(),
        };
        if let Ok(address) = address {
            limits.insert(address, usize::try_from(count).unwrap_or(0));
        }
    }
    Ok(limits)
}

/// What is wrong with these values of a group, each key of which is known.
pub fn group_fault(values: &Configs, layers: &Layers<'_>) -> Option<String> {
    for (name, value) in values {
        match group_key(name).map(|key| key.check(value)) {
            None => return Some(format!("Unknown group config name: {name}")),
            Some(Err(error)) => return Some(error.to_string()),
            Some(Ok(())) => {},
        }
    }
    for (name, value) in values {
        let Some((kind, what)) = name.split_once('.') else { continue };
        let Ok(number) = value.trim().parse::<i64>() else { continue };
        let limit = |end: &str| {
            layers.value(&format!("group.{kind}.{end}.{what}")).and_then(|v| v.parse::<i64>().ok())
        };
        match (limit("min"), limit("max")) {
            (Some(min), Some(max)) if !(min..=max).contains(&number) => {
                return Some(format!("{name} must be in the range {min} to {max} inclusive."));
            },
            _ => {},
        }
        if &**name == "streams.num.standby.replicas" {
            let max =
                layers.value("group.streams.max.standby.replicas").and_then(|v| v.parse().ok());
            if let Some(max) = max.filter(|max: &i64| number > *max) {
                return Some(format!("{name} must be less than or equal to {max}"));
            }
        }
    }
    None
}

/// What is wrong with a subscription to client metrics, and whether it is the value of a known key that
/// has the wrong type or form.
pub fn metrics_fault(values: &Configs) -> Option<(bool, String)> {
    for name in values.keys() {
        if client_metrics_key(name).is_none() {
            return Some((false, format!("Unknown client metrics configuration: {name}")));
        }
    }
    if let Some(value) = values.get("interval.ms") {
        if let Some(Err(error)) = client_metrics_key("interval.ms").map(|key| key.check(value)) {
            return Some((true, error.to_string()));
        }
        let millis = value.trim().parse::<i64>().unwrap_or(0);
        if !(100..=3_600_000).contains(&millis) {
            return Some((
                false,
                format!(
                    "Invalid value {millis} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
                ),
            ));
        }
    }
    let patterns = values.get("match").map(|patterns| patterns.trim()).unwrap_or_default();
    for pattern in patterns.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()) {
        let sound = pattern.split_once('=').is_some_and(|(name, _)| MATCHED.contains(&name.trim()));
        if !sound {
            return Some((true, format!("Illegal client matching pattern: {pattern}")));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn configs(pairs: &[(&str, &str)]) -> Configs {
        pairs.iter().map(|(key, value)| (Arc::from(*key), Arc::from(*value))).collect()
    }

    fn dynamic(for_one: bool, name: &str, value: &str) -> String {
        let (values, nothing, file) = (configs(&[(name, value)]), configs(&[]), BTreeMap::new());
        let layers = if for_one {
            Layers { broker: &values, cluster: &nothing, file: &file }
        } else {
            Layers { broker: &nothing, cluster: &values, file: &file }
        };
        dynamic_fault(&values, for_one, &layers).unwrap_or_default()
    }

    #[test]
    fn a_broker_key_changes_while_it_runs_or_is_refused_in_kafkas_words() {
        for (key, value, said) in [
            ("foo", "bar", ""),
            ("log.retention.ms", "-5", ""),
            ("log.cleanup.policy", "compact", ""),
            ("node.id", "2", "Cannot update these configs dynamically: [node.id]"),
            (
                "log.retention.hours",
                "5",
                "Cannot update these configs dynamically: [log.retention.hours]",
            ),
            (
                "log.retention.ms",
                "abc",
                "Invalid value abc for configuration log.retention.ms: Not a number of type LONG",
            ),
            (
                "log.retention.ms",
                "0",
                "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
            ),
            (
                "log.roll.ms",
                "0",
                "requirement failed: log.roll.ms must be greater than or equal to 1",
            ),
            (
                "log.cleaner.dedupe.buffer.size",
                "100",
                "requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
            ),
            (
                "max.connections.per.ip",
                "0",
                "requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
            ),
            ("max.connections.per.ip.overrides", "127.0.0.1:5", ""),
            (
                "max.connections.per.ip.overrides",
                "bogus",
                "Error parsing configuration property 'max.connections.per.ip.overrides': begin 0, end -1, length 5",
            ),
            ("max.connections.per.ip.overrides", "127.0.0.1:x", "For input string: \"x\""),
            (
                "ssl.keystore.location",
                "/x",
                "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.location]",
            ),
        ] {
            assert_eq!(dynamic(false, key, value), said, "{key}={value}");
            assert_eq!(dynamic(true, key, value), said, "{key}={value} of one broker");
        }
        assert_eq!(
            dynamic(false, "sasl.jaas.config", "x"),
            "Cannot update these configs at default cluster level, broker id must be specified: [sasl.jaas.config]"
        );
        assert_eq!(dynamic(true, "sasl.jaas.config", "x"), "");
    }

    #[test]
    fn a_topic_is_judged_with_what_it_inherits() {
        let (nothing, file) = (configs(&[]), BTreeMap::new());
        let cluster = configs(&[("log.cleaner.max.compaction.lag.ms", "20")]);
        let layers = Layers { broker: &nothing, cluster: &cluster, file: &file };

        assert_eq!(topic_fault(&nothing, &layers), None);
        let own = configs(&[("min.compaction.lag.ms", "50")]);
        assert_eq!(
            topic_fault(&own, &layers).as_deref(),
            Some(
                "conflict topic config setting min.compaction.lag.ms (50) > max.compaction.lag.ms (20)"
            )
        );
    }

    #[test]
    fn groups_and_subscriptions_are_judged_in_kafkas_words() {
        let (nothing, file) = (configs(&[]), BTreeMap::new());
        let layers = Layers { broker: &nothing, cluster: &nothing, file: &file };
        let group = |key: &str, value: &str| {
            group_fault(&configs(&[(key, value)]), &layers).unwrap_or_default()
        };
        assert_eq!(group("consumer.session.timeout.ms", "50000"), "");
        assert_eq!(
            group("consumer.session.timeout.ms", "1"),
            "consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive."
        );
        assert_eq!(group("foo", "1"), "Unknown group config name: foo");
        assert_eq!(
            group("streams.num.standby.replicas", "9"),
            "streams.num.standby.replicas must be less than or equal to 2"
        );
        let metrics = |key: &str, value: &str| metrics_fault(&configs(&[(key, value)]));
        assert_eq!(metrics("match", "client_id=a"), None);
        assert_eq!(
            metrics("match", "bogus"),
            Some((true, "Illegal client matching pattern: bogus".to_owned()))
        );
        assert_eq!(
            metrics("interval.ms", "1"),
            Some((false, "Invalid value 1 for interval.ms, interval must be between 100 and 3600000 (1 hour)".to_owned()))
        );
    }
}
