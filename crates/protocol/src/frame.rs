//! Frames: a length of four bytes and that many bytes behind it.
//!
//! Owns: cutting a stream into frames, and building the frame of a whole request or response.
//! Invariant: a length that is refused is refused before anything is allocated for it.

use base::codec::{DecodeError, EncodeError, Message, Part, Reader, Wire as _, Writer};
use bytes::Bytes;
use thiserror::Error;

use crate::{ApiKey, Request, RequestHeader, ResponseHeader};

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

/// A whole frame, length included, that answers a request.
///
/// # Errors
/// [`EncodeError`] if the body cannot be written in that version.
pub fn response<M: Message>(
    api_key: ApiKey,
    api_version: i16,
    correlation_id: i32,
    body: &M,
) -> Result<Vec<Part>, EncodeError> {
    let mut writer = Writer::with_capacity(256);
    writer.i32(0);
    ResponseHeader { correlation_id }.encode(&mut writer, api_key, api_version);
    body.encode(&mut writer, api_version)?;
    writer.into_frame()
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
    let client_id = client_id.map(str::to_owned);
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
