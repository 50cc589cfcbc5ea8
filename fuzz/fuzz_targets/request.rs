//! A frame as a client sends it: header, body, and the views of the hot requests.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use protocol::views::{FetchView, MetadataView, OffsetCommitView, ProduceView};
use protocol::{ApiKey, Reader, RequestHeader, for_each_api, messages};

macro_rules! bodies {
    ($(($api:ident, $request:ident, $response:ident))*) => {
        fn body(key: ApiKey, data: &[u8], version: i16) {
            match key {
                $(ApiKey::$api => fuzz::settles::<messages::$request>(data, version),)*
            }
        }
    };
}
for_each_api!(bodies);

fuzz_target!(|data: &[u8]| {
    let frame = Bytes::copy_from_slice(data);
    let mut reader = Reader::from(&frame);
    let Ok(Some(header)) = RequestHeader::decode(&mut reader) else { return };
    let (key, version) = (header.api_key, header.api_version);
    body(key, reader.rest(), version);
    // A view reads what the owned decode reads, and refuses what it refuses.
    macro_rules! view {
        ($view:ident, $request:ident) => {{
            use protocol::Wire;
            let owned = messages::$request::decode(&mut reader.clone(), version).map(|_| ());
            assert_eq!($view::read(&mut reader.clone(), version).map(|_| ()), owned);
        }};
    }
    match key {
        ApiKey::Produce => view!(ProduceView, ProduceRequest),
        ApiKey::Fetch => view!(FetchView, FetchRequest),
        ApiKey::Metadata => view!(MetadataView, MetadataRequest),
        ApiKey::OffsetCommit => view!(OffsetCommitView, OffsetCommitRequest),
        _ => {},
    }
});
