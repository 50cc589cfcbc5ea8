//! From a request's bytes to its handler.
//!
//! Invariants: a key or version that is not served, and a body that does not parse, close the
//! connection (as Kafka does), except ApiVersions in an unknown version, which is answered in
//! version 0; a handler never panics on what a client sent.

use std::net::IpAddr;
use std::pin::pin;

use base::{BrokerId, Instant, Probe};
use broker::api::ClusterView;
use bytes::{Buf, Bytes};
use env::{Env, Segment};
use protocol::frame::{Framed, LENGTH_BYTES};
use protocol::{
    ApiKey, ClientId, DecodeError, EncodeError, Message, Reader, RequestHeader, Writer,
};
use tracing::debug;

use crate::handlers::answer::ANSWER_BYTES_MAX;
use crate::handlers::produce::Together;
use crate::handlers::{self, produce};
use crate::server::{FileOf, Frame, Shared};

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Outcome<F> {
    /// It is answered.
    Reply(Reply<F>),
    /// It wants no answer (`acks=0`).
    Silent,
    /// The connection ends.
    Close,
}

/// A whole response frame; the token of an external part is an index into
/// `externals`.
#[derive(Debug)]
pub(crate) struct Reply<F> {
    pub(crate) frame: Framed,
    pub(crate) externals: Vec<Vec<Segment<F>>>,
}

/// A broker as clients find it.
pub(crate) struct Reachable<'v> {
    pub(crate) id: BrokerId,
    pub(crate) host: &'v str,
    pub(crate) port: i32,
    pub(crate) rack: Option<&'v str>,
}

/// One request on its way through a handler.
pub(crate) struct Context<'a, E: Env> {
    pub(crate) shared: &'a Shared<E>,
    pub(crate) peer: IpAddr,
    pub(crate) header: RequestHeader,
    /// When it was begun to be handled.
    pub(crate) begun: Instant,
}

impl<E: Env> Context<'_, E> {
    /// The version the client chose.
    pub(crate) fn version(&self) -> i16 {
        self.header.api_version
    }

    /// The world's probe.
    pub(crate) fn probe(&self) -> &E::Probe {
        self.shared.env.probe()
    }

    /// The brokers that are alive and that clients can reach.
    pub(crate) fn reachable<'v>(
        &'v self,
        view: &'v ClusterView,
    ) -> impl Iterator<Item = Reachable<'v>> {
        view.brokers.iter().filter_map(|(id, broker)| {
            let (host, port) = self.shared.advertised(*id)?;
            Some(Reachable { id: *id, host, port, rack: broker.rack.as_deref() })
        })
    }

    /// Waits for what may take as long as a client likes, but not beyond the server's stop.
    pub(crate) async fn unless_stopped<F: Future>(&self, wait: F) -> Option<F::Output> {
        let ready = self.shared.stop.unless(wait).await;
        if ready.is_none() {
            self.probe().reached("wait_ended_by_stop");
        }
        ready
    }

    /// What the client calls itself; empty if it does not say.
    pub(crate) fn client_id(&self) -> &str {
        self.header.client_id.as_ref().map_or("", ClientId::as_str)
    }

    /// What becomes of the request, which its handler has ended.
    fn handled(&self, outcome: Result<Outcome<FileOf<E>>, DecodeError>) -> Outcome<FileOf<E>> {
        match outcome {
            Ok(outcome) => {
                let took = self.shared.env.now().since(self.begun);
                self.shared.counters.handled(self.header.api_key, took);
                outcome
            },
            Err(error) => refuse(self.shared, self.peer, &error.to_string()),
        }
    }

    /// A response without file regions.
    pub(crate) fn reply(&self, body: &impl Message) -> Outcome<FileOf<E>> {
        self.reply_with(body, Vec::new())
    }

    /// A response whose external parts name `externals` by index.
    pub(crate) fn reply_with(
        &self,
        body: &impl Message,
        externals: Vec<Vec<Segment<FileOf<E>>>>,
    ) -> Outcome<FileOf<E>> {
        let version = self.header.api_version;
        self.reply_by(|writer| body.encode(writer, version), externals)
    }

    /// The beginning of a response, behind which its body is to be written; see
    /// [`Context::finish`].
    pub(crate) fn begin_reply(&self) -> Writer {
        let header = &self.header;
        protocol::frame::begun(header.api_key, header.api_version, header.correlation_id)
    }

    /// What becomes of a request whose answer would be too long.
    pub(crate) fn too_long(&self) -> Outcome<FileOf<E>> {
        self.probe().reached("answer_too_long");
        let (peer, key) = (self.peer, self.header.api_key);
        debug!(%peer, ?key, bytes_max = ANSWER_BYTES_MAX, "an answer would be too long; closing the connection");
        Outcome::Close
    }

    /// A response whose body is written by `body`.
    pub(crate) fn reply_by(
        &self,
        body: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
        externals: Vec<Vec<Segment<FileOf<E>>>>,
    ) -> Outcome<FileOf<E>> {
        let header = &self.header;
        let (version, correlation_id) = (header.api_version, header.correlation_id);
        self.finish(
            protocol::frame::framed(header.api_key, version, correlation_id, body),
            externals,
        )
    }

    /// A response that is encoded, or could not be.
    pub(crate) fn finish(
        &self,
        encoded: Result<(Framed, Vec<(i16, u32)>), EncodeError>,
        externals: Vec<Vec<Segment<FileOf<E>>>>,
    ) -> Outcome<FileOf<E>> {
        match encoded {
            Ok((frame, _)) if frame.memory_bytes() > ANSWER_BYTES_MAX => self.too_long(),
            Ok((frame, errors)) => {
                self.shared.counters.answer(self.header.api_key, frame.len_bytes(), &errors);
                Outcome::Reply(Reply { frame, externals })
            },
            Err(error) => {
                debug!(%error, "a response cannot be encoded; closing the connection");
                Outcome::Close
            },
        }
    }
}

