//! What is said of keys whose subject this broker does not have.

pub(crate) const BETWEEN: &str = "Between brokers; this version has one.";
pub(crate) const CONSUMER: &str =
    "Groups of the consumer protocol (KIP-848) are not served in this version.";
pub(crate) const CONTROLLER: &str = "Kafka's controllers; this broker has its controller inside.";
pub(crate) const COORDINATOR: &str = "Inside Kafka's coordinators; ours work otherwise.";
pub(crate) const JAVA: &str = "Java classes that Kafka loads; there are none here.";
pub(crate) const METRICS: &str = "Kafka's metrics and those of its clients.";
pub(crate) const PURGATORY: &str =
    "Kafka's lists of waiting requests; ours are kept tidy as they change.";
pub(crate) const QUOTAS: &str = "Quotas are not served in this version.";
pub(crate) const REPLICAS: &str = "Replication; there is one replica in this version.";
pub(crate) const SASL: &str = "SASL is not served in this version.";
pub(crate) const SHARE: &str = "Share groups are not served in this version.";
pub(crate) const STREAMS: &str = "Streams groups are not served in this version.";
pub(crate) const TIERED: &str = "Tiered storage, which this broker does not have.";
pub(crate) const TLS: &str = "TLS is not served in this version.";
pub(crate) const TOKENS: &str = "Delegation tokens are not served in this version.";
pub(crate) const TRANSACTIONS: &str = "Transactions are not served in this version.";
