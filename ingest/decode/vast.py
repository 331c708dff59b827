"""A tracking pixel's URL, as a player fires it → the tuple of its ad event, or why there is none. Pure, never raises.

    /v1/ad/{event}?imp=…&…   or with anything between:  /v1/ad/{anything}/{event}?…

    name  what                      unit     not taken
    ----  ------------------------  -------  ------------------------------------------------------------------------
    imp   impression_id             uuid     absent: missing_field, no uuid: invalid_uuid; then nothing is kept
    cmp, c, s, p                    uuid     campaign, content, session, profile
    cr    creative_id               text     more than 100 characters
    d     duration of the ad        s        neither a number nor HH:MM:SS; as text of the document: `00:00:30.500`
    off   progress_offset           text     more than 32 characters; of progress alone, or from the path: progress-10
    code  error_code                         what is not three digits is 900, VAST's undefined error
    ts    occurred_at               RFC 3339 or VAST's form of it, or ms since 1970; within 5 min of received_at alone
    test  1 or true
    cb    against caches; says nothing. key is for later, to and sig are a click's (`ingest.click`)

Names are understood in any case. A macro that nobody filled (`[ERRORCODE]`, `%%CACHEBUSTER%%`), -1, -2 (VAST's unknown
and unavailable) and an empty value are *absent*. An attribute that is not taken is left out and counted as an unknown
field is; the event is kept: a player cannot correct its URL, and the impression is money.
"""

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

from config.limits import INT4_MAX
from ingest import ad, codes
from ingest.decode.memo import Memo
from ingest.decode.time import text_us
from ingest.decode.uuid import uuid_field
from ingest.tuple import CLOCK_TOLERANCE_US, NULL, POSTGRES_EPOCH_US

NAMES: Final = frozenset(
    ("imp", "cr", "cmp", "c", "s", "p", "d", "off", "code", "ts", "cb", "key", "test", "to", "sig")
)
"""What a pixel's query may say."""
UNDEFINED_ERROR: Final = "900"
NAME_MAX_CHARS: Final = 64
"""Of what may be an event's name in a path."""

_ABSENT: Final = frozenset(("", "-1", "-2"))
_BEGIN: Final = len(ad.AD_COLUMNS).to_bytes(2, "big")
_EVENTS: Final = {name: len(name).to_bytes(4, "big") + name.encode() for name in ad.EVENTS}
_LENGTH_8: Final = b"\x00\x00\x00\x08"
_TESTS: Final = (b"\x00\x00\x00\x01\x00", b"\x00\x00\x00\x01\x01")
_PICTURE: Final = re.compile(r"\.(?:gif|png|jpe?g)$", re.IGNORECASE)
_PROGRESS: Final = re.compile(rf"progress[-_.:=](.{{1,{ad.OFFSET_MAX_CHARS}}})", re.IGNORECASE)
_SEPARATORS: Final = str.maketrans("", "", "-_.")
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[-_.])")
_SECONDS: Final = re.compile(r"(?:(\d{1,3}):([0-5]?\d):)?(\d{1,9})(?:\.(\d{1,9}))?", re.ASCII)
_VAST_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT)(\d{1,2})(:\d\d:\d\d(?:\.\d+)?)(Z|[+-]\d\d)?(?::?(\d\d))?", re.ASCII)
_UUIDS: Final[Memo[str, bytes]] = Memo(uuid_field, 4_096)


class Pixel(NamedTuple):
    """What one URL came to."""

    row: bytes | None
    code: str | None
    """Why there is no row."""
    unknown: int
    """Names outside NAMES, and attributes that were not taken."""


def parameters(query: str) -> dict[str, str]:
    """What a query says: name in lower case → value, percent-decoded; what is absent is not in it, of doubled names
    the first that says something is.
    """
    found: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if _is_absent(value):
            continue
        name = name.lower().removeprefix("amp;")  # a document that was escaped twice
        if name in found:
            continue
        if "%" in value or "+" in value:
            value = unquote(value.replace("+", " "))
            if _is_absent(value):
                continue
        found[name] = value
    return found


def _is_absent(value: str) -> bool:
    if value in _ABSENT:
        return True
    first = value[0]
    return (first == "[" and value[-1] == "]") or (first == "%" and value[:2] == value[-2:] == "%%")


