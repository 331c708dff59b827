"""What one request's events are judged by: when it came, whose it is, and which times it may carry."""

import struct

from msgspec import Struct

from ingest.batch import FLAG_CLOCK_BROKEN, HEARTBEAT_SHIFT
from ingest.decode.limits import Limits
from ingest.tuple import NULL, POSTGRES_EPOCH_US, TIME_MAX_US, TIME_MIN_US, clock_is_broken

_TIME = struct.Struct(">iq").pack


class Request(Struct, frozen=True, gc=False):
    """The circumstances of one request; the same for all its events."""

    received_at_us: int
    limits: Limits
    owner: bytes = b""
    """Of the write key, part of derived ids; empty where none is required."""
    country: str | None = None
    """What a trusted CDN says, two characters, for events that do not say it themselves."""
    tests: bool = False
    """Every event is test traffic, whatever it says."""
    heartbeat: int = 0
    """Class (`config.heartbeat`) of the write key's interval."""


Window = tuple[int, int, int, bytes]
"""What one `sent_at`, or its absence, means for an event's time: the first and the last raw occurred_at that is taken
(microseconds since 1970), the flags of its frame, and sent_at as a field of the tuple (length and value)."""


def window(sent_us: int | None, request: Request) -> Window:
    """The rule of DESIGN §3: a sane clock is held to the door's limits, a broken one to the years 1970–2100."""
    received_us, flags = request.received_at_us, request.heartbeat << HEARTBEAT_SHIFT
    if sent_us is None:
        field = NULL
    else:
        field = _TIME(8, sent_us - POSTGRES_EPOCH_US)
        if clock_is_broken(sent_us, received_us):
            return TIME_MIN_US, TIME_MAX_US, flags | FLAG_CLOCK_BROKEN, field
    earliest_us = received_us - request.limits.past_us
    latest_us = received_us + request.limits.future_us
    if earliest_us < TIME_MIN_US or latest_us > TIME_MAX_US:
        earliest_us, latest_us = max(TIME_MIN_US, earliest_us), min(TIME_MAX_US, latest_us)
    return earliest_us, latest_us, flags, field


def trusted_country(header: str | None) -> str | None:
    """A CDN's header, when it is two ASCII letters or digits (`T1` is a country to some); None otherwise."""
    if header is not None and len(header) == 2 and header.isascii() and header.isalnum():
        return header
    return None
