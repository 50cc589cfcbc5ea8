//! Frames: a length of four bytes and that many bytes behind it.
//!
//! Owns: cutting a stream into frames, and building the frame of a whole request or response.
//! Invariant: a length that is refused is refused before anything is allocated for it.

use base::codec::{DecodeError, EncodeError, Message, Part, Reader, Wire as _, Writer};
use bytes::Bytes;
use smallvec::SmallVec;
use thiserror::Error;

use crate::{ApiKey, ClientId, Request, RequestHeader, ResponseHeader};

/// The bytes of the length in front of a frame.
pub const LENGTH_BYTES: usize = 4;

/// Why a frame is refused by its length alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a frame of {length} bytes, {bytes_max} at most")]
pub struct FrameLengthError {
    /// The length announced; it may be negative.
    pub length: i32,
    /// The largest allowed.
    pub bytes_max: usize,
}

/// How many bytes follow the length in front of a frame, once its four bytes are there.
///
/// # Errors
/// [`FrameLengthError`] for a negative length and one above `bytes_max`.
pub fn length(prefix: [u8; LENGTH_BYTES], bytes_max: usize) -> Result<usize, FrameLengthError> {
    let length = i32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(bytes) if bytes <= bytes_max => Ok(bytes),
        _ => Err(FrameLengthError { length, bytes_max }),
    }
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The frame, length included.
    pub parts: Vec<Part>,
    /// Error codes in it that are not 0, and how often each.
    pub errors: Vec<(i16, u32)>,
}

/// Bytes of a response that need no memory of their own.
pub const SHORT_BYTES_MAX: usize = 128;

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// Short and complete.
    Short(SmallVec<[u8; SHORT_BYTES_MAX]>),
    /// In pieces, some of which may lie elsewhere.
    Parts(Vec<Part>),
}

impl Framed {
    /// Bytes of it.
    pub fn len_bytes(&self) -> usize {
        match self {
            Self::Short(bytes) => bytes.len(),
            Self::Parts(parts) => parts.iter().map(Part::len).sum(),
        }
    }

    /// Bytes of it that are in memory.
    pub fn memory_bytes(&self) -> usize {
        let in_memory = |part: &Part| match part {
            Part::Bytes(bytes) => bytes.len(),
            Part::External { .. } => 0,
        };
        match self {
            Self::Short(bytes) => bytes.len(),
            Self::Parts(parts) => parts.iter().map(in_memory).sum(),
        }
    }
}

/// As [`response`], with the error codes that are not 0; `body` writes what follows the header.
///
/// # Errors
/// Those of `body`.
pub fn framed(
    api_key: ApiKey,
    api_version: i16,
    correlation_id: i32,
    body: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
) -> Result<(Framed, Vec<(i16, u32)>), EncodeError> {
    let mut writer = begun(api_key, api_version, correlation_id);
    body(&mut writer)?;
    ended(writer)
}

/// The beginning of a response's frame, behind which its body is to be written.
pub fn begun(api_key: ApiKey, api_version: i16, correlation_id: i32) -> Writer {
    let mut writer = Writer::with_capacity(256);
    writer.i32(0);
    ResponseHeader { correlation_id }.encode(&mut writer, api_key, api_version);
    writer
}

/// The frame of a response whose body was written behind its [beginning](begun).
///
/// # Errors
/// [`EncodeError::Length`] if it is longer than a frame can be.
pub fn ended(mut writer: Writer) -> Result<(Framed, Vec<(i16, u32)>), EncodeError> {
    let errors = writer.take_errors();
    let framed = match writer.whole_frame() {
        Some(whole) if whole.len() <= SHORT_BYTES_MAX => Framed::Short(whole.into()),
        _ => Framed::Parts(writer.into_frame()?),
    };
    Ok((framed, errors))
}

/// A whole frame, length included, that answers a request.
///
/// # Errors
/// [`EncodeError`] if the body cannot be written in that version.
pub fn response<M: Message>(
    api_key: ApiKey,
    api_version: i16,
    correlation_id: i32,
    body: &M,
) -> Result<Response, EncodeError> {
    let mut writer = Writer::with_capacity(256);
    writer.i32(0);
    ResponseHeader { correlation_id }.encode(&mut writer, api_key, api_version);
    body.encode(&mut writer, api_version)?;
    let errors = writer.take_errors();
    Ok(Response { parts: writer.into_frame()?, errors })
}

/// A whole frame, length included, that asks something. Used by clients: tests, tools, bench.
///
/// # Errors
/// [`EncodeError`] if the body cannot be written in that version.
pub fn request<R: Request>(
    api_version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    body: &R,
) -> Result<Vec<Part>, EncodeError> {
    let mut writer = Writer::with_capacity(256);
    writer.i32(0);
    let client_id = client_id.map(ClientId::from);
    RequestHeader { api_key: R::KEY, api_version, correlation_id, client_id }
        .encode(&mut writer)?;
    body.encode(&mut writer, api_version)?;
    writer.into_frame()
}

