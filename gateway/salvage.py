"""What can still be told of a segment's bytes, or of some of them, and how certain it is. Pure.

Certain is what a checksum of 64 bits vouches for, seeded with the incarnation, or a hash of every tuple in a head that
one vouches for; a single bit that was turned may be turned back until one does. Everything else that looks like a tuple
is uncertain, however good it looks: it may hold a wrong number, and is never sent anywhere by itself.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

from gateway.wire_event import NotAnEvent, event_of, row_of
from ingest.batch import SCHEMA_PLAYBACK
from ingest.spool import frame
from ingest.spool.frame import CHECKSUM, HEAD, HEAD_BYTES, MAGIC_BYTES, MASK, Frame, TornFrame
from ingest.tuple import row_hash

MEND_SIZE_MAX_BYTES: Final = 8 * 1024
"""Of a payload in which one bit is looked for: a tenth of a second."""
TUPLE_BEGIN: Final = b"\x00\x18\x00\x00\x00\x10"
"""24 fields, the first of 16 bytes."""
TUPLE_SIZE_MAX_BYTES: Final = 16 * 1024
"""Of one tuple: columns of full length and 2 KiB of metadata, encoded anew, are less than half."""


class Stretch(NamedTuple):
    """Some bytes of a file, from `at` to `end`."""

    at: int
    end: int
    what: str
    """frame · mended_frame: one bit was turned back · hashed_frame: its tuples are vouched for one by one in its head ·
    damaged_frame: only its head is whole · headless_frame: only its payload is whole · damage"""
    head: Frame | None
    """Where it is whole; its tuples are in `rows`."""
    rows: list[bytes]
    certain: bool
    """Whether `rows` are what was acknowledged."""


def stretches(data: bytes, at: int, seed: int) -> Iterator[Stretch]:
    """Everything from `at` on, without gaps. Frames are looked for at every offset: bytes before may be missing."""
    done = hit = at
    while (hit := data.find(MAGIC_BYTES, hit)) >= 0:
        found = _frame_at(data, hit, seed)
        if found is None:
            hit += 1
            continue
        if hit > done:
            yield _damage(data, done, hit)
        yield found
        done = hit = found.end
    if done < len(data):
        yield _damage(data, done, len(data))


def is_of(data: bytes, seed: int) -> bool:
    """Whether any frame's head in `data` is of the incarnation with this seed."""
    at = -1
    while (at := data.find(MAGIC_BYTES, at + 1)) >= 0:
        try:
            frame.decode_head(data, at, seed)
        except TornFrame:
            continue
        return True
    return False


def _frame_at(data: bytes, at: int, seed: int) -> Stretch | None:
    """None when nothing is certain of the head there, nor of a payload behind it."""
    try:
        found, after = frame.decode(data, at, seed)
    except TornFrame:
        pass
    else:
        return Stretch(at, after, "frame", found, found.tuples(), True)
    try:
        head, after = frame.decode_head(data, at, seed)
    except TornFrame:
        return _without_head(data, at, seed)
    end = _next_frame(data, at + HEAD_BYTES, min(after, len(data)), seed)
    whole = _payload_mended(data, at, seed) if end == after else None
    if whole is not None:
        return Stretch(at, after, "mended_frame", head, whole.tuples(), True)
    rows = _tuples_of(data, at, head)
    if rows is not None:
        return Stretch(at, end, "hashed_frame", head, rows, True)
    return Stretch(at, end, "damaged_frame", head, _scattered(data, at + HEAD_BYTES, end), False)


def _next_frame(data: bytes, at: int, end: int, seed: int) -> int:
    """Where between these places a whole frame begins: bytes before it are missing then; `end` when none does."""
    while (at := data.find(MAGIC_BYTES, at, end + len(MAGIC_BYTES) - 1)) >= 0:
        try:
            frame.decode(data, at, seed)
        except TornFrame:
            at += 1
        else:
            return at
    return end


