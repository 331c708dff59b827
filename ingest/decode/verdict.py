"""The slow way: one event by its field table. It alone refuses, and says what and why.

Fields are judged in the order of the table in `ingest.event`; the first fault is the verdict.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple
from uuid import UUID

from config.limits import BIGINT_SAFE_MAX, INT4_MAX
from ingest import codes
from ingest.batch import KIND_PLAYBACK, KIND_SIGNAL
from ingest.decode.metadata import metadata_text
from ingest.decode.request import Request, window
from ingest.decode.time import time_us
from ingest.decode.undecodable import Refused
from ingest.decode.uuid import uuid_bytes
from ingest.event import EVENT_TYPES, HEARTBEAT
from ingest.identity import derived_event_id
from ingest.tuple import Row, encode

Rule = Callable[[object, str], object]
"""(value as sent, path) → value of the row; raises Refused."""


class Verdict(NamedTuple):
    """An accepted event."""

    row: bytes
    occurred_us: int
    group: int
    """kind << 8 | flags."""


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise Refused(codes.INVALID_TYPE, path, "The value is not a text.")
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        raise Refused(codes.INVALID_TEXT, path) from None
    if "\0" in value:
        raise Refused(codes.INVALID_TEXT, path)
    return value


def _text_of(length_max: int, length_min: int = 0) -> Rule:
    def rule(value: object, path: str) -> str:
        text = _text(value, path)
        if len(text) > length_max:
            raise Refused(codes.TOO_LONG, path, f"The text has more than {length_max} characters.")
        if len(text) < length_min:
            raise Refused(codes.TOO_SHORT, path, f"The text has fewer than {length_min} characters.")
        return text

    return rule


def _event_type(value: object, path: str) -> str:
    text = _text(value, path)
    if text not in EVENT_TYPES:
        raise Refused(codes.UNKNOWN_EVENT_TYPE, path, f"The event_type is none of {', '.join(EVENT_TYPES)}.")
    return text


def _uuid(value: object, path: str) -> UUID:
    text = _text(value, path)
    try:
        return UUID(bytes=uuid_bytes(text))
    except ValueError:
        raise Refused(codes.INVALID_UUID, path) from None


def _time(value: object, path: str) -> int:
    return time_us(_text(value, path) if isinstance(value, str) else value, path)


def _boolean(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise Refused(codes.INVALID_TYPE, path, "The value is neither true nor false.")
    return value


def _integer_to(value_max: int) -> Rule:
    def rule(value: object, path: str) -> int:
        if type(value) is not int:
            raise Refused(codes.INVALID_TYPE, path, "The value is not an integer.")
        return _within(value, value_max, path)

    return rule


def _seconds(value: object, path: str) -> int:
    """A number that may have a fraction, which is dropped."""
    if type(value) is float:
        if math.isinf(value):
            raise Refused(codes.OUT_OF_RANGE, path)
        value = math.floor(value)
    if type(value) is not int:
        raise Refused(codes.INVALID_TYPE, path, "The value is not a number.")
    return _within(value, INT4_MAX, path)


def _within(value: int, value_max: int, path: str) -> int:
    if not 0 <= value <= value_max:
        raise Refused(codes.OUT_OF_RANGE, path, f"The number is outside 0 to {value_max}.")
    return value


class Field(NamedTuple):
    """One line of the table in `ingest.event`."""

    name: str
    column: str
    """The field of `ingest.tuple.Row` it becomes."""
    rule: Rule
    required: bool = False


_INTEGER = _integer_to(INT4_MAX)
FIELDS: Final[tuple[Field, ...]] = (
    Field("event_type", "event_type", _event_type, required=True),
    Field("content_id", "content_id", _uuid, required=True),
    Field("session_id", "session_id", _uuid, required=True),
    Field("occurred_at", "occurred_at_us", _time, required=True),
    Field("event_id", "event_id", _uuid),
    Field("sequence", "sequence", _integer_to(BIGINT_SAFE_MAX)),
    Field("position", "position_s", _seconds),
    Field("duration", "duration_s", _seconds),
    Field("test", "test", _boolean),
    Field("sent_at", "sent_at_us", _time),
    Field("profile_id", "profile_id", _uuid),
    Field("quality", "quality", _text_of(20)),
    Field("bitrate", "bitrate_kbps", _INTEGER),
    Field("device_type", "device_type", _text_of(50)),
    Field("platform", "platform", _text_of(50)),
    Field("cdn_edge", "cdn_edge", _text_of(100)),
    Field("buffer_duration", "buffer_duration_ms", _INTEGER),
    Field("startup_ms", "startup_ms", _INTEGER),
    Field("error_code", "error_code", _text_of(50)),
    Field("player", "player", _text_of(100)),
    Field("app_version", "app_version", _text_of(50)),
    Field("country", "country", _text_of(2, length_min=2)),
)
"""All but `type` and `metadata`, which are not values of their own."""


def judge(event: object, metadata: bytes | None, request: Request, sent_us: int | None) -> Verdict:
    """The tuple of one event as parsed by the standard library; raises Refused.

    `metadata`: its JSON as sent, None when absent or null; `sent_us`: the envelope's sent_at.
    """
    if not isinstance(event, dict):
        raise Refused(codes.INVALID_TYPE, "$", "An event is an object.")
    _check_type(event)
    columns = {}
    for field in FIELDS:
        value = event.get(field.name)
        if value is not None:
            columns[field.column] = field.rule(value, f"$.{field.name}")
        elif field.required:
            raise Refused(codes.MISSING_FIELD, f"$.{field.name}")
    if metadata is not None:
        columns["metadata"] = metadata_text(metadata).decode()
    if request.country is not None:
        columns.setdefault("country", request.country)
    if request.tests:
        columns["test"] = True
    if sent_us is not None:
        columns.setdefault("sent_at_us", sent_us)
    return _settled(columns, request)


def _check_type(event: dict[str, object]) -> None:
    kind = event.get("type")
    if kind is not None and _text(kind, "$.type") != "playback":
        raise Refused(codes.UNSUPPORTED_TYPE, "$.type", "Only events of type playback are taken here.")


def _settled(columns: dict[str, object], request: Request) -> Verdict:
    """Identity and time, once every field is right by itself."""
    if "event_id" not in columns:
        columns["event_id"] = _derived_id(columns, request.owner)
    row = Row(received_at_us=request.received_at_us, **columns)  # type: ignore[arg-type]  # each rule made its own type
    earliest_us, latest_us, flags, _ = window(row.sent_at_us, request)
    if row.occurred_at_us < earliest_us:
        raise Refused(codes.TOO_OLD, "$.occurred_at")
    if row.occurred_at_us > latest_us:
        raise Refused(codes.TOO_NEW, "$.occurred_at")
    kind = KIND_SIGNAL if row.event_type == HEARTBEAT else KIND_PLAYBACK
    return Verdict(encode(row), row.occurred_at_us, kind << 8 | flags)


def _derived_id(columns: dict[str, object], owner: bytes) -> UUID:
    if "sequence" not in columns and "position_s" not in columns:
        raise Refused(codes.NO_IDENTITY, "$")
    content, session = columns["content_id"], columns["session_id"]
    assert isinstance(content, UUID) and isinstance(session, UUID)
    return UUID(
        bytes=derived_event_id(
            owner,
            session.bytes,
            columns.get("sequence"),  # type: ignore[arg-type]
            columns["event_type"],  # type: ignore[arg-type]
            content.bytes,
            columns["occurred_at_us"],  # type: ignore[arg-type]
            columns.get("position_s"),  # type: ignore[arg-type]
        )
    )
