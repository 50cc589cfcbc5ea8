//! The headers in front of requests and responses.
//!
//! Owns: their layout. The version of a header follows from the API and its version, see
//! `ApiKey::request_header_version`. Source: KIP-482; the client id is never compact.

use base::codec::{DecodeError, EncodeError, Reader, Writer};
use smallvec::SmallVec;

use crate::ApiKey;

/// The first four bytes of a request, which can be read before its header version is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestStart {
    /// The number of the API; it may be one that nobody knows.
    pub api_key: i16,
    /// The version of the API.
    pub api_version: i16,
}

impl RequestStart {
    /// Reads key and version and leaves the reader where it was.
    ///
    /// # Errors
    /// [`DecodeError::End`] if there are fewer than four bytes.
    pub fn peek(reader: &Reader<'_>) -> Result<Self, DecodeError> {
        let mut reader = reader.clone();
        Ok(Self { api_key: reader.i16()?, api_version: reader.i16()? })
    }
}

/// What a client calls itself. Names of the usual length need no memory of their own: every request
/// has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientId(SmallVec<[u8; 32]>);

impl ClientId {
    /// The name.
    pub fn as_str(&self) -> &str {
        // It was text when it came in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<&str> for ClientId {
    fn from(text: &str) -> Self {
        Self(SmallVec::from_slice(text.as_bytes()))
    }
}

/// The header of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// What is asked for.
    pub api_key: ApiKey,
    /// In which version; it may be one that the codec does not know.
    pub api_version: i16,
    /// Chosen by the client, repeated in the answer.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<ClientId>,
}

impl RequestHeader {
    /// Reads a header, or nothing if the key is unknown (the reader is then where it was).
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not a header.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let start = RequestStart::peek(reader)?;
        let Some(api_key) = ApiKey::from_i16(start.api_key) else { return Ok(None) };
        reader.take(4)?;
        let correlation_id = reader.i32()?;
        let client_id = reader.nullable_str(false)?.map(ClientId::from);
        if api_key.request_header_version(start.api_version) >= 2 {
            reader.skip_tags()?;
        }
        Ok(Some(Self { api_key, api_version: start.api_version, correlation_id, client_id }))
    }

    /// Appends the header.
    ///
    /// # Errors
    /// [`EncodeError::Length`] if the client id is too long.
    pub fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.i16(self.api_key.to_i16());
        writer.i16(self.api_version);
        writer.i32(self.correlation_id);
        writer.nullable_string(self.client_id.as_ref().map(ClientId::as_str), false)?;
        if self.api_key.request_header_version(self.api_version) >= 2 {
            writer.uvarint(0);
        }
        Ok(())
    }
}

/// The header of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    /// Of the request that is answered.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of an answer to such a request.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not a header.
    pub fn decode(
        reader: &mut Reader<'_>,
        api_key: ApiKey,
        api_version: i16,
    ) -> Result<Self, DecodeError> {
        let correlation_id = reader.i32()?;
        if api_key.response_header_version(api_version) >= 1 {
            reader.skip_tags()?;
        }
        Ok(Self { correlation_id })
    }

    /// Appends the header of an answer to such a request.
    pub fn encode(self, writer: &mut Writer, api_key: ApiKey, api_version: i16) {
        writer.i32(self.correlation_id);
        if api_key.response_header_version(api_version) >= 1 {
            writer.uvarint(0);
        }
    }
}
