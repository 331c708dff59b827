"""The slow way: one event by its field table. It alone refuses, and says what and why.

Fields are judged in the order of the table in `ingest.event`; the first fault is the verdict.
"""

from typing import Final, NamedTuple
from uuid import UUID

from config.limits import BIGINT_SAFE_MAX, INT4_MAX
from ingest import codes
from ingest.batch import KIND_PLAYBACK, KIND_SIGNAL
from ingest.decode import rule
from ingest.decode.metadata import metadata_text
from ingest.decode.request import Request, window
from ingest.decode.rule import Field
from ingest.decode.undecodable import Refused
from ingest.event import EVENT_TYPES, HEARTBEAT
from ingest.identity import derived_event_id
from ingest.tuple import Row, encode


class Verdict(NamedTuple):
    """An accepted event."""

    row: bytes
    occurred_us: int
    group: int
    """kind << 8 | flags."""


def _event_type(value: object, path: str) -> str:
    found = rule.text(value, path)
    if found not in EVENT_TYPES:
        raise Refused(codes.UNKNOWN_EVENT_TYPE, path, f"The event_type is none of {', '.join(EVENT_TYPES)}.")
    return found


_INTEGER = rule.integer_to(INT4_MAX)
FIELDS: Final[tuple[Field, ...]] = (
    Field("event_type", "event_type", _event_type, required=True),
    Field("content_id", "content_id", rule.uuid, required=True),
    Field("session_id", "session_id", rule.uuid, required=True),
    Field("occurred_at", "occurred_at_us", rule.time, required=True),
    Field("event_id", "event_id", rule.uuid),
    Field("sequence", "sequence", rule.integer_to(BIGINT_SAFE_MAX)),
    Field("position", "position_s", rule.seconds),
    Field("duration", "duration_s", rule.seconds),
    Field("test", "test", rule.boolean),
    Field("sent_at", "sent_at_us", rule.time),
    Field("profile_id", "profile_id", rule.uuid),
    Field("quality", "quality", rule.text_of(20)),
    Field("bitrate", "bitrate_kbps", _INTEGER),
    Field("device_type", "device_type", rule.text_of(50)),
    Field("platform", "platform", rule.text_of(50)),
    Field("cdn_edge", "cdn_edge", rule.text_of(100)),
    Field("buffer_duration", "buffer_duration_ms", _INTEGER),
    Field("startup_ms", "startup_ms", _INTEGER),
    Field("error_code", "error_code", rule.text_of(50)),
    Field("player", "player", rule.text_of(100)),
    Field("app_version", "app_version", rule.text_of(50)),
    Field("country", "country", rule.text_of(2, length_min=2)),
)
"""All but `type` and `metadata`, which are not values of their own."""


def judge(event: object, metadata: bytes | None, request: Request, sent_us: int | None) -> Verdict:
    """The tuple of one event as parsed by the standard library; raises Refused.

    `metadata`: its JSON as sent, None when absent or null; `sent_us`: the envelope's sent_at.
    """
    if not isinstance(event, dict):
        raise Refused(codes.INVALID_TYPE, "$", "An event is an object.")
    _check_type(event)
    columns = rule.columns_of(event, FIELDS)
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
    if kind is not None and rule.text(kind, "$.type") != "playback":
        raise Refused(codes.UNSUPPORTED_TYPE, "$.type", "Events are of type playback or ad.")


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
