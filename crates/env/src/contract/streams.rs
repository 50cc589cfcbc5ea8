//! Contracts of sockets.

use std::io::ErrorKind;
use std::path::Path;

use base::Duration;
use bytes::{Bytes, BytesMut};

use super::{
    Failure, FileOf, LOOPBACK, StreamOf, Verdict, at_end, both, connected, fails_as, pattern,
    poll_once, receive, same, send,
};
use crate::{
    Access, Disk, Env, File, IoBufs, Listener, Net, Segment, SegmentQueue, Stream, timeout_at,
};

async fn file_of<E: Env>(env: &E, dir: &Path, bytes: &Bytes) -> std::io::Result<FileOf<E>> {
    let file = env.disk().open(&dir.join("file"), Access::CreateNew).await?;
    file.append(0, IoBufs::from_iter([bytes.clone()])).await?;
    Ok(file)
}

/// However the bytes are cut on the way.
pub async fn bytes_arrive_in_order<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let (mut client, mut server) = connected(env).await?;
    let all = pattern(100_000);
    let writer = async {
        for chunk in all.chunks(7777) {
            send::<E>(&mut client, Bytes::copy_from_slice(chunk)).await?;
        }
        client.finish().await
    };
    let reader = async {
        let got = receive::<E>(&mut server, all.len(), 1000).await?;
        at_end::<E>(&mut server).await?;
        Result::<_, Failure>::Ok(got)
    };
    let (written, got) = both(writer, reader).await;
    written?;
    same(&got?, &all, "received")
}

/// Without a buffer, and before anything is read.
pub async fn a_reader_is_told_of_bytes_and_of_the_end<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let (mut client, mut server) = connected(env).await?;
    send::<E>(&mut client, Bytes::from_static(b"0123456789")).await?;
    server.readable().await?;
    let mut buffer = BytesMut::with_capacity(100);
    while buffer.len() < 7 {
        let most = 7 - buffer.len();
        let read = server.read_at_most(&mut buffer, most).await?;
        check!(0 < read && read <= most, "{read} bytes where {most} were asked for");
    }
    server.readable().await?;
    same(&receive::<E>(&mut server, 3, 100).await?, b"789", "the rest")?;
    client.finish().await?;
    server.readable().await?;
    at_end::<E>(&mut server).await
}

/// A question and its answer, many times.
pub async fn both_directions_are_independent<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let (mut client, mut server) = connected(env).await?;
    for round in 1..20_u8 {
        let question = Bytes::from(vec![round; 10]);
        let (sent, heard) =
            both(send::<E>(&mut client, question.clone()), receive::<E>(&mut server, 10, 64)).await;
        sent?;
        same(&heard?, &question, "the question")?;
        send::<E>(&mut server, question.slice(..5)).await?;
        same(&receive::<E>(&mut client, 5, 64).await?, &question[..5], "the answer")?;
    }
    Ok(())
}

/// Memory and file regions leave as one ordered stream, and the queue is emptied.
pub async fn segments_and_regions_leave_in_order<E: Env>(env: &E, dir: &Path) -> Verdict {
    let (mut client, mut server) = connected(env).await?;
    let stored = pattern(700_000);
    let file = file_of(env, dir, &stored).await?;
    let mut queue = SegmentQueue::from([
        Segment::Bytes("head".into()),
        Segment::Bytes(" of the answer".into()),
        Segment::Region(file.region(1000, 600_000)),
        Segment::Region(file.region(0, 10)),
        Segment::Bytes("tail".into()),
        Segment::Region(file.region(699_999, 1)),
    ]);
    let mut wanted = b"head of the answer".to_vec();
    wanted.extend_from_slice(&stored[1000..601_000]);
    wanted.extend_from_slice(&stored[..10]);
    wanted.extend_from_slice(b"tail");
    wanted.extend_from_slice(&stored[699_999..]);
    let (written, got) =
        both(client.write_segments(&mut queue), receive::<E>(&mut server, wanted.len(), 64 * 1024))
            .await;
    written?;
    same(&got?, &wanted, "received")?;
    check!(queue.is_empty(), "{} segments left in the queue", queue.len());
    Ok(())
}

