//! Keys and values of the coordinators' topics: which record, which half, version, then the bytes.
#![no_main]

use base::codec::Reader;
use coordinator::{for_each_record, generated};
use libfuzzer_sys::fuzz_target;

macro_rules! records {
    ($(($record:ident, $key:ident, $value:ident))*) => {
        const RECORDS: &[(fn(&[u8], i16), fn(&[u8], i16))] = &[
            $((fuzz::settles::<generated::$key>, fuzz::settles::<generated::$value>),)*
        ];
    };
}
for_each_record!(records);

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::from(data);
    let (Ok(which), Ok(half), Ok(version)) = (reader.u8(), reader.bool(), reader.i8()) else {
        return;
    };
    let (key, value) = RECORDS[usize::from(which) % RECORDS.len()];
    if half { key(reader.rest(), version.into()) } else { value(reader.rest(), version.into()) }
});
