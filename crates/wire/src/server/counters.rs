//! What the front door counts: requests by API, their errors and times, and connections.
//!
//! Invariants: counting takes no lock and no memory, but for answers that tell errors; no count ever
//! falls; what is counted decides nothing. A request is counted when its handling begins, its time
//! when its answer is ready to leave: one that is abandoned in between (its client is gone) has none.

use std::sync::atomic::{AtomicU64, Ordering};

use base::Duration;
use base::measure::{TimeCounts, Times};
use protocol::ApiKey;

use crate::error_code::ErrorCode;
use crate::handlers::SERVED;

/// The counts of one server.
#[derive(Debug)]
pub(crate) struct Counters {
    /// By the API's number.
    apis: Vec<ApiCounters>,
    accepted: AtomicU64,
    refused: AtomicU64,
    unserved: AtomicU64,
}

#[derive(Debug, Default)]
struct ApiCounters {
    requests: AtomicU64,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    times: Times,
    /// By place in [`ErrorCode::ALL`]; none for an API that is not served.
    errors: Vec<AtomicU64>,
}

/// A reading of what was counted since the start of the process.
#[derive(Clone, Debug, Default)]
pub struct ServerMeasures {
    /// The APIs of which at least one request came, by number.
    pub apis: Vec<ApiMeasures>,
    /// Connections open now.
    pub connections: usize,
    /// Connections accepted and served.
    pub accepted: u64,
    /// Connections closed at once, for there were too many.
    pub refused: u64,
    /// Requests that closed their connection: malformed, or of an API or a version not served.
    pub unserved: u64,
    /// Request bytes in memory now.
    pub request_bytes_held: usize,
    /// Most request bytes that may be in memory.
    pub request_bytes_max: usize,
}

/// What was counted of one API.
#[derive(Clone, Debug)]
pub struct ApiMeasures {
    /// Which.
    pub key: ApiKey,
    /// Requests whose handling began.
    pub requests: u64,
    /// Their bytes, lengths included.
    pub request_bytes: u64,
    /// Bytes of their answers, lengths included.
    pub response_bytes: u64,
    /// From the whole request in memory to the answer ready to leave.
    pub times: TimeCounts,
    /// Error codes in answers that are not [`ErrorCode::NONE`], and how often; several in one answer
    /// all count.
    pub errors: Vec<(ErrorCode, u64)>,
}

fn number(key: ApiKey) -> usize {
    usize::try_from(key.to_i16()).unwrap_or(usize::MAX)
}

fn widen(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl Default for Counters {
    fn default() -> Self {
        let last = ApiKey::ALL.iter().map(|key| number(*key)).max().unwrap_or(0);
        let mut apis: Vec<ApiCounters> = Vec::new();
        apis.resize_with(last + 1, ApiCounters::default);
        for key in SERVED {
            if let Some(api) = apis.get_mut(number(*key)) {
                api.errors.resize_with(ErrorCode::ALL.len(), AtomicU64::default);
            }
        }
        Self {
            apis,
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unserved: AtomicU64::new(0),
        }
    }
}

impl Counters {
    fn add(&self, key: ApiKey, count: impl FnOnce(&ApiCounters)) {
        if let Some(api) = self.apis.get(number(key)) {
            count(api);
        }
    }

    /// The handling of a request of so many bytes begins.
    pub(crate) fn request(&self, key: ApiKey, bytes: usize) {
        self.add(key, |api| {
            api.requests.fetch_add(1, Ordering::Relaxed);
            api.request_bytes.fetch_add(widen(bytes), Ordering::Relaxed);
        });
    }

    /// Its handling has ended.
    pub(crate) fn handled(&self, key: ApiKey, time: Duration) {
        self.add(key, |api| api.times.count(time));
    }

    /// An answer of so many bytes, which tells these errors.
    pub(crate) fn answer(&self, key: ApiKey, bytes: usize, errors: &[(i16, u32)]) {
        self.add(key, |api| {
            api.response_bytes.fetch_add(widen(bytes), Ordering::Relaxed);
            for (code, count) in errors {
                let at = ErrorCode::ALL.binary_search(&ErrorCode(*code));
                if let Some(counter) = at.ok().and_then(|at| api.errors.get(at)) {
                    counter.fetch_add(u64::from(*count), Ordering::Relaxed);
                }
            }
        });
    }

    /// A connection is served.
    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection is closed at once.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A request closes its connection.
    pub(crate) fn unserved(&self) {
        self.unserved.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything counted so far; what is known elsewhere is left 0.
    pub(crate) fn read(&self) -> ServerMeasures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let apis = ApiKey::ALL.iter().filter_map(|key| {
            let api = self.apis.get(number(*key))?;
            let errors = ErrorCode::ALL.iter().zip(&api.errors);
            let told = errors.map(|(code, count)| (*code, read(count)));
            let measures = ApiMeasures {
                key: *key,
                requests: read(&api.requests),
                request_bytes: read(&api.request_bytes),
                response_bytes: read(&api.response_bytes),
                times: api.times.read(),
                errors: told.filter(|(_, count)| *count > 0).collect(),
            };
            (measures.requests > 0).then_some(measures)
        });
        ServerMeasures {
            apis: apis.collect(),
            accepted: read(&self.accepted),
            refused: read(&self.refused),
            unserved: read(&self.unserved),
            ..ServerMeasures::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_code_has_a_counter_of_its_own() {
        assert!(ErrorCode::ALL.is_sorted_by(|a, b| a < b), "they are looked up by halves");
        let counters = Counters::default();

        counters.request(ApiKey::Fetch, 10);
        counters.answer(ApiKey::Fetch, 20, &[(-1, 2), (136, 3), (999, 1)]);

        let [fetch] = &counters.read().apis[..] else { panic!("one API was asked") };
        assert_eq!((fetch.request_bytes, fetch.response_bytes), (10, 20));
        let told = [(ErrorCode(-1), 2), (ErrorCode(136), 3)];
        assert_eq!(fetch.errors, told);
    }
}
