//! Batches go from `kafka-protocol` to us and back, for every codec and random records.
#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like a test")]

use base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as theirs;
use proptest::prelude::*;
use records::{
    BatchBuilder, Compression, Header, NewRecord, OPEN_BYTES_MAX, Producer, exactly_one,
};

type OwnedHeaders = std::collections::BTreeMap<String, Option<Vec<u8>>>;

/// A record that both sides can express (theirs has no repeated header names).
#[derive(Clone, Debug)]
struct Sample {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: OwnedHeaders,
}

fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..200))
}

fn sample() -> impl Strategy<Value = Sample> {
    let headers = prop::collection::btree_map("[a-zé]{0,5}", bytes(), 0..4);
    (0..1_i64 << 45, bytes(), bytes(), headers)
        .prop_map(|(timestamp, key, value, headers)| Sample { timestamp, key, value, headers })
}

fn their_codec(codec: Compression) -> theirs::Compression {
    match codec {
        Compression::None => theirs::Compression::None,
        Compression::Gzip => theirs::Compression::Gzip,
        Compression::Snappy => theirs::Compression::Snappy,
        Compression::Lz4 => theirs::Compression::Lz4,
        Compression::Zstd => theirs::Compression::Zstd,
    }
}

fn their_record(sample: &Sample, index: i64) -> theirs::Record {
    let headers: IndexMap<_, _> = sample
        .headers
        .iter()
        .map(|(key, value)| (StrBytes::from_string(key.clone()), value.clone().map(Bytes::from)))
        .collect();
    theirs::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 3,
        producer_id: 9,
        producer_epoch: 2,
        timestamp_type: theirs::TimestampType::Creation,
        offset: 100 + index,
        sequence: 50 + i32::try_from(index).unwrap(),
        timestamp: sample.timestamp,
        key: sample.key.clone().map(Bytes::from),
        value: sample.value.clone().map(Bytes::from),
        headers,
    }
}

fn their_records(samples: &[Sample]) -> Vec<theirs::Record> {
    (0..).zip(samples).map(|(index, sample)| their_record(sample, index)).collect()
}

fn our_batch(samples: &[Sample], codec: Compression) -> Bytes {
    let mut batch = BatchBuilder::new()
        .compression(codec)
        .assigned(Offset(100), LeaderEpoch(3))
        .producer(Producer { id: ProducerId(9), epoch: ProducerEpoch(2), base_sequence: Some(50) });
    for sample in samples {
        let headers: Vec<_> = sample
            .headers
            .iter()
            .map(|(key, value)| Header { key: key.as_bytes(), value: value.as_deref() })
            .collect();
        batch
            .push(&NewRecord {
                timestamp: Timestamp(sample.timestamp),
                key: sample.key.as_deref(),
                value: sample.value.as_deref(),
                headers: &headers,
            })
            .unwrap();
    }
    batch.finish_bytes().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn they_read_what_we_write(samples in prop::collection::vec(sample(), 1..20)) {
        for codec in Compression::ALL {
            let mut bytes = our_batch(&samples, codec);

            let read = theirs::RecordBatchDecoder::decode(&mut bytes).unwrap();

            prop_assert_eq!(&read.records, &their_records(&samples), "{}", codec);
            prop_assert_eq!(read.compression, their_codec(codec));
        }
    }

    #[test]
    fn we_read_what_they_write(samples in prop::collection::vec(sample(), 1..20)) {
        let written = their_records(&samples);
        for codec in Compression::ALL {
            let mut out = BytesMut::new();
            let options =
                theirs::RecordEncodeOptions { version: 2, compression: their_codec(codec) };
            theirs::RecordBatchEncoder::encode(&mut out, &written, &options).unwrap();

            let batch = exactly_one(&out.freeze()).unwrap();

            prop_assert_eq!(batch.verify_crc(), Ok(()));
            prop_assert_eq!(batch.header().base_offset, Offset(100));
            prop_assert_eq!(batch.header().leader_epoch(), Some(LeaderEpoch(3)));
            let set = batch.open(OPEN_BYTES_MAX).unwrap();
            let read: Vec<_> = set.iter().collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read.len(), written.len());
            for ((index, record), sample) in (100..).zip(&read).zip(&samples) {
                prop_assert_eq!(record.offset, Offset(index));
                prop_assert_eq!(record.timestamp, Timestamp(sample.timestamp));
                prop_assert_eq!(record.key, sample.key.as_deref());
                prop_assert_eq!(record.value, sample.value.as_deref());
                let headers: OwnedHeaders = record
                    .headers
                    .map(|h| (String::from_utf8(h.key.to_vec()).unwrap(), h.value.map(<[u8]>::to_vec)))
                    .collect();
                prop_assert_eq!(&headers, &sample.headers);
            }
        }
    }
}
