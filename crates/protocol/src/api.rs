//! Which versions exist, which are advertised, and which header goes with which.
//!
//! Owns: the rules that are not in the message descriptions. Source: KIP-482, KIP-511, KAFKA-18659,
//! and what a genuine Kafka 4.4.0 node advertises.

use base::codec::Message;

use crate::ApiKey;

/// The versions of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiVersions {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
    /// The first with compact lengths and tagged fields, if there is one.
    pub flexible_min: Option<i16>,
    /// Whether the highest is not released yet.
    pub latest_unstable: bool,
}

/// A request and what answers it.
pub trait Request: Message {
    /// Its key.
    const KEY: ApiKey;
    /// What answers it.
    type Response: Message;
}

impl ApiKey {
    /// Whether the codec knows `version`.
    pub fn has_version(self, version: i16) -> bool {
        let ApiVersions { min, max, .. } = self.versions();
        min <= version && version <= max
    }

    /// The range that Kafka 4.4 advertises to clients, lowest first; nothing for the two keys that
    /// it hides without a metrics plug-in. Unstable versions are left out, and Produce starts at
    /// 0, because librdkafka derives features from that (0 to 2 are refused all the same).
    pub fn advertised(self) -> Option<(i16, i16)> {
        let ApiVersions { min, max, latest_unstable, .. } = self.versions();
        match self {
            Self::GetTelemetrySubscriptions | Self::PushTelemetry => None,
            Self::Produce => Some((0, max)),
            _ if latest_unstable => Some((min, max.saturating_sub(1))),
            _ => Some((min, max)),
        }
    }

    /// Whether `version` has compact lengths and tagged fields.
    pub fn is_flexible(self, version: i16) -> bool {
        self.versions().flexible_min.is_some_and(|min| version >= min)
    }

    /// The version of the header in front of such a request.
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the header in front of the answer: always 0 for ApiVersions, whose client
    /// does not know yet what the broker speaks.
    pub fn response_header_version(self, version: i16) -> i16 {
        i16::from(self != Self::ApiVersions && self.is_flexible(version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_advertised_is_what_kafka_4_4_advertises() {
        let advertised: Vec<_> = ApiKey::ALL.iter().filter_map(|key| key.advertised()).collect();

        assert_eq!(advertised.len(), 77);
        assert_eq!(ApiKey::Produce.advertised(), Some((0, 13)));
        assert_eq!(ApiKey::InitProducerId.advertised(), Some((0, 5)));
        assert_eq!(ApiKey::ApiVersions.advertised(), Some((0, 5)));
        assert_eq!(ApiKey::PushTelemetry.advertised(), None);
    }

    #[test]
    fn numbers_and_keys_are_one_to_one() {
        for key in ApiKey::ALL {
            assert_eq!(ApiKey::from_i16(key.to_i16()), Some(*key));
        }
        assert_eq!(ApiKey::from_i16(4), None);
        assert_eq!(ApiKey::from_i16(-1), None);
    }

    #[test]
    fn the_header_of_an_api_versions_answer_never_has_tags() {
        assert_eq!(ApiKey::ApiVersions.request_header_version(3), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(3), 0);
        assert_eq!(ApiKey::Produce.response_header_version(8), 0);
        assert_eq!(ApiKey::Produce.response_header_version(9), 1);
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
    }
}
