"""A verdict on a line of CMCD as a tuple of SCHEMA_PLAYBACK: mostly the line's own bytes in another order. Pure.

`sent_at` and `duration` CMCD does not know. `sequence` is NULL, and `sn` in the metadata: it counts the lines of one
target and one run of a player, most of which are no events; who orders a session by it, or looks for what is missing,
would be misled. Without it readers go by time, and by ids. An error's code is on errors alone: dash.js repeats it with
every later line. A position of a live stream is a time and no place in it: it goes to the metadata, with the names as
sent where they were no uuids.
"""

from functools import lru_cache
from struct import Struct
from typing import Final

import msgspec

from ingest.tuple import COLUMN_COUNT, NULL, month_of
from storage.stage import identity
from storage.stage.line import NAMES, NONE, POSITION, Line
from storage.stage.verdict import ERROR, KINDS, Verdict

POSITION_MAX_MS: Final = 100_000_000_000
"""Three years: more is milliseconds since 1970."""

assert NAMES[POSITION:] == [
    "position", "rate", "error_code", "cdn_edge", "quality", "custom_event", "profile_id", "device_type", "platform",
    "player", "app_version", "country", "metadata",
]  # fmt: skip

_HEAD: Final = Struct(">hi16si16si16s")
_I32: Final = Struct(">ii")
_UNTOLD: Final = NULL * 2
_KINDS: Final = {kind: len(kind).to_bytes(4, "big") + kind for kind in KINDS}


def tuple_of(verdict: Verdict) -> bytes:
    """Its tuple."""
    line, kind, content, buffer_ms, startup_ms = (
        verdict.line, verdict.kind, verdict.content, verdict.buffer_ms, verdict.startup_ms,
    )  # fmt: skip
    owner, session, target = line.key
    raw, moments, sequence = line.raw, line.moments, line.sequence
    begins = line.begins()
    position, rate, error, cdn, quality, custom, profile, device, _, player, _, _, metadata, _ = begins
    position_ms = NONE if raw[position] else int.from_bytes(raw[position + 4 : rate])
    has_position = 0 <= position_ms < POSITION_MAX_MS
    return b"".join((
        _HEAD.pack(
            COLUMN_COUNT,
            16, identity.event_id(owner, session, target, sequence, line.event, line.occurred_us),
            16, identity.content_id(owner, content),
            16, identity.session_id(owner, session),
        ),
        raw[moments : moments + 24],
        _KINDS[kind],
        raw[moments + 24 : moments + 29],
        NULL,
        NULL,
        _I32.pack(4, position_ms // 1_000) if has_position else NULL,
        NULL,
        raw[profile:device],
        raw[quality:custom],
        _integer(line.bitrate_kbps),
        raw[device:player],
        raw[cdn:quality],
        _UNTOLD if buffer_ms < 0 > startup_ms else _integer(buffer_ms) + _integer(startup_ms),
        raw[error:cdn] if kind == ERROR else NULL,
        raw[player:metadata],
        NULL if verdict.is_signal else _metadata(line, begins, content, NONE if has_position else position_ms),
    ))  # fmt: skip


def month(verdict: Verdict) -> int:
    """Of its row: months since year 0."""
    return _month_of_day(verdict.line.occurred_us // 86_400_000_000)


@lru_cache(64)
def _month_of_day(day: int) -> int:
    return month_of(day * 86_400_000_000)


def _integer(value: int) -> bytes:
    return NULL if value < 0 else _I32.pack(4, value)


def _metadata(line: Line, begins: list[int], content: bytes, position_ms: int) -> bytes:
    """What CMCD said beyond our columns, and what of it became another."""
    _, rate, error, _, _, custom, profile, *_, known, end = begins
    raw = line.raw
    parts = [raw[known + 5 : end - 1]] if end - known > 6 else []  # an object, and not an empty one
    parts.append(b'"sn":%d' % line.sequence)
    parts += _names(line.key[1], content)
    if not raw[rate]:
        parts.append(b'"pr":' + msgspec.json.encode(int.from_bytes(raw[rate + 4 : error], signed=True) / 1_000))
    if not raw[custom]:
        parts.append(b'"cen":' + _text(raw[custom + 4 : profile]))
    if position_ms >= 0:
        parts.append(b'"pt":%d' % position_ms)
    text = b",".join(parts)
    return (len(text) + 2).to_bytes(4, "big") + b"{" + text + b"}"


@lru_cache(4_096)
def _names(session: bytes, content: bytes) -> list[bytes]:
    """Session and content as sent, where they are no uuids."""
    parts = [] if identity.is_uuid(session) else [b'"sid":' + _text(session)]
    if content and not identity.is_uuid(content):
        parts.append(b'"cid":' + _text(content))
    return parts


def _text(text: bytes) -> bytes:
    return msgspec.json.encode(text.decode())
