//! What the front door counts, held against what was asked of it.

use std::time::Duration;

use broker::api::Acks;
use protocol::ApiKey;
use wire::ErrorCode;
use wire::client::Read;
use wire::server::{ApiMeasures, ServerMeasures};

use crate::world::{Served, World, batch, framed};

fn of(measures: &ServerMeasures, key: ApiKey) -> ApiMeasures {
    measures.apis.iter().find(|api| api.key == key).expect("it was asked").clone()
}

#[test]
fn requests_are_counted_with_their_bytes_times_and_errors() {
    World::new("counted").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut client = served.client().await;
            let soon = served.soon();
            for value in ["a", "b", "c"] {
                client.produce(("t", 0), Acks::All, batch(&[value]), soon).await.expect("written");
            }
            let read = Read::from(99, Duration::ZERO);
            client.fetch(("t", 0), read, soon).await.expect_err("out of range");

            let measures = served.server.measure();

            let produce = of(&measures, ApiKey::Produce);
            assert_eq!((produce.requests, produce.times.count()), (3, 3));
            assert!(produce.request_bytes > 3 * u64::try_from(batch(&["a"]).len()).unwrap());
            assert!(produce.response_bytes > 3 * 20, "{produce:?}");
            assert_eq!(produce.errors, []);
            let fetch = of(&measures, ApiKey::Fetch);
            assert_eq!((fetch.requests, fetch.times.count()), (1, 1));
            assert_eq!(fetch.errors, [(ErrorCode::OFFSET_OUT_OF_RANGE, 1)]);
            assert!(measures.apis.iter().all(|api| api.key != ApiKey::JoinGroup), "nobody joined");
            assert!(measures.accepted >= 2 && measures.connections >= 1, "{measures:?}");
            assert_eq!((measures.refused, measures.unserved), (0, 0));
        },
    );
}

#[test]
fn a_request_that_still_waits_is_counted_and_has_no_time_yet() {
    World::new("counted-waiting").serve(
        |_, _| {},
        |served| async move {
            served.topic("t", 1).await;
            let mut raw = served.raw().await;
            let metadata = protocol::messages::MetadataRequest::default();
            let both = [framed(12, 1, &metadata), framed(12, 2, &crate::connections::long_poll())];

            raw.send(both.concat()).await;
            raw.frame().await.expect("the first is answered");
            wait_for(&served, |measures| of_if_any(measures, ApiKey::Fetch) == Some((1, 0))).await;

            drop(raw);
        },
    );
}

fn of_if_any(measures: &ServerMeasures, key: ApiKey) -> Option<(u64, u64)> {
    let api = measures.apis.iter().find(|api| api.key == key)?;
    Some((api.requests, api.times.count()))
}

async fn wait_for(served: &Served, is_so: impl Fn(&ServerMeasures) -> bool) {
    let at = served.soon();
    while !is_so(&served.server.measure()) {
        assert!(env::Env::now(&served.env) < at, "{:?}", served.server.measure());
        env::Env::yield_now(&served.env).await;
    }
}

#[test]
fn what_is_turned_away_is_counted() {
    World::new("counted-refused").serve(
        |_, settings| settings.connections_max = 1,
        |served| async move {
            let mut raw = served.raw().await;
            wait_for(&served, |measures| measures.accepted == 1).await;
            let mut second = served.raw().await;
            assert_eq!(second.frame().await, None, "one connection is allowed");

            // A length of 10 and an API that is none.
            raw.send(vec![0, 0, 0, 10, 3, 231, 0, 0, 0, 0, 0, 7, 255, 255]).await;
            assert_eq!(raw.frame().await, None);

            let measures = served.server.measure();
            assert_eq!((measures.accepted, measures.refused, measures.unserved), (1, 1, 1));
        },
    );
}