/// Who writes some of it each time writes all of it, in order, and more each time.
pub async fn a_write_of_some_takes_it_off_the_queue<E: Env>(env: &E, dir: &Path) -> Verdict {
    let (mut client, mut server) = connected(env).await?;
    let stored = pattern(600_000);
    let file = file_of(env, dir, &stored).await?;
    let large = pattern(3 * 1024 * 1024);
    let mut wanted = large.to_vec();
    wanted.extend_from_slice(&stored[..600_000]);
    let mut queue =
        SegmentQueue::from([Segment::Bytes(large), Segment::Region(file.region(0, 600_000))]);
    let left = |queue: &SegmentQueue<FileOf<E>>| -> usize {
        let bytes = |segment: &Segment<FileOf<E>>| match segment {
            Segment::Bytes(bytes) => bytes.len(),
            Segment::Region(region) => usize::try_from(region.len).unwrap_or(0),
        };
        queue.iter().map(bytes).sum()
    };
    let writer = async {
        let mut steps = 0;
        while !queue.is_empty() {
            let before = left(&queue);
            client.write_some(&mut queue).await?;
            check!(left(&queue) < before, "a step took nothing of {before} bytes");
            steps += 1;
        }
        check!(steps > 1, "all of it in one step");
        Ok(())
    };
    let (written, got) = both(writer, receive::<E>(&mut server, wanted.len(), 64 * 1024)).await;
    written?;
    same(&got?, &wanted, "received")
}

/// Nothing to send is nothing sent, and keeps nothing back.
pub async fn empty_segments_are_harmless<E: Env>(env: &E, dir: &Path) -> Verdict {
    let (mut client, mut server) = connected(env).await?;
    let file = file_of(env, dir, &pattern(10)).await?;
    let mut queue = SegmentQueue::new();
    client.write_segments(&mut queue).await?;
    queue.extend([
        Segment::Bytes(Bytes::new()),
        Segment::Region(file.region(0, 0)),
        Segment::Bytes("seen".into()),
        Segment::Bytes(Bytes::new()),
        Segment::Region(file.region(10, 0)),
    ]);
    client.write_segments(&mut queue).await?;
    check!(queue.is_empty(), "{} segments left in the queue", queue.len());
    same(&receive::<E>(&mut server, 4, 64).await?, b"seen", "received")
}

/// A slow reader slows the writer down and loses nothing.
pub async fn a_write_larger_than_any_buffer_waits_for_the_reader<E: Env>(
    env: &E,
    _dir: &Path,
) -> Verdict {
    let (mut client, mut server) = connected(env).await?;
    let all = pattern(16 * 1024 * 1024);
    let mut queue = (0..).step_by(64 * 1024).take_while(|at| *at < all.len());
    let mut queue: SegmentQueue<FileOf<E>> = queue
        .by_ref()
        .map(|at| Segment::Bytes(all.slice(at..all.len().min(at + 64 * 1024))))
        .collect();
    let early = env.now().after(Duration::from_millis(5));
    let reader = async {
        env.sleep_until(early).await;
        receive::<E>(&mut server, all.len(), 256 * 1024).await
    };
    let (written, got) = both(client.write_segments(&mut queue), reader).await;
    written?;
    same(&got?, &all, "received")
}

