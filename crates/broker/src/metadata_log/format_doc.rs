//! The sample of `metadata/log` in `docs/storage-format.md`, encoded here and compared with the hex
//! printed there.

use std::fmt::Write;
use std::path::Path;

use base::{BrokerId, ProducerId, Uuid};
use metadata::{Image, Record};

use super::{encode_entry, encode_snapshot, replay};

const DOC: &str = include_str!("../../../../docs/storage-format.md");

#[test]
fn the_drawn_metadata_log_is_the_one_that_is_written() {
    let cluster_id = Uuid(std::array::from_fn(|at| 0xc0 + u8::try_from(at).unwrap_or(0)));
    let mut image = Image::default();
    image.apply(&Record::ClusterCreated { cluster_id });
    let entry = [
        Record::BrokerRegistered { id: BrokerId(1), rack: None, unclean: true },
        Record::ProducerIdsReserved { broker: BrokerId(1), next: ProducerId(1000) },
    ];
    let records = u64::try_from(image.to_records().len()).unwrap();
    let mut bytes = encode_snapshot(&image, records).to_vec();
    bytes.extend_from_slice(&encode_entry(records, &entry));

    let mut printed = String::new();
    for (at, line) in bytes.chunks(16).enumerate() {
        let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(printed, "{:04x}  {}", at * 16, hex.join(" ")).unwrap();
    }
    let block = DOC.split_once("```hex metadata\n").and_then(|(_, rest)| rest.split_once("```"));
    assert_eq!(block.map_or("", |(block, _)| block), printed, "it should be\n{printed}");
    let replayed = replay(Path::new("log"), &bytes).expect("intact");
    for record in &entry {
        image.apply(record);
    }
    assert_eq!((replayed.image, replayed.next_index), (image, records + 2));
}
