//! Fetch sessions as nobody should use them.

use base::Duration;
use env::Env;
use protocol::messages::fetch_request::{FetchRequest, ForgottenTopic};
use protocol::messages::fetch_response::FetchResponse;
use protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};

use super::data::fetch;
use super::{OWN, Odd, TIMEOUT};
use crate::client::errors::{FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, NONE};

const FETCH_SESSION_TOPIC_ID_ERROR: i16 = 106;
const VERSION: i16 = 12;

/// A request that wants a session, from `at` on.
fn whole(at: i64) -> FetchRequest {
    FetchRequest { session_epoch: 0, min_bytes: 1, ..fetch(OWN, 0, at, -1) }
}

/// A request of a session that names nothing.
fn going_on(session_id: i32, session_epoch: i32) -> FetchRequest {
    FetchRequest { session_id, session_epoch, topics: Vec::new(), ..whole(0) }
}

fn code(answer: &FetchResponse) -> Option<i16> {
    Some(answer.error_code)
}

impl Odd {
    /// Everything odd about sessions, in a row. A session may be gone at any time: another made it
    /// give way, or the broker was started again.
    pub(super) async fn sessions(&mut self) {
        self.misfits().await;
        self.overtakes().await;
        // More than a tight broker has room for; the last finds those of before unused.
        for _ in 0..4 {
            self.begin(0).await;
        }
        self.env.sleep(Duration::from_millis(400)).await;
        self.begin(0).await;
    }

    /// Makes a session; returns its id, if there is one.
    async fn begin(&mut self, at: i64) -> Option<i32> {
        let answer = self.ask(VERSION, &whole(at), code, &[NONE]).await?;
        (answer.session_id > 0).then_some(answer.session_id)
    }

    async fn misfits(&mut self) {
        let Some(id) = self.begin(0).await else { return };
        let gone = FETCH_SESSION_ID_NOT_FOUND;
        let ask = going_on(id, 7);
        self.ask(VERSION, &ask, code, &[INVALID_FETCH_SESSION_EPOCH, gone]).await;
        let ask = going_on(id, 1);
        self.ask(13, &ask, code, &[FETCH_SESSION_TOPIC_ID_ERROR, gone]).await;
        let mut last = going_on(id, 1);
        last.forgotten_topics_data = vec![ForgottenTopic {
            topic: OWN.into(),
            partitions: vec![0],
            ..ForgottenTopic::default()
        }];
        let answer = self.ask(VERSION, &last, code, &[NONE, gone]).await;
        let is_over = answer.is_none_or(|answer| answer.session_id == 0);
        self.job.world.check("session-id", is_over, || {
            format!("odd session {id} goes on though nothing is left in it")
        });
        self.ask(VERSION, &going_on(id, 2), code, &[gone]).await;
        let closing = FetchRequest { session_id: id, session_epoch: -1, ..whole(0) };
        let answer = self.ask(VERSION, &closing, code, &[NONE]).await;
        let is_over = answer.is_none_or(|answer| answer.session_id == 0);
        self.job.world.check("session-id", is_over, || {
            format!("odd session {id} goes on though it was closed")
        });
    }

    /// Two requests of a session at a time, on two connections.
    async fn overtakes(&mut self) {
        let part = ListOffsetsPartition { timestamp: -1, ..ListOffsetsPartition::default() };
        let topic = ListOffsetsTopic { name: OWN.into(), partitions: vec![part] };
        let ask = ListOffsetsRequest { topics: vec![topic], ..ListOffsetsRequest::default() };
        let Ok(answer) = self.connection.call(1, &ask, TIMEOUT).await else { return };
        let end = answer.topics.first().and_then(|topic| topic.partitions.first());
        let Some(id) = self.begin(end.map_or(0, |end| end.offset)).await else { return };
        let slow = FetchRequest { max_wait_ms: 300, ..going_on(id, 1) };
        let mut other = self.other("overtaken");
        let deadline = self.env.now().after(TIMEOUT);
        let Ok(correlation) = other.send(VERSION, &slow, deadline).await else { return };
        self.env.sleep(Duration::from_millis(20)).await;
        // The other may not have come yet.
        let allowed = [NONE, FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH];
        let quick = self.ask(VERSION, &going_on(id, 2), code, &allowed).await;
        let late = other.receive::<FetchRequest>(VERSION, correlation, deadline).await;
        // One of the two answers is of the session as it is now, at most.
        let both = quick.is_some_and(|answer| answer.error_code == NONE)
            && late.as_ref().is_ok_and(|answer| answer.error_code == NONE)
            && late.is_ok_and(|answer| !answer.responses.is_empty());
        self.job.world.check("session-id", !both, || {
            format!("odd session {id} was answered twice at a time")
        });
    }
}
