"""What the driver asks a broker by itself: whether it is there, and how batches lie in a log.

Three requests in their oldest served versions, written out by hand, so that no client library
stands between a check and the bytes. Of a batch only the head is looked at.
"""

import socket
import struct
from dataclasses import dataclass

FETCH, METADATA, OFFSET_FETCH = 1, 3, 9
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


@dataclass(frozen=True)
class Batch:
    """The head of one record batch."""

    base_offset: int
    records: int
    codec: str


def brokers(port):
    """How many brokers the one at `port` knows to be alive."""
    answer = _ask(port, METADATA, 1, struct.pack(">i", 0))
    return struct.unpack_from(">i", answer, 0)[0]


def served(port, topic, partitions):
    """Whether the broker leads all partitions of a topic."""
    try:
        for partition in range(partitions):
            _fetch(port, topic, partition, 0)
    except ConnectionError:
        return False
    return True


def batches(port, topic, partition=0):
    """All batches of a partition."""
    found, offset = [], 0
    while more := _fetch(port, topic, partition, offset):
        found += more
        offset = more[-1].base_offset + more[-1].records
    return found


def committed(port, group, topic, partitions):
    """The committed offsets of a group, of all partitions of a topic; -1 where there is none."""
    body = struct.pack(">h", len(group)) + group.encode()
    body += struct.pack(">ih", 1, len(topic)) + topic.encode()
    body += struct.pack(f">i{partitions}i", partitions, *range(partitions))
    answer = _ask(port, OFFSET_FETCH, 1, body)
    at, offsets = 4 + 2 + len(topic) + 4, {}
    for _ in range(partitions):
        partition, offset, size = struct.unpack_from(">iqh", answer, at)
        at += 14 + max(size, 0)
        (error,) = struct.unpack_from(">h", answer, at)
        at += 2
        offsets[partition] = -1 if error else offset
    return [offsets[partition] for partition in range(partitions)]


def _fetch(port, topic, partition, offset):
    name = topic.encode()
    body = struct.pack(">iiiib", -1, 100, 0, 50 << 20, 0)
    body += struct.pack(">ih", 1, len(name)) + name
    body += struct.pack(">iiqi", 1, partition, offset, 50 << 20)
    answer = _ask(port, FETCH, 4, body)
    at = 4 + 4 + 2 + len(name) + 4  # throttle, topics, name, partitions
    _, error, _, _, aborted = struct.unpack_from(">ihqqi", answer, at)
    if error:
        raise ConnectionError(f"fetch of {topic}-{partition} at {offset}: error {error}")
    at += 26 + 16 * max(aborted, 0)
    (size,) = struct.unpack_from(">i", answer, at)
    return list(_heads(answer[at + 4 : at + 4 + size]))


def _heads(log):
    at = 0
    while at + 61 <= len(log):
        base, length = struct.unpack_from(">qi", log, at)
        magic, _, attributes = struct.unpack_from(">bih", log, at + 16)
        (count,) = struct.unpack_from(">i", log, at + 57)
        if magic != 2:
            raise ValueError(f"a batch of format {magic}")
        yield Batch(base, count, CODECS[attributes & 7])
        at += 12 + length


def _ask(port, key, version, body):
    client = b"families"
    head = struct.pack(">hhih", key, version, 1, len(client)) + client
    with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
        peer.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        (size,) = struct.unpack(">i", _exactly(peer, 4))
        return _exactly(peer, size)[4:]


def _exactly(peer, count):
    got = bytearray()
    while len(got) < count:
        part = peer.recv(min(count - len(got), 1 << 20))
        if not part:
            raise ConnectionError("the broker closed the connection")
        got += part
    return bytes(got)
