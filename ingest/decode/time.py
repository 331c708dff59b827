"""Times as players send them: RFC 3339 with an offset, or integer milliseconds since 1970 → microseconds since 1970.

Both ways of decoding come here. The first 19 characters (to the second) and the rest (fraction and offset) are each
remembered: a crowd's events share seconds, and milliseconds have a thousand values.
"""

import re
from datetime import date
from typing import Final

from ingest import codes
from ingest.decode.memo import Memo
from ingest.decode.undecodable import Refused
from ingest.tuple import TIME_MAX_US, TIME_MIN_US

TIME_TEXT_MAX_CHARS: Final = 64
"""Of a time as text: 29 characters with microseconds and offset, the rest is room for useless digits."""

_SECOND = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})")
_REST = re.compile(r"(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))")
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_LEAP_CYCLE_DAYS: Final = 1_461
"""The years 0–3, which Python's calendar lacks, have as many days as the years 4–7."""


def _second_us(text: str) -> int:
    """'2026-11-22T20:00:00' → microseconds, were the offset zero."""
    match = _SECOND.fullmatch(text)
    if match is None:
        raise ValueError("not RFC 3339")
    year, month, day, hour, minute, second = map(int, match.groups())
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("no such time of day")
    if year == 0:  # the one year of RFC 3339 before Python's calendar
        days = date(4, month, day).toordinal() - _LEAP_CYCLE_DAYS
    else:
        days = date(year, month, day).toordinal()
    return ((((days - _EPOCH_DAY) * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000


def _rest_us(text: str) -> int:
    """'.123+02:00' → microseconds to add."""
    match = _REST.fullmatch(text)
    if match is None or len(text) > TIME_TEXT_MAX_CHARS - 19:
        raise ValueError("not RFC 3339")
    fraction, sign, hours, minutes = match.groups()
    us = 0 if fraction is None else int(fraction[:6].ljust(6, "0"))
    if sign is None:
        return us
    if int(hours) > 23 or int(minutes) > 59:
        raise ValueError("no such offset")
    offset_us = (int(hours) * 60 + int(minutes)) * 60_000_000
    return us - offset_us if sign == "+" else us + offset_us


SECONDS: Final[Memo[str, int]] = Memo(_second_us, 16_384)
RESTS: Final[Memo[str, int]] = Memo(_rest_us, 8_192)


def text_us(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 text, any year; ValueError when it is none."""
    return SECONDS[text[:19]] + RESTS[text[19:]]


def time_us(value: object, path: str) -> int:
    """Microseconds since 1970 of a time as sent (text or integer), within the years 1970–2100; raises Refused."""
    if type(value) is int:
        us = value * 1_000
    elif isinstance(value, str):
        try:
            us = text_us(value)
        except ValueError:
            raise Refused(codes.INVALID_TIME, path) from None
    else:
        raise Refused(codes.INVALID_TYPE, path, "A time is an RFC 3339 text or an integer of milliseconds since 1970.")
    if not TIME_MIN_US <= us <= TIME_MAX_US:
        raise Refused(codes.OUT_OF_RANGE, path, "The time is outside the years 1970 to 2100.")
    return us
