"""What a person changes in an event before it is posted again. Pure.

The key of its row is not to be changed: it makes a second replay the same row. Of playback it is event_id and
occurred_at, of an ad event impression_id, event and progress_offset.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ingest.ad import AD_COLUMNS
from ingest.decode import ad
from ingest.decode.time import time_us
from ingest.decode.undecodable import Refused
from ingest.event import FIELD_NAMES
from ingest.tuple import COLUMNS

KNOWN: Final = FIELD_NAMES | ad.FIELD_NAMES
TYPES: Final = {column.name: column.type for column in (*AD_COLUMNS, *COLUMNS) if column.name in KNOWN}
KEY: Final = ("event_id", "occurred_at")
AD_KEY: Final = ("impression_id", "event", "progress_offset")
UUIDS: Final = ("event_id", "impression_id")


class BadEdit(Exception):
    """The change cannot be made; the text says why."""


def parsed_edit(text: str) -> tuple[str, Any]:
    """FIELD=VALUE → name and value; `null` takes a field away (None). Raises BadEdit."""
    name, equals, value = text.partition("=")
    free = TYPES.keys() - {*KEY, *AD_KEY}
    if not equals or name not in TYPES:
        raise BadEdit(f"{text!r}: FIELD=VALUE is wanted, FIELD one of {', '.join(sorted(free))}")
    if name not in free:
        raise BadEdit(
            f"{name} is the key of the event's row and stays as it is, so that a second replay is the same row"
        )
    if value == "null":
        return name, None
    kind = TYPES[name]
    if kind == "uuid" or kind.startswith(("varchar", "char")) or (kind == "timestamptz" and not value.isdecimal()):
        return name, value
    try:
        return name, msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadEdit(f"{text!r}: the value of {name} ({kind}) is no JSON: {error}") from error


def edited(event: Mapping[str, Any], edits: Mapping[str, Any]) -> dict[str, Any]:
    """The event with these fields changed, or gone where they are None."""
    return {name: value for name, value in {**event, **edits}.items() if value is not None}


def event_in(data: bytes) -> dict[str, Any]:
    """The event in a file that a person corrected: itself, or all that `show` printed. Raises BadEdit."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadEdit(f"it is no JSON: {error}") from error
    if isinstance(found, dict) and isinstance(found.get("event"), dict):
        found = found["event"]
    if not isinstance(found, dict):
        raise BadEdit("it is no JSON object")
    unknown = sorted(found.keys() - KNOWN)
    if unknown:
        raise BadEdit(f"it has fields that no event has: {', '.join(unknown)}")
    return found


def with_key(corrected: dict[str, Any], original: Mapping[str, Any]) -> dict[str, Any]:
    """The corrected event under the key of the original, which it may leave out. Raises BadEdit when it has another."""
    is_ad = original.get("type") == ad.TYPE
    for name in ("type", *AD_KEY) if is_ad else KEY:
        if name not in corrected and name in original:
            corrected[name] = original[name]
        if _same(name, corrected.get(name), original.get(name)):
            continue
        raise BadEdit(f"its {name} is not the letter's, {original.get(name)}: a second replay would be another row")
    return corrected


def _same(name: str, one: object, other: object) -> bool:
    if name in UUIDS:
        return str(one).replace("-", "").lower() == str(other).replace("-", "").lower()
    if name != "occurred_at":
        return one == other
    try:
        return time_us(one, name) == time_us(other, name)
    except Refused:
        return one == other
