"""One value of a line of CMCD, as it is written there → a field of the tuple (length and value). Pure.

A value is a member of a structured dictionary (RFC 8941), read more kindly than that: a number where a list is due and
the reverse, a token or a number where a string is due, text beyond ASCII. What is none of it, too long or out of range
raises ValueError, and its key alone is left out (CTA-5004-B: wrong types are ignored key by key).
"""

import re
from collections.abc import Callable
from typing import Final

from msgspec.json import encode

from config.limits import BIGINT_SAFE_MAX, INT4_MAX
from ingest import cmcd
from ingest.decode.memo import Memo
from ingest.decode.structured import Bare, InnerList, Item, member

TRUE: Final = "?1"
"""The value of a bare key."""
RAW_MAX_CHARS: Final = 512
"""As written; a content id of 128 characters, all of them escaped, is half of it."""
CUSTOM_MAX_CHARS: Final = 64
"""Of a custom key's value, by CTA-5004-B; and of its name."""
LIST_MAX: Final = 8
"""Items of a list, and parameters of an item: types of object are five, errors of one line hardly more."""
URL_MAX_CHARS: Final = 1_024
"""Kept of a request's URL, without its query."""

_TOKEN_MAX_CHARS: Final = 16
_BEYOND_ASCII: Final = re.compile(r'"([^"\\\x00-\x1f\x7f\ud800-\udfff]*+)"')
"""A string that RFC 8941 refuses, without escapes; browsers send UTF-8."""


def items(raw: str, chars_max: int = RAW_MAX_CHARS) -> list[Item]:
    """What the value says: one item, or those of an inner list."""
    if len(raw) > chars_max:
        raise ValueError("too long")
    if not raw.isascii():
        match = _BEYOND_ASCII.fullmatch(raw)
        if match is None:
            raise ValueError("neither ASCII nor a plain string")
        return [Item(match[1], {})]
    found = member(raw, LIST_MAX)
    return found.items if isinstance(found, InnerList) else [found]


def _is_number(value: Bare) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def numbers(raw: str) -> list[Item]:
    """Those of its items that are numbers; at least one."""
    found = [one for one in items(raw) if _is_number(one.value)]
    if not found:
        raise ValueError("no number")
    return found


def number(raw: str) -> int | float:
    """Of video where it is told apart, else the first."""
    if raw.isdigit() and raw.isascii() and len(raw) <= 15:
        return int(raw)
    found = numbers(raw)
    value = next((one.value for one in found if one.parameters.get("v") is True), found[0].value)
    assert isinstance(value, int | float)
    return value


def whole(raw: str, most: int = BIGINT_SAFE_MAX) -> int:
    """0 to `most`, a fraction left out."""
    return _within(int(number(raw)), 0, most)


