//! The records that clients write: each has a number that occurs once.

/// Which record of which producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId {
    /// The producer.
    pub client: u32,
    /// Its records, counted.
    pub number: u64,
}

impl RecordId {
    /// Bytes of the form that records carry.
    pub const LEN: usize = 12;

    /// The head of a record's value.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.client.to_be_bytes());
        bytes[4..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// The record whose value this is.
    pub fn from_value(value: &[u8]) -> Option<Self> {
        let (client, rest) = value.split_first_chunk::<4>()?;
        let (number, _) = rest.split_first_chunk::<8>()?;
        Some(Self { client: u32::from_be_bytes(*client), number: u64::from_be_bytes(*number) })
    }
}

impl std::fmt::Display for RecordId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.client, self.number)
    }
}
