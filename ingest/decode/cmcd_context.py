"""What a collector's URL and a request's headers say of the lines it brings: CMCD itself knows no viewer, no device.

    /v1/cmcd?key=…&profile=…&device=…&platform=…&cdn=…&quality=…&app=…&player=…&test=1

Names are understood in any case and macros that nobody filled are absent, as in a pixel (`ingest.decode.vast`); what
does not fit its column is left out. Device and platform come from the headers where the URL is silent. Pure.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

from xxhash import xxh3_64_intdigest

from ingest.cmcd import EDGE_MAX_CHARS
from ingest.decode import vast
from ingest.decode.cmcd_value import text_field
from ingest.decode.device import device_of
from ingest.decode.uuid import uuid_field
from ingest.tuple import NULL

PATH: Final = "/v1/cmcd"
ARGUMENT: Final = "CMCD"
"""Of the query: a line. Of two, the first is taken (players.md §9)."""
HEADERS: Final = ("CMCD-Request", "CMCD-Object", "CMCD-Status", "CMCD-Session")
"""Between them the keys of one line."""

_REMEMBERED_MAX: Final = 4_096
_REMEMBERED_MAX_CHARS: Final = 1_024
"""Of query and headers together; longer ones are looked at anew each time."""


class Circumstances(NamedTuple):
    """Of a request, as sent; texts are empty where there are none."""

    query: str
    """Of the collector's URL, without `key` and CMCD."""
    user_agent: str = ""
    hinted_platform: str = ""
    """Sec-CH-UA-Platform."""
    hinted_mobile: str = ""
    """Sec-CH-UA-Mobile."""
    country: str | None = None
    """Of the trusted CDN's header, where it is one."""


class Context(NamedTuple):
    """Fields of every tuple of a request."""

    target: bytes
    quality: bytes
    edge: bytes | None
    """None: the URL does not say."""
    viewer: bytes
    """profile_id to country, six fields."""
    test: bool


def without_argument(query: str) -> tuple[str, str | None]:
    """A query without its arguments `key` and CMCD, and the line that is in it: its first CMCD, decoded as a form's
    is, in which `+` is a space.
    """
    if not query:
        return "", None
    kept, line = [], None
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if "%" in name:  # whoever reads the key reads it decoded, and another key is no other target
            name = unquote_plus(name, errors="surrogateescape")
        if name == ARGUMENT:
            line = unquote_plus(value, errors="surrogateescape") if line is None else line
        elif name != "key":
            kept.append(pair)
    return "&".join(kept), line


def joined(values: Sequence[str | None]) -> str | None:
    """The line that HEADERS bring, of their values in that order; None when none of them is there."""
    return ",".join(value for value in values if value) if any(value is not None for value in values) else None


def context_of(circumstances: Circumstances) -> Context:
    """Of one request."""
    if sum(map(len, circumstances[:4])) > _REMEMBERED_MAX_CHARS:
        return _context_of(circumstances)
    return _remembered(circumstances)


def _context_of(circumstances: Circumstances) -> Context:
    query, user_agent, hinted_platform, hinted_mobile, country = circumstances
    said = vast.parameters(query)
    target = xxh3_64_intdigest(f"{PATH}?{query}".encode("utf-8", "surrogateescape"))
    device = device_of(user_agent, hinted_platform, hinted_mobile)
    edge = _field(said.get("cdn"), EDGE_MAX_CHARS)
    return Context(
        b"\x00\x00\x00\x08" + target.to_bytes(8, "big"),
        _field(said.get("quality"), 20),
        None if edge == NULL else edge,
        b"".join((
            _profile(said.get("profile")),
            _field(said.get("device"), 50, device.device_type),
            _field(said.get("platform"), 50, device.platform),
            _field(said.get("player"), 100),
            _field(said.get("app"), 50),
            _field(country, 2),
        )),
        said.get("test", "").lower() in ("1", "true"),
    )  # fmt: skip


_remembered = lru_cache(_REMEMBERED_MAX)(_context_of)


def _field(value: str | None, chars_max: int, otherwise: str | None = None) -> bytes:
    """Of the tuple: `otherwise` where `value` is absent, or nothing that the column takes."""
    if value is None or len(value) > chars_max or not value.isprintable():  # no NUL, no surrogate
        value = otherwise
    return NULL if value is None else text_field(value)


def _profile(value: str | None) -> bytes:
    try:
        return NULL if value is None else uuid_field(value)
    except ValueError:
        return NULL