def _within(value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise ValueError("out of range")
    return value


def text(raw: str, chars_max: int = RAW_MAX_CHARS) -> str:
    """Never empty."""
    found = items(raw, chars_max)
    if not found:
        raise ValueError("an empty list")
    return _text(found[0].value)


def _text(value: Bare) -> str:
    if isinstance(value, bool | bytes) or value == "":
        raise ValueError("no text")
    return str(value)  # of a token, the text alone


def json_text(value: Bare | list[str]) -> str:
    """As JSON."""
    return encode(value).decode()


def text_field(value: str) -> bytes:
    """Of the tuple."""
    encoded = value.encode()
    return len(encoded).to_bytes(4, "big") + encoded


def _text_of(chars_max: int, *, cut: bool = False) -> Callable[[str], bytes]:
    """`cut`: what is longer is cut, and not refused: it is no name of anything else then."""

    def field(raw: str) -> bytes:
        found = text(raw)
        if len(found) > chars_max and not cut:
            raise ValueError("too long")
        return text_field(found[:chars_max])

    return field


def _integer_field(value: int) -> bytes:
    return b"\x00\x00\x00\x04" + value.to_bytes(4, "big", signed=True)


def _stall(raw: str) -> bytes:
    return _integer_field(_within(int(sum(one.value for one in numbers(raw))), 0, INT4_MAX))  # type: ignore[misc]


def _rate(raw: str) -> bytes:
    return _integer_field(_within(round(number(raw) * 1_000), -INT4_MAX, INT4_MAX))


def _int4(raw: str) -> bytes:
    return _integer_field(whole(raw, INT4_MAX))


def _int8(raw: str) -> bytes:
    return b"\x00\x00\x00\x08" + whole(raw).to_bytes(8, "big")


SESSIONS: Final[Memo[str, bytes]] = Memo(_text_of(cmcd.SESSION_MAX_CHARS), 16_384)
EVENTS: Final[Memo[str, bytes]] = Memo(_text_of(cmcd.EVENT_MAX_CHARS), 256)
STATES: Final[Memo[str, bytes]] = Memo(_text_of(cmcd.STATE_MAX_CHARS), 256)
CONTENTS: Final[Memo[str, bytes]] = Memo(_text_of(cmcd.CONTENT_MAX_CHARS), 4_096)
INTEGERS: Final[Memo[str, bytes]] = Memo(_int4, 4_096)
STALLS: Final[Memo[str, bytes]] = Memo(_stall, 1_024)
RATES: Final[Memo[str, bytes]] = Memo(_rate, 256)
POSITIONS: Final[Memo[str, bytes]] = Memo(_int8, 1_024)
ERRORS: Final[Memo[str, bytes]] = Memo(_text_of(cmcd.ERROR_CODE_MAX_CHARS, cut=True), 1_024)
EDGES: Final[Memo[str, bytes]] = Memo(_text_of(cmcd.EDGE_MAX_CHARS, cut=True), 1_024)
CUSTOM_EVENTS: Final[Memo[str, bytes]] = Memo(_text_of(cmcd.CUSTOM_EVENT_MAX_CHARS), 1_024)


def _json(value: Bare) -> str:
    if isinstance(value, bytes) or (isinstance(value, str) and len(value) > CUSTOM_MAX_CHARS):
        raise ValueError("too long, or binary")
    return json_text(str(value) if isinstance(value, str) else value)


def _json_token(raw: str) -> str:
    if len(found := text(raw)) > _TOKEN_MAX_CHARS:
        raise ValueError("too long")
    return _json(found)


def _json_further(raw: str) -> str:
    further = [_text(one.value)[: cmcd.ERROR_CODE_MAX_CHARS] for one in items(raw)[1:]]
    return json_text(further) if further else ""


def _json_custom(raw: str) -> str:
    found = items(raw)
    if len(found) != 1:
        raise ValueError("a list")
    return _json(found[0].value)


JSON_NUMBERS: Final[Memo[str, str]] = Memo(lambda raw: _json(number(raw)), 8_192)
JSON_TOKENS: Final[Memo[str, str]] = Memo(_json_token, 256)
JSON_FURTHER: Final[Memo[str, str]] = Memo(_json_further, 1_024)
"""The texts of a list behind its first, as a JSON array; empty where there are none."""
JSON_CUSTOM: Final[Memo[str, str]] = Memo(_json_custom, 4_096)


def json_key(key: str) -> str:
    """A custom key's name as JSON. ValueError for one too long, or with what no store can keep."""
    if len(key) > CUSTOM_MAX_CHARS or not key.isascii() or not key.isprintable():
        raise ValueError("no key")
    return json_text(key)


def url(raw: str) -> str:
    """Of a request, without its query, fragment and user: they may be secrets (players.md §9)."""
    found = text(raw, 4 * RAW_MAX_CHARS)
    scheme, separator, rest = found.partition("://")
    rest = re.split(r"[?#]", rest if separator else found, maxsplit=1)[0]
    if separator:
        authority, slash, path = rest.partition("/")
        rest = authority.rpartition("@")[2] + slash + path
    return (scheme + separator + rest if separator else rest)[:URL_MAX_CHARS]


def host(address: str) -> str | None:
    """Of an absolute URL, in lower case, without its port."""
    _, separator, rest = address.partition("://")
    if not separator:
        return None
    authority = rest.partition("/")[0]
    found = authority.partition("]")[0] + "]" if authority.startswith("[") else authority.partition(":")[0]
    return found.lower()[: cmcd.EDGE_MAX_CHARS] or None