/// The body of an answer to a request of type `R`, and its correlation id. `frame` is without its
/// length. Used by clients.
///
/// # Errors
/// [`DecodeError`] if it is not such an answer; bytes behind it are an error, too.
pub fn read_response<R: Request>(
    frame: &Bytes,
    api_version: i16,
) -> Result<(i32, R::Response), DecodeError> {
    let mut reader = Reader::from(frame);
    let header = ResponseHeader::decode(&mut reader, R::KEY, api_version)?;
    let body = R::Response::decode(&mut reader, api_version)?;
    reader.finish()?;
    Ok((header.correlation_id, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use crate::messages::{ApiVersionsResponse, FetchResponse, MetadataRequest};
    use crate::{Records, header::RequestStart};

    fn joined(parts: &[Part]) -> Bytes {
        let mut out = Vec::new();
        for part in parts {
            let Part::Bytes(bytes) = part else { panic!("all in memory") };
            out.extend_from_slice(bytes);
        }
        out.into()
    }

    #[test]
    fn a_length_is_refused_before_anything_is_allocated_for_it() {
        assert_eq!(length([0, 0, 0, 100], 100), Ok(100));
        assert_eq!(
            length([0, 0, 0, 101], 100),
            Err(FrameLengthError { length: 101, bytes_max: 100 })
        );
        assert_eq!(length([0xff; 4], 100), Err(FrameLengthError { length: -1, bytes_max: 100 }));
    }

    #[test]
    fn records_that_lie_elsewhere_become_a_part_with_the_length_counted_in() {
        let body = FetchResponse {
            responses: vec![FetchableTopicResponse {
                topic: "test".into(),
                partitions: vec![PartitionData {
                    records: Records::External { token: 3, length: 1 << 20 },
                    ..PartitionData::default()
                }],
                ..FetchableTopicResponse::default()
            }],
            ..FetchResponse::default()
        };

        let answer = response(ApiKey::Fetch, 12, 77, &body).expect("all in version 12");

        let [Part::Bytes(head), Part::External { token: 3, length: 1_048_576 }, Part::Bytes(tail)] =
            answer.parts.as_slice()
        else {
            panic!("three parts: {answer:?}")
        };
        let total = i32::from_be_bytes(*head.first_chunk().expect("a length"));
        let counted = head.len() - LENGTH_BYTES + (1 << 20) + tail.len();
        assert_eq!(usize::try_from(total), Ok(counted));
        // Three empty tag sections: of the partition, the topic and the response.
        assert_eq!(tail.as_ref(), [0, 0, 0]);
    }

    #[test]
    fn an_answer_says_which_errors_it_tells_and_how_often() {
        let of = |error_code| PartitionData { error_code, ..PartitionData::default() };
        let topic = |partitions| FetchableTopicResponse {
            topic: "test".into(),
            partitions,
            ..FetchableTopicResponse::default()
        };
        let body = FetchResponse {
            responses: vec![topic(vec![of(3), of(0)]), topic(vec![of(6), of(3)])],
            ..FetchResponse::default()
        };

        let answer = response(ApiKey::Fetch, 12, 77, &body).expect("all in version 12");

        assert_eq!(answer.errors, [(3, 2), (6, 1)]);
    }

    #[test]
    fn an_api_versions_answer_has_no_tags_in_its_header_in_any_version() {
        let answer = response(ApiKey::ApiVersions, 3, 1, &ApiVersionsResponse::default());

        let bytes = joined(&answer.expect("all in version 3").parts);
        // Length, correlation id, error code, no keys, throttle time, no tags.
        assert_eq!(bytes.as_ref(), [0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_request_reads_back_header_and_body() {
        let body = MetadataRequest { topics: None, ..MetadataRequest::default() };

        let frame = joined(&request(12, 9, Some("me"), &body).expect("all in version 12"));

        let frame = frame.slice(LENGTH_BYTES..);
        let mut reader = Reader::from(&frame);
        assert_eq!(RequestStart::peek(&reader), Ok(RequestStart { api_key: 3, api_version: 12 }));
        let header = RequestHeader::decode(&mut reader);
        let expected = RequestHeader {
            api_key: ApiKey::Metadata,
            api_version: 12,
            correlation_id: 9,
            client_id: Some("me".into()),
        };
        assert_eq!(header, Ok(Some(expected)));
        assert_eq!(MetadataRequest::decode(&mut reader, 12), Ok(body));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn an_unknown_key_is_no_header_and_leaves_the_reader_where_it_was() {
        let mut reader = Reader::from(&[0, 4, 0, 0, 0, 0, 0, 1, 0xff, 0xff][..]);

        assert_eq!(RequestHeader::decode(&mut reader), Ok(None));
        assert_eq!(reader.remaining(), 10);
    }
}
