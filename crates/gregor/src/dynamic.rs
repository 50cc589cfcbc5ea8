//! `gregor serve --drop-dynamic KEY`: takes back what was set while brokers ran, before anybody is
//! served.
//!
//! The way out for whoever has set a broker so that no client reaches it any more (`max.connections`,
//! say), and with that nothing that could set it otherwise. Invariants: the layers of this broker and
//! of all brokers lose these keys and no other, durably, as by `gregor config alter --delete`; what is
//! taken back is logged with its value, so that it can be set again.

use base::BrokerId;
use broker::Broker;
use broker::api::{AlterSettings, ConfigChange, ConfigEdit, Resource};
use env_tokio::TokioEnv;
use tracing::warn;

use crate::failure::Failure;

/// Takes these keys back.
///
/// # Errors
/// [`Failure::Start`] if what is left would be wrong, or cannot be made durable.
pub async fn drop_settings(
    broker: &Broker<TokioEnv>,
    node: BrokerId,
    keys: &[String],
) -> Result<(), Failure> {
    let mut wishes = Vec::new();
    let view = broker.cluster();
    for resource in [Resource::Broker(node), Resource::Brokers] {
        let of = match resource {
            Resource::Broker(_) => "this broker",
            _ => "all brokers",
        };
        let set = view.settings_of(&resource);
        let found = keys.iter().filter_map(|key| Some((key, set.get(key.as_str())?)));
        let edit = |(key, value): (&String, &std::sync::Arc<str>)| {
            warn!("--drop-dynamic: {key}={value}, set for {of} while it ran, is taken back");
            (key.clone(), ConfigEdit::Delete)
        };
        let edits: Vec<_> = found.map(edit).collect();
        if !edits.is_empty() {
            wishes.push(AlterSettings { resource, change: ConfigChange::Edit(edits) });
        }
    }
    if wishes.is_empty() {
        warn!("--drop-dynamic: nothing of it was set while brokers ran");
        return Ok(());
    }
    // What one of them hides may be as wrong: taking that back first lets the other go as well.
    let mut left = Vec::new();
    for (wish, outcome) in wishes.iter().zip(broker.alter_settings(wishes.clone(), false).await) {
        if outcome.is_err() {
            left.push(wish.clone());
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    for outcome in broker.alter_settings(left, false).await {
        outcome.map_err(|error| Failure::Start(format!("--drop-dynamic: {error}")))?;
    }
    Ok(())
}
