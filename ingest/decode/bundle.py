"""Tuples → frame bodies: one for each kind of row, state of the player's clock and UTC month; nearly always one."""

from collections.abc import Sequence
from itertools import compress

from ingest.batch import (
    FLAG_CLOCK_BROKEN,
    KIND_AD,
    KIND_SIGNAL,
    MONTH_AD,
    MONTH_UNSETTLED,
    SCHEMA_AD,
    SCHEMA_PLAYBACK,
    FrameBody,
)
from ingest.decode.memo import Memo
from ingest.tuple import month_of

_DAY_US = 86_400_000_000
_MONTHS: Memo[int, int] = Memo(lambda day: month_of(day * _DAY_US), 4_096)
"""Day since 1970 → month, for all days a time may have."""


def bundle(tuples: Sequence[bytes], times_us: Sequence[int], groups: Sequence[int]) -> tuple[list[FrameBody], int]:
    """Bodies in order of first appearance, and how many tuples were left out as repeats of a key.

    A key is (occurred_at, event_id), for rows and for signals apart, and of ad events all that they say; of repeats the
    first stays. The sequences are parallel: the tuple, its occurred_at, its kind << 8 | flags.
    """
    count = len(tuples)
    if count == 0:
        return [], 0
    if count == 1:
        row, group = tuples[0], groups[0]
        month = _month(group, times_us[0])
        return [_body(group, month, [row])], 0
    duplicates = 0
    if len({row[6:22] for row in tuples}) < count:
        keep = _firsts(tuples, groups)
        tuples, times_us = list(compress(tuples, keep)), list(compress(times_us, keep))
        groups = list(compress(groups, keep))
        duplicates = count - len(tuples)
    first = groups[0]
    if groups.count(first) == len(groups):
        month = _month(first, min(times_us))
        if month == _month(first, max(times_us)):
            return [_body(first, month, tuples)], duplicates
    bodies: dict[tuple[int, int], list[bytes]] = {}
    for row, time_us, group in zip(tuples, times_us, groups, strict=True):
        bodies.setdefault((group, _month(group, time_us)), []).append(row)
    return [_body(group, month, rows) for (group, month), rows in bodies.items()], duplicates


def _firsts(tuples: Sequence[bytes], groups: Sequence[int]) -> list[bool]:
    seen: set[tuple[int, bytes]] = set()
    keep: list[bool] = []
    for row, group in zip(tuples, groups, strict=True):
        kind = group >> 8
        # of an ad event told in two ways each may know what the other does not: the store merges both
        key = (kind, row if kind == KIND_AD else row[66:74] + row[6:22])
        keep.append(key not in seen)
        seen.add(key)
    return keep


def _month(group: int, time_us: int) -> int:
    if group >> 8 == KIND_AD:
        return MONTH_AD
    if group >> 8 == KIND_SIGNAL or group & FLAG_CLOCK_BROKEN:
        return MONTH_UNSETTLED
    return _MONTHS[time_us // _DAY_US]


def _body(group: int, month: int, rows: Sequence[bytes]) -> FrameBody:
    kind = group >> 8
    schema = SCHEMA_AD if kind == KIND_AD else SCHEMA_PLAYBACK
    return FrameBody.of(kind, group & 0xFF, month, rows, schema)
