"""Signs for the quality of experience, and what they come to in a fold."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import count
from typing import Any

from storage.qoe.answer import Told, told
from storage.qoe.fold import Fold, FollowedSign
from storage.qoe.session import KINDS, Sign
from tests.signs import LEASE, LEASES, NOW

SECOND = 1_000_000
MINUTE = 60 * SECOND
BEGIN = NOW // MINUTE * MINUTE
"""A full minute; time in these tests is seconds from then on."""
PLACE = (b"\xc0" * 16, b"web", b"fra-1", b"DE")

_numbers = count(1)


def a_sign(kind: str, at_s: float, sequence: int = -1, session: int = 1, **changes: Any) -> FollowedSign:
    """Received when it happened, unless told otherwise."""
    at_us = BEGIN + round(at_s * SECOND)
    received_us = BEGIN + round(changes.pop("received_s", at_s) * SECOND)
    sign = Sign(
        next(_numbers).to_bytes(8, "big"), KINDS[kind.encode()], sequence, at_us, received_us, -1, -1, -1, -1, PLACE
    )
    return session_of(session), sign._replace(**changes)


def session_of(number: int) -> bytes:
    return random.Random(number).randbytes(16)


def numbered(*signs: FollowedSign, first: int = 0) -> list[FollowedSign]:
    """The same with the sequence in which they stand."""
    return [(session, sign._replace(sequence=first + at)) for at, (session, sign) in enumerate(signs)]


def heartbeats(from_s: int, until_s: int, **changes: Any) -> list[FollowedSign]:
    """Every ten seconds, the first ten seconds behind `from_s`, before `until_s`."""
    return [a_sign("heartbeat", at_s, **changes) for at_s in range(from_s + 10, until_s, 10)]


def a_fold(sessions_max: int = 10**6, signs_per_s_max: int = 10**6) -> Fold:
    fold = Fold(sessions_max, signs_per_s_max, LEASES)
    fold.since_us = BEGIN
    return fold


def folded(signs: Iterable[FollowedSign], fold: Fold | None = None, size: int = 20) -> Fold:
    """Taken in this order, `size` at a time, and then everything waited for."""
    fold, signs = fold or a_fold(), list(signs)
    for first in range(0, len(signs), size):
        part = signs[first : first + size]
        fold.take(part)
        fold.tick(max(sign.received_us for _, sign in part))
    fold.tick(fold.clock_us + LEASE + 11 * SECOND)
    return fold


def group_of(signs: Iterable[FollowedSign] | Fold, by: str | None = None) -> Told:
    """The one group of a window of an hour."""
    fold = signs if isinstance(signs, Fold) else folded(signs)
    (group,) = told(fold, by, 60, fold.clock_us).groups
    return group
