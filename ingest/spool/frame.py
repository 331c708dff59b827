"""A frame: what one request brought, framed so that a torn write is told from a whole one. Pure.

The layout is specified in the package's docstring. Head and payload have a checksum each: a head whose payload is
damaged still says how far it goes and what was lost with it, and no length is believed that was not checked.

Checksums are seeded with the incarnation's random identity. Tuples are laid out by what players send (an identifier is
16 bytes of their choice), so the bytes of a frame can be put into events; the seed is not known to players. Nor is a
frame of another incarnation, on an old block of the disk, taken for one of this.
"""

from struct import Struct, pack, unpack, unpack_from
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from config.limits import FRAME_SIZE_MAX_BYTES
from ingest.batch import FrameBody

MAGIC = int.from_bytes(b"SVFRAME1", "little")
MAGIC_BYTES = b"SVFRAME1"
HEAD = Struct("<QBBHIIHHQqIIQQQQQQQQQ")
"""Everything before the head's own checksum."""
CHECKSUM = Struct("<Q")
HEAD_BYTES = HEAD.size + 8
MASK = 2**64 - 1

assert HEAD_BYTES == 128


class Totals(NamedTuple):
    """Running totals of an incarnation: received = rows + signals + duplicates + rejected."""

    received: int = 0
    rows: int = 0
    signals: int = 0
    duplicates: int = 0
    rejected: int = 0

    def plus(self, other: "Totals") -> "Totals":
        return Totals(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def minus(self, other: "Totals") -> "Totals":
        return Totals(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))


class MonthTotals(NamedTuple):
    """Rows of one month in an incarnation, and the order-free sum of their hashes modulo 2^64."""

    rows: int = 0
    hash: int = 0


class Frame(NamedTuple):
    """A frame as read back."""

    kind: int
    flags: int
    schema: int
    count: int  # type: ignore[assignment]  # tuple.count is nothing one asks a frame
    sequence: int
    received_at_us: int
    month: int
    rows_hash: int
    month_totals: MonthTotals
    """Of `month`, this frame included; zeros for signals."""
    totals: Totals
    """This frame included."""
    rejected_by_code: tuple[int, ...]
    """Running counts in the order of ingest.codes; empty when unchanged since the frame before."""
    ends_table: bytes
    """Where each tuple ends within `rows`, u32 each."""
    rows: bytes
    """The tuples, one behind the other: what COPY takes between its header and its trailer."""

    @property
    def ends(self) -> tuple[int, ...]:
        """The table as numbers."""
        return unpack(f"<{self.count}I", self.ends_table)

    def tuples(self) -> list[bytes]:
        """Each event's COPY tuple."""
        rows, begin, result = self.rows, 0, []
        for end in self.ends:
            result.append(rows[begin:end])
            begin = end
        return result


class TornFrame(Exception):
    """These bytes are no whole frame."""


class CutFrame(TornFrame):
    """The bytes end before the frame does."""

    def __init__(self, detail: str, needed_bytes: int) -> None:
        super().__init__(detail)
        self.needed_bytes = needed_bytes
        """From the frame's begin on, to know more."""


def seed_of(incarnation: str) -> int:
    """What the checksums of an incarnation (32 hex digits) are seeded with."""
    return int(incarnation[:16], 16)


def encode(
    body: FrameBody,
    sequence: int,
    received_at_us: int,
    month_totals: MonthTotals,
    totals: Totals,
    rejected_by_code: tuple[int, ...] = (),
    seed: int = 0,
) -> bytes:
    """The frame's bytes, padded to a multiple of 8."""
    assert body.count > 0 and len(body.payload) + 8 * len(rejected_by_code) <= FRAME_SIZE_MAX_BYTES
    count, payload = body.count, body.payload
    if rejected_by_code:
        payload = pack(f"<{len(rejected_by_code)}Q", *rejected_by_code) + payload
    length_bytes = len(payload)
    head = HEAD.pack(
        MAGIC,
        body.kind,
        body.flags,
        body.schema,
        count,
        length_bytes,
        len(rejected_by_code),
        0,
        sequence,
        received_at_us,
        body.month,
        0,
        body.rows_hash,
        *month_totals,
        *totals,
        xxh3_64_intdigest(payload, seed),
    )
    return b"".join((head, xxh3_64_intdigest(head, seed).to_bytes(8, "little"), payload, bytes(-length_bytes % 8)))


def decode(data: bytes, at: int = 0, seed: int = 0) -> tuple[Frame, int]:
    """The frame that begins at `at`, and where the next one begins. Raises TornFrame, whatever the bytes are."""
    head = _head(data, at, seed)
    count, length_bytes, codes = head[4], head[5], head[6]
    begin = at + HEAD_BYTES
    stop = begin + length_bytes
    after = stop + (-length_bytes % 8)
    if after > len(data):
        raise CutFrame(f"payload cut at {at}", after - at)
    if xxh3_64_intdigest(memoryview(data)[begin:stop], seed) != head[20]:
        raise TornFrame(f"payload checksum at {at}")
    tables = begin + 8 * codes
    ends_table = data[tables : tables + 4 * count]
    rows = data[tables + 4 * count : stop]
    if int.from_bytes(ends_table[-4:], "little") != len(rows):
        raise TornFrame(f"tuples do not fill the payload at {at}")
    return _frame(head, unpack_from(f"<{codes}Q", data, begin), ends_table, rows), after


def decode_head(data: bytes, at: int = 0, seed: int = 0) -> tuple[Frame, int]:
    """As `decode`, for a frame whose payload may be damaged: without tuples and refusals. Raises TornFrame."""
    head = _head(data, at, seed)
    return _frame(head, (), b"", b""), at + HEAD_BYTES + head[5] + (-head[5] % 8)


def _head(data: bytes, at: int, seed: int) -> tuple[int, ...]:
    """The fields of HEAD. Raises TornFrame."""
    if len(data) - at < HEAD_BYTES:
        raise CutFrame(f"head cut at {at}", HEAD_BYTES)
    head = HEAD.unpack_from(data, at)
    if head[0] != MAGIC:
        raise TornFrame(f"no magic at {at}")
    if xxh3_64_intdigest(data[at : at + HEAD.size], seed) != CHECKSUM.unpack_from(data, at + HEAD.size)[0]:
        raise TornFrame(f"head checksum at {at}")
    return head


def _frame(head: tuple[int, ...], rejected_by_code: tuple[int, ...], ends_table: bytes, rows: bytes) -> Frame:
    return Frame(
        head[1], head[2], head[3], head[4], head[8], head[9], head[10], head[12],
        MonthTotals(head[13], head[14]), Totals._make(head[15:20]), rejected_by_code, ends_table, rows,
    )  # fmt: skip


def find_next(data: bytes, at: int, seed: int = 0) -> int | None:
    """Where the next valid frame begins, from `at` on; None when there is none in `data`."""
    while (at := data.find(MAGIC_BYTES, at)) >= 0:
        if at % 8 == 0:
            try:
                decode(data, at, seed)
            except TornFrame:
                pass
            else:
                return at
        at += 1
    return None
