//! The `identity` file: who the directory belongs to. Written once.

use base::{BrokerId, Uuid};

use crate::codec::{FormatError, Reader, frame, put_text, unframe};

const MAGIC: [u8; 8] = *b"GRGIDENT";
const VERSION: u16 = 1;
/// Longest cluster id in bytes; Kafka's own have 22.
pub(crate) const CLUSTER_ID_MAX: usize = 64;

/// Who the directory belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster, 1 to 64 bytes.
    pub cluster_id: String,
    /// The node.
    pub node_id: BrokerId,
    /// This directory, made up on the first start.
    pub dir_id: Uuid,
}

/// The whole file: `node id i32, directory id 16, cluster id (length u8, text)` in a frame.
pub fn encode_identity(identity: &Identity) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&identity.node_id.0.to_le_bytes());
    body.extend_from_slice(&identity.dir_id.0);
    put_text(&mut body, &identity.cluster_id);
    frame(MAGIC, VERSION, &body)
}

/// Reads the whole file.
///
/// # Errors
/// [`FormatError`] if it is not exactly what [`encode_identity`] writes.
pub fn decode_identity(bytes: &[u8]) -> Result<Identity, FormatError> {
    let mut reader = Reader::new(unframe(bytes, MAGIC, VERSION)?);
    let node_id = BrokerId(reader.i32()?);
    let dir_id = Uuid(reader.array()?);
    let cluster_id = reader.text(CLUSTER_ID_MAX, "cluster id")?;
    reader.finish()?;
    if cluster_id.is_empty() {
        return Err(FormatError::Field("cluster id"));
    }
    Ok(Identity { cluster_id, node_id, dir_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_gives_back_what_was_written() {
        let identity =
            Identity { cluster_id: "c".into(), node_id: BrokerId(7), dir_id: Uuid([3; 16]) };
        assert_eq!(decode_identity(&encode_identity(&identity)), Ok(identity));
    }
}
