"""A segment: one file of frames behind a header; its name says where it begins and whether it may still grow. Pure."""

import re
from struct import Struct, pack, unpack_from
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from ingest.spool.frame import MonthTotals, Totals

MAGIC = int.from_bytes(b"SVSEGMT1", "little")
VERSION = 1
HEAD = Struct("<QII16sQqQQQQQII")
OPEN = ".open"
SEALED = ".sealed"
NAME = re.compile(r"([0-9a-f]{16})\.(?:open|sealed)")
HEAD_SIZE_MAX_BYTES = 64 * 1024
"""Room for more months and codes than an incarnation can see."""


class TornSegment(Exception):
    """These bytes are no whole segment header."""


class UnknownVersion(Exception):
    """Written by a newer gateway; nothing is dropped, nothing is read."""


class SegmentHead(NamedTuple):
    """The state of the incarnation before the segment's first frame."""

    incarnation: bytes
    base_sequence: int
    created_at_us: int
    totals: Totals
    months: dict[int, MonthTotals]
    rejected_by_code: tuple[int, ...]


def encode(head: SegmentHead) -> bytes:
    """The header's bytes, a multiple of 8."""
    months = b"".join(pack("<IIQQ", month, 0, *totals) for month, totals in sorted(head.months.items()))
    codes = pack(f"<{len(head.rejected_by_code)}Q", *head.rejected_by_code)
    header_bytes = HEAD.size + len(months) + len(codes) + 8
    assert header_bytes % 8 == 0 and header_bytes <= HEAD_SIZE_MAX_BYTES
    fixed = HEAD.pack(
        MAGIC,
        VERSION,
        header_bytes,
        head.incarnation,
        head.base_sequence,
        head.created_at_us,
        *head.totals,
        len(head.months),
        len(head.rejected_by_code),
    )
    before = fixed + months + codes
    return before + pack("<Q", xxh3_64_intdigest(before))


def decode(data: bytes) -> tuple[SegmentHead, int]:
    """The header at the begin of `data` and its size in bytes. Raises TornSegment, UnknownVersion."""
    if len(data) < HEAD.size:
        raise TornSegment("header cut")
    magic, version, header_bytes, incarnation, base_sequence, created_at_us, *rest = HEAD.unpack_from(data)
    if magic != MAGIC:
        raise TornSegment("no magic")
    if header_bytes > min(len(data), HEAD_SIZE_MAX_BYTES) or header_bytes < HEAD.size + 8:
        raise TornSegment("impossible header length")
    (checksum,) = unpack_from("<Q", data, header_bytes - 8)
    if xxh3_64_intdigest(data[: header_bytes - 8]) != checksum:
        raise TornSegment("checksum")
    if version != VERSION:  # asked last: a damaged version is damage, not a newer gateway
        raise UnknownVersion(f"segment version {version}, this gateway reads {VERSION}")
    *totals, months_count, codes_count = rest
    at = HEAD.size
    months = {}
    for _ in range(months_count):
        month, _, rows, hash_sum = unpack_from("<IIQQ", data, at)
        months[month] = MonthTotals(rows, hash_sum)
        at += 24
    rejected = unpack_from(f"<{codes_count}Q", data, at)
    return SegmentHead(incarnation, base_sequence, created_at_us, Totals(*totals), months, rejected), header_bytes


def name(base_sequence: int, suffix: str) -> str:
    """0 → 0000000000000000.open"""
    return f"{base_sequence:016x}{suffix}"


def base_of(file: str) -> int | None:
    """The base sequence in a segment's file name; None for any other name."""
    found = NAME.fullmatch(file)
    return int(found[1], 16) if found else None
