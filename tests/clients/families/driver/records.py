"""The records that the checks send, and how two of them are compared."""

import hashlib
from dataclasses import dataclass

#: A moment long ago: who replaces timestamps by the present is seen.
MOMENT = 1_600_000_000_123
BIG = 900 * 1024


@dataclass(frozen=True)
class Record:
    """A record as it was sent, or as it was read (then with its offset)."""

    key: bytes | None = None
    value: bytes | None = None
    headers: tuple = ()
    timestamp: int | None = None
    partition: int = 0
    offset: int | None = None


def noise(length, seed):
    """Bytes that look random and are the same in every run."""
    got = bytearray()
    while len(got) < length:
        got += hashlib.sha256(f"{seed} {len(got)}".encode()).digest()
    return bytes(got[:length])


def half_noise(length, seed):
    """Half noise, half filler: a codec has something to do and something to keep."""
    return noise(length // 2, seed) + b"g" * (length - length // 2)


def of_the_matrix():
    """What each family writes with each codec."""
    # Without what cannot stand on kcat's command line, or between what it prints.
    noisy = noise(60, "header").translate(None, b"\0\n,=")
    headers = (("a", b"1"), ("a", b"2"), ("empty", b""), ("noise", noisy))
    rows = [
        (b"key", b"value", ()),
        (None, b"no key", ()),
        (b"tombstone", None, ()),
        (None, None, ()),
        (b"", b"", ()),
        (bytes(range(256)), bytes(reversed(range(256))), ()),
        ("ключ".encode(), "значение ✓".encode(), ()),
        (b"headers", b"with headers", headers),
        (b"null header", b"v", (("null", None),)),
        *((f"k{i}".encode(), half_noise(40 * i, i), ()) for i in range(60)),
        (b"big", half_noise(BIG, "big"), headers[:2]),
        (b"last", b"behind the big one", ()),
    ]
    return [
        Record(key, value, head, MOMENT + 7 * index)
        for index, (key, value, head) in enumerate(rows)
    ]


def difference(sent, got):
    """What differs between a record that was sent and one that was read, or None."""
    for field in ("key", "value", "headers", "timestamp"):
        due, is_ = getattr(sent, field), getattr(got, field)
        if field == "timestamp" and due is None:
            continue
        if due != is_:
            return f"{field}: sent {_short(due)}, read {_short(is_)}"
    return None


def _short(value):
    text = repr(value)
    size = f" ({len(value)} bytes)" if isinstance(value, bytes) else ""
    return (text if len(text) < 100 else text[:60] + "...") + size
