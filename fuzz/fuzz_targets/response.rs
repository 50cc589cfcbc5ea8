//! The body of a response, as our own client reads it: key, version, then the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{ApiKey, Reader, for_each_api, messages};

macro_rules! bodies {
    ($(($api:ident, $request:ident, $response:ident))*) => {
        fn body(key: ApiKey, data: &[u8], version: i16) {
            match key {
                $(ApiKey::$api => fuzz::settles::<messages::$response>(data, version),)*
            }
        }
    };
}
for_each_api!(bodies);

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::from(data);
    let (Ok(key), Ok(version)) = (reader.i8(), reader.i8()) else { return };
    let Some(key) = ApiKey::from_i16(key.into()) else { return };
    body(key, reader.rest(), version.into());
});
