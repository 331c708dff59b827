"""One ad event of a request's JSON, by its field table: its tuple, or what is wrong with it. Pure.

    field            type                   unit  range, length         required  refused with
    ---------------  ---------------------  ----  --------------------  --------  ----------------------------------
    type             text                         "ad"                  yes
    event            text                         a name of VAST        yes       unknown_event, missing_field
    impression_id    uuid                         any 128 bits          yes       invalid_uuid, missing_field
    occurred_at      time                         1970–2100 (UTC)       yes       invalid_time, out_of_range,
                                                                                  too_old, too_new, missing_field
    progress_offset  text (1)                     32                    no        too_long
    campaign_id      uuid                         any 128 bits          no        invalid_uuid
    creative_id      text                         100                   no        too_long
    content_id, profile_id, session_id     uuid   any 128 bits          no        invalid_uuid
    error_code       text                         50                    no        too_long
    duration         number, of the ad      s     0..2,147,483          no        out_of_range
    test             boolean                                            no: false invalid_type
    sent_at          time                         1970–2100 (UTC)       no        invalid_time, out_of_range

(1) Of `progress` alone, and then part of what the event is; with any other it says nothing.

null and an empty text are the same as absent; the rest of what `ingest.event` says of values and times holds here, too.
Names of events are understood in any case, and older ones (`ingest.ad.ALIASES`). A clock that `sent_at` shows to be
more than 5 minutes off is corrected at once: the identity of an ad event holds no time, so a resend meets the same row.
"""

import math
from typing import Final, TypeGuard

from config.limits import INT4_MAX
from ingest import ad, codes
from ingest.ad import AdRow
from ingest.batch import KIND_AD
from ingest.decode import rule
from ingest.decode.request import Request, window
from ingest.decode.rule import Field
from ingest.decode.undecodable import Refused
from ingest.decode.verdict import Verdict
from ingest.tuple import clock_is_broken

TYPE: Final = "ad"
GROUP: Final = KIND_AD << 8
"""Of every ad event: kind << 8 | flags."""


def _event(value: object, path: str) -> str:
    name = ad.canonical(rule.text(value, path))
    if name is None:
        raise Refused(codes.UNKNOWN_EVENT, path)
    return name


def _text_of(length_max: int) -> rule.Rule:
    judged = rule.text_of(length_max)
    return lambda value, path: judged(value, path) or None


def _duration_ms(value: object, path: str) -> int:
    if (type(value) is float and math.isfinite(value)) or type(value) is int:
        if 0 <= value * 1_000 <= INT4_MAX:
            return round(value * 1_000)
    elif type(value) is not float:
        raise Refused(codes.INVALID_TYPE, path, "The value is not a number.")
    raise Refused(codes.OUT_OF_RANGE, path, f"The number is outside 0 to {INT4_MAX // 1_000}.")


FIELDS: Final[tuple[Field, ...]] = (
    Field("event", "event", _event, required=True),
    Field("impression_id", "impression_id", rule.uuid, required=True),
    Field("occurred_at", "occurred_at_us", rule.time, required=True),
    Field("progress_offset", "progress_offset", _text_of(ad.OFFSET_MAX_CHARS)),
    Field("campaign_id", "campaign_id", rule.uuid),
    Field("creative_id", "creative_id", _text_of(ad.CREATIVE_MAX_CHARS)),
    Field("content_id", "content_id", rule.uuid),
    Field("profile_id", "profile_id", rule.uuid),
    Field("session_id", "session_id", rule.uuid),
    Field("error_code", "error_code", _text_of(ad.ERROR_CODE_MAX_CHARS)),
    Field("duration", "duration_ms", _duration_ms),
    Field("test", "test", rule.boolean),
    Field("sent_at", "sent_at_us", rule.time),
)
FIELD_NAMES: Final = frozenset(field.name for field in FIELDS) | {"type"}
"""Every name of the vocabulary; others are ignored and counted."""


def is_ad(event: object) -> TypeGuard[dict[str, object]]:
    """Whether it says so."""
    return isinstance(event, dict) and event.get("type") == TYPE


def judge(event: dict[str, object], request: Request, sent_us: int | None) -> Verdict:
    """The tuple of one ad event as parsed; `sent_us`: the envelope's sent_at. Raises Refused."""
    columns = rule.columns_of(event, FIELDS)
    own_sent_us = columns.pop("sent_at_us", None)
    sent_us = own_sent_us if isinstance(own_sent_us, int) else sent_us
    occurred_us = columns.pop("occurred_at_us")
    assert isinstance(occurred_us, int)
    received_us = request.received_at_us
    if sent_us is not None and clock_is_broken(sent_us, received_us):
        occurred_us += received_us - sent_us
    earliest_us, latest_us, _, _ = window(None, request)
    if occurred_us < earliest_us:
        raise Refused(codes.TOO_OLD, "$.occurred_at")
    if occurred_us > latest_us:
        raise Refused(codes.TOO_NEW, "$.occurred_at")
    if columns["event"] != ad.PROGRESS:
        columns["progress_offset"] = None
    columns.setdefault("progress_offset", None)
    if request.tests:
        columns["test"] = True
    row = AdRow(occurred_at_us=occurred_us, received_at_us=received_us, **columns)  # type: ignore[arg-type]  # by rule
    return Verdict(ad.encode(row), occurred_us, GROUP)