def _event_of(path: str) -> tuple[str | None, str | None]:
    name = _PICTURE.sub("", unquote(path).rstrip("/").rpartition("/")[2])
    if len(name) > NAME_MAX_CHARS:
        return None, None
    if (found := ad.canonical(name.translate(_SEPARATORS))) is not None:
        return found, None
    if match := _PROGRESS.fullmatch(name):
        return ad.PROGRESS, match[1]
    for word in _WORDS.finditer(name):
        if (found := ad.canonical(name[word.start() :])) is not None:
            return found, None
    return None, None


_PATHS: Final[Memo[str, tuple[str | None, str | None]]] = Memo(_event_of, 1_024)


def event_of(path: str) -> tuple[str | None, str | None]:
    """Event and progress_offset that the last segment of a path as sent names; None where it names none.

    `start`, `START`, `first_quartile`, `start.gif`, `progress-10`, and as the end of more: `adStart`.
    """
    return _PATHS[path] if len(path) <= NAME_MAX_CHARS else _event_of(path)


def decode(path: str, said: dict[str, str], received_at_us: int, *, tests: bool) -> Pixel:
    """`path`: behind /v1/ad/, as sent; `said`: its `parameters`; `tests`: it is test traffic, whatever it says."""
    event, in_path = event_of(path)
    if event is None:
        return Pixel(None, codes.UNKNOWN_EVENT, 0)
    imp = said.get("imp")
    if imp is None:
        return Pixel(None, codes.MISSING_FIELD, 0)
    try:
        impression = uuid_field(imp)
    except ValueError:
        return Pixel(None, codes.INVALID_UUID, 0)
    unknown = len(said.keys() - NAMES)
    fields: list[bytes] = []
    for value, field in (
        (said.get("off", in_path) if event == ad.PROGRESS else None, _offset),
        (said.get("cmp"), _UUIDS.__getitem__),
        (said.get("cr"), _creative),
        (said.get("c"), _UUIDS.__getitem__),
        (said.get("p"), _UUIDS.__getitem__),
        (said.get("s"), _UUIDS.__getitem__),
        (said.get("code"), _error_code),
        (said.get("d"), _duration),
    ):
        if value is None:
            fields.append(NULL)
            continue
        try:
            fields.append(field(value))
        except ValueError:
            fields.append(NULL)
            unknown += 1
    occurred_us = received_at_us
    if (ts := said.get("ts")) is not None:
        try:
            told_us = _time_us(ts)
        except ValueError:
            unknown += 1
        else:
            if abs(told_us - received_at_us) <= CLOCK_TOLERANCE_US:
                occurred_us = told_us
    row = b"".join((
        _BEGIN,
        impression,
        _EVENTS[event],
        fields[0],
        _LENGTH_8,
        (occurred_us - POSTGRES_EPOCH_US).to_bytes(8, "big", signed=True),
        _LENGTH_8,
        (received_at_us - POSTGRES_EPOCH_US).to_bytes(8, "big", signed=True),
        _TESTS[tests or said.get("test", "").lower() in ("1", "true")],
        *fields[1:],
    ))  # fmt: skip
    return Pixel(row, None, unknown)


def _text(value: str, length_max: int) -> bytes:
    if len(value) > length_max or "\0" in value:
        raise ValueError("no such text")
    encoded = value.encode()
    return len(encoded).to_bytes(4, "big") + encoded


def _offset(value: str) -> bytes:
    return _text(value, ad.OFFSET_MAX_CHARS)


def _creative(value: str) -> bytes:
    return _text(value, ad.CREATIVE_MAX_CHARS)


def _error_code(value: str) -> bytes:
    return _text(value if len(value) == 3 and value.isascii() and value.isdigit() else UNDEFINED_ERROR, 3)


def _duration(value: str) -> bytes:
    match = _SECONDS.fullmatch(value)
    if match is None:
        raise ValueError("no duration")
    hours, minutes, whole, fraction = match.groups(default="0")
    ms = ((int(hours) * 60 + int(minutes)) * 60 + int(whole)) * 1_000 + int(fraction[:3].ljust(3, "0"))
    if ms > INT4_MAX:
        raise ValueError("no ad's duration")
    return b"\x00\x00\x00\x04" + ms.to_bytes(4, "big")


def _time_us(value: str) -> int:
    value = value.replace(" ", "+")  # a plus that nobody encoded
    if value.isascii() and value.isdigit() and len(value) <= 15:
        return int(value) * 1_000
    try:
        return text_us(value)
    except ValueError:
        match = _VAST_TIME.fullmatch(value)
        if match is None:
            raise
        date, hour, rest, zone, minutes = match.groups(default="")
        offset = "Z" if zone in ("", "Z") else f"{zone}:{minutes or '00'}"
        return text_us(f"{date}{hour:0>2}{rest}{offset}")
