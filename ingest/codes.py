"""The closed, append-only list of rejection codes: what a client reads, what the rejection metric is labelled with.

An index is for ever: frame headers and position rows may carry totals by index. A code is never renamed, never
removed, never given another index; a new one goes to the end.
"""

from typing import Final

from msgspec import Struct


class Code(Struct, frozen=True):
    """One reason for refusing an event or a whole request."""

    index: int
    """Stable place in `CODES`, 0 and up."""
    name: str
    """Stable, lower case with underscores; at most 32 characters."""
    status: int
    """HTTP status when the whole request is refused with this code; 400 for codes of single events."""
    sentence: str
    """For people; may be reworded."""


INVALID_JSON: Final = "invalid_json"
EMPTY_BODY: Final = "empty_body"
TOO_DEEP: Final = "too_deep"
TOO_MANY_EVENTS: Final = "too_many_events"
BODY_TOO_LARGE: Final = "body_too_large"
CORRUPT_ENCODING: Final = "corrupt_encoding"
UNSUPPORTED_ENCODING: Final = "unsupported_encoding"
MISSING_FIELD: Final = "missing_field"
INVALID_TYPE: Final = "invalid_type"
INVALID_TEXT: Final = "invalid_text"
TOO_LONG: Final = "too_long"
TOO_SHORT: Final = "too_short"
OUT_OF_RANGE: Final = "out_of_range"
INVALID_UUID: Final = "invalid_uuid"
INVALID_TIME: Final = "invalid_time"
UNKNOWN_EVENT_TYPE: Final = "unknown_event_type"
UNSUPPORTED_TYPE: Final = "unsupported_type"
NO_IDENTITY: Final = "no_identity"
TOO_OLD: Final = "too_old"
TOO_NEW: Final = "too_new"
TOO_MANY_VALUES: Final = "too_many_values"
UNKNOWN_EVENT: Final = "unknown_event"
CMCD_NO_SESSION: Final = "cmcd_no_session"
CMCD_UNREADABLE: Final = "cmcd_unreadable"
CMCD_VERSION: Final = "cmcd_version"

CODES: Final[tuple[Code, ...]] = (
    Code(0, INVALID_JSON, 400, "The text is not JSON (RFC 8259), or not UTF-8."),
    Code(1, EMPTY_BODY, 400, "The body is empty."),
    Code(2, TOO_DEEP, 400, "Arrays and objects are nested too deeply."),
    Code(3, TOO_MANY_EVENTS, 413, "The request holds too many events."),
    Code(4, BODY_TOO_LARGE, 413, "The body is too large, as sent or decoded."),
    Code(5, CORRUPT_ENCODING, 400, "The body is not what its Content-Encoding says, or it is cut short."),
    Code(6, UNSUPPORTED_ENCODING, 415, "The Content-Encoding is none of gzip, deflate, zstd, identity."),
    Code(7, MISSING_FIELD, 400, "A required field is absent or null."),
    Code(8, INVALID_TYPE, 400, "A value has another JSON type than the field."),
    Code(9, INVALID_TEXT, 400, "A text holds NUL or a lone surrogate, which no store can keep."),
    Code(10, TOO_LONG, 400, "A text has more characters, or metadata more bytes, than the field takes."),
    Code(11, TOO_SHORT, 400, "A text has fewer characters than the field needs."),
    Code(12, OUT_OF_RANGE, 400, "A number or a time is beyond what the field takes."),
    Code(13, INVALID_UUID, 400, "A text is not a UUID (8-4-4-4-12 or 32 hexadecimal digits)."),
    Code(14, INVALID_TIME, 400, "A text is not an RFC 3339 time with an offset."),
    Code(15, UNKNOWN_EVENT_TYPE, 400, "The event_type is not in the vocabulary."),
    Code(16, UNSUPPORTED_TYPE, 400, "The type is neither playback nor ad."),
    Code(17, NO_IDENTITY, 400, "Without an event_id, sequence or position is required."),
    Code(18, TOO_OLD, 400, "The event is older than the door takes."),
    Code(19, TOO_NEW, 400, "The event lies too far in the future."),
    Code(20, TOO_MANY_VALUES, 413, "The body holds too many values, known or unknown."),
    Code(21, UNKNOWN_EVENT, 400, "The event is none that VAST names."),
    Code(22, CMCD_NO_SESSION, 400, "The line of CMCD lacks sid, sn, ts or e."),
    Code(23, CMCD_UNREADABLE, 400, "The line of CMCD is no dictionary (RFC 8941)."),
    Code(24, CMCD_VERSION, 400, "The line of CMCD is of a version above 2."),
)

BY_NAME: Final[dict[str, Code]] = {code.name: code for code in CODES}

assert [code.index for code in CODES] == list(range(len(CODES)))
assert len(BY_NAME) == len(CODES)