/// Whether a request may wait for as long as its client likes.
pub(crate) fn may_wait(request: &Bytes) -> bool {
    let key = request.first_chunk().and_then(|key| ApiKey::from_i16(i16::from_be_bytes(*key)));
    matches!(key, Some(ApiKey::Fetch | ApiKey::JoinGroup | ApiKey::SyncGroup))
}

/// Whether a request is one of those that [`begin`] takes.
pub(crate) fn is_produce(request: &[u8]) -> bool {
    request.starts_with(&(ApiKey::Produce as i16).to_be_bytes())
}

/// Handles one request frame (without its length), which lives as long as it is needed.
pub(crate) async fn handle<E: Env>(
    shared: &Shared<E>,
    peer: IpAddr,
    request: Frame,
) -> Outcome<FileOf<E>> {
    let (context, body) = match open(shared, peer, request) {
        Opened::Asks(context, body) => (context, body),
        Opened::Ended(outcome) => return outcome,
    };
    let handled = pin!(handlers::handle(&context, body)).await;
    context.handled(handled)
}

/// A produce request whose batches have their places, or what has become of it.
pub(crate) enum Begun<'a, E: Env> {
    /// Its answer needs a proof.
    Waits { context: Context<'a, E>, body: Frame, begun: produce::Begun },
    /// Nothing more is to be done.
    Ended(Outcome<FileOf<E>>),
}

impl<E: Env> Begun<'_, E> {
    /// Whether the requests behind it may begin before it has ended: not if how it ends decides
    /// whether they are served.
    pub(crate) fn lets_others_begin(&self) -> bool {
        match self {
            Self::Waits { begun, .. } => !begun.is_silent(),
            Self::Ended(outcome) => !matches!(outcome, Outcome::Close),
        }
    }

    /// Waits for what was submitted.
    pub(crate) async fn ended(self) -> Outcome<FileOf<E>> {
        match self {
            Self::Waits { context, body, begun } => {
                let outcome = pin!(produce::answer(&context, begun)).await;
                drop(body);
                context.handled(Ok(outcome))
            },
            Self::Ended(outcome) => outcome,
        }
    }
}

/// Begins a [produce request](is_produce); its batches are written with those of the others.
pub(crate) async fn begin<'a, E: Env>(
    shared: &'a Shared<E>,
    peer: IpAddr,
    request: Frame,
    together: &mut Together<E>,
) -> Begun<'a, E> {
    let (context, body) = match open(shared, peer, request) {
        Opened::Asks(context, body) => (context, body),
        Opened::Ended(outcome) => return Begun::Ended(outcome),
    };
    let begun = pin!(produce::begin(&context, &body.bytes, together)).await;
    match begun {
        Ok(begun) => Begun::Waits { context, body, begun },
        Err(error) => Begun::Ended(context.handled(Err(error))),
    }
}

/// A request whose header was looked at.
enum Opened<'a, E: Env> {
    /// It is served; with what stands behind its header.
    Asks(Context<'a, E>, Frame),
    /// It is not.
    Ended(Outcome<FileOf<E>>),
}

fn open<E: Env>(shared: &Shared<E>, peer: IpAddr, mut request: Frame) -> Opened<'_, E> {
    let begun = shared.env.now();
    let bytes = request.bytes.len().saturating_add(LENGTH_BYTES);
    let mut reader = Reader::from(&request.bytes);
    let header = match RequestHeader::decode(&mut reader) {
        Ok(Some(header)) => header,
        Ok(None) => return Opened::Ended(refuse(shared, peer, "unknown API key")),
        Err(error) => return Opened::Ended(refuse(shared, peer, &error.to_string())),
    };
    let version = header.api_version;
    let header_bytes = request.bytes.len().saturating_sub(reader.remaining());
    request.bytes.advance(header_bytes);
    let context = Context { shared, peer, header, begun };
    if context.header.api_key == ApiKey::ApiVersions && !ApiKey::ApiVersions.has_version(version) {
        shared.env.probe().reached("api_versions_unknown_version");
        shared.counters.request(ApiKey::ApiVersions, bytes);
        return Opened::Ended(handlers::api_versions::unknown_version(&context));
    }
    if !handlers::serves(context.header.api_key, version) {
        return Opened::Ended(refuse(shared, peer, "API key or version not served"));
    }
    shared.counters.request(context.header.api_key, bytes);
    Opened::Asks(context, request)
}

fn refuse<E: Env>(shared: &Shared<E>, peer: IpAddr, why: &str) -> Outcome<FileOf<E>> {
    shared.env.probe().reached("request_refused");
    shared.counters.unserved();
    debug!(%peer, why, "closing the connection");
    Outcome::Close
}
