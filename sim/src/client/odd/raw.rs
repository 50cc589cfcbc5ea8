//! Frames that are no requests, and requests whose answer nobody waits for.

use base::Duration;
use bytes::{BufMut, Bytes, BytesMut};
use env::{Env, Net, Segment, SegmentQueue, Stream, timeout_at};

use super::{Odd, TIMEOUT};
use crate::client::{Job, PORT};
use crate::fault::BROKER;
use crate::net::{SimStream, address_of};
use crate::system::CONNECTIONS_PER_IP_MAX;
use crate::world::SimEnv;

/// How many there are.
pub(super) const STEPS: usize = 9;

/// A frame that begins like a request: key, version, correlation id, client id.
fn frame(key: i16, version: i16, rest: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_i16(key);
    body.put_i16(version);
    body.put_i32(7);
    body.put_i16(-1);
    body.put_slice(rest);
    let mut whole = BytesMut::new();
    whole.put_i32(i32::try_from(body.len()).unwrap_or(0));
    whole.put_slice(&body);
    whole.freeze()
}

/// Frames at which the broker hangs up at once.
const REFUSED: usize = 4;
const METADATA: i16 = 3;

fn refused(number: usize) -> Bytes {
    match number {
        0 => frame(999, 0, &[]),
        1 => frame(METADATA, 99, &[]),
        // An array of a thousand topics, of which none follows.
        2 => frame(METADATA, 1, &[0, 0, 3, 0xe8]),
        _ => Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0]),
    }
}

/// When there are no faults any more, what is refused ends its connection, and without an answer.
pub async fn refused_frames_hang_up(job: &Job, env: &SimEnv) {
    for number in 0..REFUSED {
        let deadline = env.now().after(TIMEOUT);
        let mut answer = BytesMut::with_capacity(4096);
        let ended = timeout_at(env, deadline, async {
            let Ok(mut stream) = env.net().connect(address_of(BROKER, PORT)).await else {
                return true;
            };
            let mut queue = SegmentQueue::from([Segment::Bytes(refused(number))]);
            // A broker that has hung up already did what it should.
            drop(stream.write_segments(&mut queue).await);
            matches!(stream.read_into(&mut answer).await, Ok(0) | Err(_))
        });
        let ended = ended.await.unwrap_or(false);
        job.world.check("errors", ended, || {
            format!("odd frame {number} did not end its connection; {} bytes came", answer.len())
        });
    }
}

impl Odd {
    pub(super) async fn raw(&mut self, number: usize) {
        const API_VERSIONS: i16 = 18;
        let refused = match number {
            0..REFUSED => refused(number),
            // A large request that does not go on.
            4 => Bytes::from_static(&[0, 3, 0, 0, 0, 3]),
            // Its header ends with an empty set of tagged fields, as every newer one's.
            5 => return self.unknown_api_versions(frame(API_VERSIONS, 99, &[0])).await,
            6 => return self.ask_and_never_read(frame(API_VERSIONS, 0, &[])).await,
            7 => return self.many_connections().await,
            // Half a request, and nobody there any more.
            _ => {
                let whole = frame(METADATA, 1, &[0, 0, 0, 0]);
                let half = self.dice.index(whole.len());
                drop(self.exchange(whole.slice(..half), false).await);
                return;
            },
        };
        let answer = self.exchange(refused, true).await.unwrap_or_default();
        self.job.world.check("errors", answer.is_empty(), || {
            format!("odd frame {number} was answered with {} bytes", answer.len())
        });
    }

    /// Its answer is in version 0 and names the versions there are.
    async fn unknown_api_versions(&mut self, ask: Bytes) {
        const UNSUPPORTED_VERSION: [u8; 2] = [0, 35];
        let Some(answer) = self.exchange(ask, true).await else { return };
        let code = answer.get(8..10);
        let fits = answer.is_empty() || code.is_none_or(|code| code == UNSUPPORTED_VERSION);
        self.job.world.check("errors", fits, || format!("odd ApiVersions: {code:?}"));
    }

    /// More answers than anybody keeps, and then nobody reads them for a while.
    async fn ask_and_never_read(&self, ask: Bytes) {
        const REQUESTS: usize = 2_500;
        let mut all = BytesMut::new();
        (0..REQUESTS).for_each(|_| all.extend_from_slice(&ask));
        let Some(mut stream) = self.connect().await else { return };
        let mut queue = SegmentQueue::new();
        queue.push_back(Segment::Bytes(all.freeze()));
        let deadline = self.env.now().after(TIMEOUT);
        let written = timeout_at(&self.env, deadline, stream.write_segments(&mut queue)).await;
        if written.is_ok() {
            self.env.sleep(TIMEOUT).await;
        }
    }

    /// More connections than one address may have, if there is a limit.
    async fn many_connections(&self) {
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_PER_IP_MAX + 2 {
            held.push(self.connect().await);
        }
        self.env.sleep(Duration::from_millis(50)).await;
    }

    async fn connect(&self) -> Option<SimStream> {
        let deadline = self.env.now().after(TIMEOUT);
        let connect = self.env.net().connect(address_of(BROKER, PORT));
        timeout_at(&self.env, deadline, connect).await.ok()?.ok()
    }

    /// Sends `bytes` on a connection of their own and reads what comes at first, if it `waits`.
    pub(super) async fn exchange(&mut self, bytes: Bytes, waits: bool) -> Option<BytesMut> {
        let env = self.env.clone();
        let deadline = env.now().after(TIMEOUT);
        let mut stream = self.connect().await?;
        let mut queue = SegmentQueue::new();
        queue.push_back(Segment::Bytes(bytes));
        timeout_at(&env, deadline, stream.write_segments(&mut queue)).await.ok()?.ok()?;
        let mut answer = BytesMut::with_capacity(4096);
        if waits {
            timeout_at(&env, deadline, stream.read_into(&mut answer)).await.ok()?.ok()?;
        }
        Some(answer)
    }
}