/// The peer was promised the bytes: what is missing must not be made up.
pub async fn a_region_that_was_cut_short_fails_the_write<E: Env>(env: &E, dir: &Path) -> Verdict {
    let (mut client, mut server) = connected(env).await?;
    let file = file_of(env, dir, &pattern(1000)).await?;
    let mut queue = SegmentQueue::from([Segment::Region(file.region(0, 1000))]);
    file.set_len(10).await?;
    let written = client.write_segments(&mut queue).await;
    check!(written.is_err(), "1000 bytes of a file of 10 were sent");
    drop(client);
    let mut buf = BytesMut::with_capacity(2000);
    while matches!(server.read_into(&mut buf).await, Ok(1..)) {}
    check!(buf.len() <= 10, "{} bytes arrived of 10", buf.len());
    same(&buf, &pattern(buf.len()), "what arrived")
}

/// Half-close: the one direction ends, the other goes on.
pub async fn a_finished_stream_ends_with_zero_and_still_reads<E: Env>(
    env: &E,
    _dir: &Path,
) -> Verdict {
    let (mut client, mut server) = connected(env).await?;
    send::<E>(&mut client, "last question".into()).await?;
    client.finish().await?;
    same(&receive::<E>(&mut server, 13, 64).await?, b"last question", "before the end")?;
    for _ in 0..2 {
        at_end::<E>(&mut server).await?;
    }
    send::<E>(&mut server, "late answer".into()).await?;
    server.finish().await?;
    same(&receive::<E>(&mut client, 11, 64).await?, b"late answer", "after the end")?;
    at_end::<E>(&mut client).await
}

/// Dropping a stream finishes it.
pub async fn bytes_written_before_a_drop_arrive<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let (mut client, mut server) = connected(env).await?;
    send::<E>(&mut client, "last words".into()).await?;
    drop(client);
    same(&receive::<E>(&mut server, 10, 64).await?, b"last words", "received")?;
    at_end::<E>(&mut server).await
}

/// Who writes to nobody learns it, if not at the first write.
pub async fn a_write_to_a_gone_peer_fails_in_the_end<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let (mut client, server) = connected(env).await?;
    drop(server);
    for _ in 0..1000 {
        if send::<E>(&mut client, pattern(1000)).await.is_err() {
            return Ok(());
        }
        env.sleep(Duration::from_millis(1)).await;
    }
    check!(false, "a thousand writes to a gone peer succeeded");
    Ok(())
}

/// Whoever owns the buffer bounds the memory.
pub async fn a_buffer_is_never_grown<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let (mut client, mut server) = connected(env).await?;
    let all = pattern(1000);
    send::<E>(&mut client, all.clone()).await?;
    client.finish().await?;
    let mut buf = BytesMut::with_capacity(32);
    let (capacity, at) = (buf.capacity(), buf.as_ptr().addr());
    let mut got = Vec::new();
    loop {
        let before = buf.len();
        let read = server.read_into(&mut buf).await?;
        check!(buf.capacity() == capacity, "{capacity} grew to {}", buf.capacity());
        check!(buf.as_ptr().addr() == at, "the buffer was moved");
        check!(buf.len() == before + read, "{before} + {read} is not {}", buf.len());
        if buf.len() == capacity {
            let more = server.read_into(&mut buf).await?;
            check!(more == 0, "{more} bytes were read into a full buffer");
            check!(buf.capacity() == capacity, "a full buffer was grown");
        } else if read == 0 {
            break;
        }
        if buf.len() > capacity / 2 {
            got.extend_from_slice(&buf);
            buf.clear();
        }
    }
    got.extend_from_slice(&buf);
    same(&got, &all, "received")
}

/// A read that is dropped before it is ready has taken nothing.
pub async fn a_cancelled_read_loses_no_byte<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let (mut client, mut server) = connected(env).await?;
    let all = pattern(2000);
    let writer = async {
        for chunk in all.chunks(50) {
            send::<E>(&mut client, Bytes::copy_from_slice(chunk)).await?;
            env.sleep(Duration::from_micros(300)).await;
        }
        client.finish().await
    };
    let (written, got) = both(writer, read_with_interruptions(env, &mut server)).await;
    written?;
    same(&got?, &all, "received")
}

