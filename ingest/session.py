"""Requests of sessions that shall stop reporting: those over the limit of their user's plan. Pure."""

import re
from collections.abc import Set
from typing import Final

from ingest.answer import Answer, refusal
from ingest.batch import KIND_AD, Batch
from ingest.decode.uuid import uuid_bytes

TOO_MANY_STREAMS: Final[Answer] = refusal(
    410, "too_many_streams", "This session is over the streams that the plan allows at once; it is not to report again."
)
NAMED: Final = re.compile(rb'"session_id"\s*:\s*"([0-9A-Fa-f-]{32,36})"')


def names_only(body: bytes, sessions: Set[bytes]) -> bool:
    """Whether a body looks as if all of it were of these sessions: a quick look, which may be wrong both ways."""
    found = set(NAMED.findall(body))
    try:
        return bool(found) and all(uuid_bytes(one.decode("ascii")) in sessions for one in found)
    except ValueError:
        return False


def is_of_only(batch: Batch, sessions: Set[bytes]) -> bool:
    """Whether there are events, every one is of these sessions, and none was wrong. Ad events are money, not streams:
    whoever watches is paid for.
    """
    if batch.rejected or not batch.bodies or any(body.kind == KIND_AD for body in batch.bodies):
        return False
    return all(row[46:62] in sessions for body in batch.bodies for row in body.tuples)