def _without_head(data: bytes, at: int, seed: int) -> Stretch | None:
    """One bit of the head turned back, else the payload that its own checksum in the damaged head vouches for."""

    def is_right(head: bytearray) -> bool:
        (checksum,) = CHECKSUM.unpack_from(head, HEAD.size)
        return bool(xxh3_64_intdigest(head[: HEAD.size], seed) == checksum)

    if len(data) - at < HEAD_BYTES:
        return None
    head = _mended(data[at : at + HEAD_BYTES], is_right)
    if head is not None:
        size_bytes = HEAD.unpack_from(head)[5]
        size_bytes += HEAD_BYTES + (-size_bytes % 8)
        try:
            found, after = frame.decode(head + data[at + HEAD_BYTES : at + size_bytes], 0, seed)
        except TornFrame:
            return None
        return Stretch(at, at + after, "mended_frame", found, found.tuples(), True)
    checksum = HEAD.unpack_from(data, at)[20]
    begin = data.find(TUPLE_BEGIN, at + HEAD_BYTES, at + HEAD_BYTES + TUPLE_SIZE_MAX_BYTES)
    rows, end = _consecutive(data, begin) if begin >= 0 else ([], 0)
    if rows and xxh3_64_intdigest(memoryview(data)[at + HEAD_BYTES : end], seed) == checksum:
        return Stretch(at, end + (-(end - at) % 8), "headless_frame", None, rows, True)
    return None


def _payload_mended(data: bytes, at: int, seed: int) -> Frame | None:
    """The frame at `at`, whose head is whole, with one bit of its payload turned back."""
    fields = HEAD.unpack_from(data, at)
    begin, length_bytes, checksum = at + HEAD_BYTES, fields[5], fields[20]
    payload = data[begin : begin + length_bytes]
    if len(payload) < length_bytes or length_bytes > MEND_SIZE_MAX_BYTES:
        return None
    mended = _mended(payload, lambda trial: xxh3_64_intdigest(trial, seed) == checksum)
    if mended is None:
        return None
    found, _ = frame.decode(data[at:begin] + mended + bytes(-length_bytes % 8), 0, seed)
    return found


def _mended(data: bytes, is_right: Callable[[bytearray], bool]) -> bytes | None:
    """`data` with the one bit turned that makes it right; None when no single bit does."""
    trial = bytearray(data)
    for at in range(len(trial)):
        for bit in range(8):
            trial[at] ^= 1 << bit
            if is_right(trial):
                return bytes(trial)
            trial[at] ^= 1 << bit
    return None


def _tuples_of(data: bytes, at: int, head: Frame) -> list[bytes] | None:
    """All tuples of a frame whose payload is damaged beside them; None unless their hashes add up to the head's."""
    fields = HEAD.unpack_from(data, at)
    begin = at + HEAD_BYTES + 8 * fields[6] + 4 * head.count
    rows, end = _consecutive(data, begin, head.count)
    whole = len(rows) == head.count and end == at + HEAD_BYTES + fields[5]
    return rows if whole and sum(map(row_hash, rows)) & MASK == head.rows_hash else None


def _consecutive(data: bytes, at: int, most: int = -1) -> tuple[list[bytes], int]:
    """Tuples one behind the other from `at` on, and where they end."""
    rows: list[bytes] = []
    while len(rows) != most and (end := _tuple_end(data, at)) is not None:
        rows.append(data[at:end])
        at = end
    return rows, at


def _scattered(data: bytes, begin: int, end: int) -> list[bytes]:
    """Whatever reads as an event between these places."""
    rows = []
    while (begin := data.find(TUPLE_BEGIN, begin, end)) >= 0:
        after = _tuple_end(data, begin)
        row = data[begin:after] if after is not None and after <= end else b""
        if not _is_event(row):
            begin += 1
            continue
        rows.append(row)
        begin += len(row)
    return rows


def _damage(data: bytes, at: int, end: int) -> Stretch:
    return Stretch(at, end, "damage", None, _scattered(data, at, end), False)


def _tuple_end(data: bytes, at: int) -> int | None:
    """Where the tuple at `at` ends by its own lengths; None when there is none."""
    if data[at : at + len(TUPLE_BEGIN)] != TUPLE_BEGIN:
        return None
    begin, at = at, at + 2
    for _ in range(TUPLE_BEGIN[1]):
        length_bytes = int.from_bytes(data[at : at + 4], "big", signed=True)
        at += 4 + max(length_bytes, 0)
        if length_bytes < -1 or at > min(len(data), begin + TUPLE_SIZE_MAX_BYTES):
            return None
    return at


def _is_event(row: bytes) -> bool:
    try:
        event_of(row_of(row, SCHEMA_PLAYBACK))
    except NotAnEvent:
        return False
    return True