/// Reads to the end, giving up most of the reads early.
async fn read_with_interruptions<E: Env>(
    env: &E,
    stream: &mut StreamOf<E>,
) -> std::io::Result<Vec<u8>> {
    let mut got = Vec::new();
    for attempt in 0_u64.. {
        let mut buf = BytesMut::with_capacity(64);
        let read = match attempt % 3 {
            0 => poll_once(stream.read_into(&mut buf)).await,
            1 => {
                let soon = env.now().after(Duration::from_micros(50 * (attempt % 7)));
                timeout_at(env, soon, stream.read_into(&mut buf)).await.ok()
            },
            _ => Some(stream.read_into(&mut buf).await),
        };
        got.extend_from_slice(&buf);
        if let Some(0) = read.transpose()? {
            break;
        }
    }
    Ok(got)
}

/// An accept that is dropped leaves the connection to the next one.
pub async fn a_cancelled_accept_loses_no_connection<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let mut listener = env.net().listen(LOOPBACK).await?;
    let at = listener.local_addr()?;
    check!(poll_once(listener.accept()).await.is_none(), "accepted before anybody connected");
    let server = async {
        loop {
            // The first poll of an accept whose connection is still on its way is given up.
            if let Some(accepted) = poll_once(listener.accept()).await {
                return accepted;
            }
            let soon = env.now().after(Duration::from_millis(1));
            if let Ok(accepted) = timeout_at(env, soon, listener.accept()).await {
                return accepted;
            }
        }
    };
    let (client, accepted) = both(env.net().connect(at), server).await;
    let (mut client, mut server) = (client?, accepted?.0);
    send::<E>(&mut client, "hello".into()).await?;
    same(&receive::<E>(&mut server, 5, 64).await?, b"hello", "received")
}

/// A closed port answers at once.
pub async fn nobody_listening_is_refused<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let listener = env.net().listen(LOOPBACK).await?;
    let at = listener.local_addr()?;
    drop(listener);
    fails_as(env.net().connect(at).await, ErrorKind::ConnectionRefused, "connecting to nobody")
}

/// Port 0 picks free ports; a chosen one is had by one at a time, and at once again.
pub async fn a_port_is_taken_until_its_listener_is_dropped<E: Env>(
    env: &E,
    _dir: &Path,
) -> Verdict {
    let (first, other) = (env.net().listen(LOOPBACK).await?, env.net().listen(LOOPBACK).await?);
    let at = first.local_addr()?;
    check!(at.port() != 0, "port 0 was not replaced");
    check!(at != other.local_addr()?, "two listeners at {at}");
    fails_as(env.net().listen(at).await, ErrorKind::AddrInUse, "listening where somebody does")?;
    drop(first);
    let mut again = env.net().listen(at).await?;
    check!(again.local_addr()? == at, "listens elsewhere than asked");
    let (client, accepted) = both(env.net().connect(at), again.accept()).await;
    client?;
    accepted?;
    Ok(())
}

/// What is written to one connection is read from its other end only.
pub async fn connections_are_told_apart<E: Env>(env: &E, _dir: &Path) -> Verdict {
    let mut listener = env.net().listen(LOOPBACK).await?;
    let at = listener.local_addr()?;
    let mut pairs = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..3 {
        let (client, accepted) = both(env.net().connect(at), listener.accept()).await;
        let (server, peer) = accepted?;
        pairs.push((client?, server));
        peers.push(peer);
    }
    peers.sort_unstable();
    peers.dedup();
    check!(peers.len() == 3, "three connections come from {peers:?}");
    for (name, (client, _)) in ["one", "two", "six"].into_iter().zip(&mut pairs) {
        send::<E>(client, name.into()).await?;
        client.finish().await?;
    }
    for (name, (_, server)) in ["one", "two", "six"].into_iter().zip(&mut pairs) {
        same(&receive::<E>(server, 3, 64).await?, name.as_bytes(), "received")?;
        at_end::<E>(server).await?;
    }
    Ok(())
}
