"""Lines of CMCD (CTA-5004-B, version 2 and below) → a tuple a line, or the code why there is none. Pure.

    line          a dictionary of structured fields (RFC 8941): br=(900;v 64;a),cid="film-1",e=ps,sid="…",sn=19,sta=p,…
    body          lines, separated by LF (and CR), blank ones are none
    not kept      cmcd_version      v above 2: the keys may mean something else
                  cmcd_no_session   without a usable sid, sn, ts and e: nothing says which line it is
                  cmcd_unreadable   the same of what is no dictionary at all, longer than LINE_MAX_CHARS or of more
                                    members than COMMAS_MAX
                  too_old, too_new  ts outside the door limits; out_of_range: outside the years 1970–2100
                  too_many_events   lines behind the first `events_max` of a request, or its first READ_MAX_CHARS, each
                                    counted, blank ones too

Read key by key: a value of a wrong type, too long or out of range costs its own key and nothing else (players.md §3),
and a string that does not end costs what is behind it. Which keys become columns, and which metadata, `ingest.cmcd` and
`_METADATA` say; others are ignored and counted, and so is what is left out.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from ingest import cmcd, codes
from ingest.batch import Batch
from ingest.decode import cmcd_value as value
from ingest.decode import structured
from ingest.decode.cmcd_context import Context
from ingest.decode.memo import Memo
from ingest.decode.request import Request, window
from ingest.tuple import NULL, POSTGRES_EPOCH_US, TIME_MAX_US

VERSION_MAX: Final = 2
LINE_MAX_CHARS: Final = 8_192
"""A real line has some 200, with URLs 2,000."""
COMMAS_MAX: Final = 128
"""In a line: the vocabulary has 55 keys, the rest is for custom keys and for commas in URLs."""
CUSTOM_KEYS_MAX: Final = 16
"""Kept of a line."""
READ_MAX_CHARS: Final = 512 << 10
"""Of a report: twice what its usual lines take. Nobody keeps a collector's loop busy for longer than 0.1 s."""
BODY_MAX_BYTES: Final = 1 << 20
"""Of a report, inflated: the lines of a request at their usual size are a fourth of it."""
KEYS: Final = frozenset((
    "ab", "bg", "bl", "br", "bs", "bsa", "bsd", "bsda", "cdn", "cen", "cid", "cmsdd", "cmsds", "cs", "d", "dfa",
    "dl", "e", "ec", "h", "lab", "lb", "ltc", "msd", "mtp", "nor", "nr", "nrr", "ot", "pb", "pr", "pt", "rc", "rtp",
    "sf", "sid", "smrt", "sn", "st", "sta", "su", "tab", "tb", "tbl", "tpb", "ts", "ttfb", "ttfbb", "ttlb", "url",
    "v",
))  # fmt: skip
"""Of version 2 and its drafts, and of version 1."""

_IDENTITY: Final = ("sid", "sn", "ts", "e")
_METADATA: Final = (
    ("bl", value.JSON_NUMBERS), ("mtp", value.JSON_NUMBERS), ("tb", value.JSON_NUMBERS), ("st", value.JSON_TOKENS),
    ("sf", value.JSON_TOKENS),
)  # fmt: skip
"""Then further values of `ec`, `url` and custom keys, as long as there is room."""
_SEPARABLE: Final = re.compile(r'[^"\\]*+(?:"[^",\\]*+"[^"\\]*+)*+')
"""A line whose commas all separate members."""
_MEMBER: Final = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*+")*+')
_LINES: Final = re.compile(r"[^\n]++")
_BLANKS: Final = " \t\r\ufeff"
_BEGIN: Final = len(cmcd.CMCD_COLUMNS).to_bytes(2, "big")
_LENGTH_8: Final = b"\x00\x00\x00\x08"
_TESTS: Final = (b"\x00\x00\x00\x01\x00", b"\x00\x00\x00\x01\x01")
_OWNERS: Final[Memo[bytes, bytes]] = Memo(lambda owner: len(owner).to_bytes(4, "big") + owner, 4_096)
_COLUMNS: Final = (
    ("sta", value.STATES), ("cid", value.CONTENTS), ("br", value.INTEGERS), ("bsd", value.STALLS),
    ("msd", value.INTEGERS), ("pt", value.POSITIONS), ("pr", value.RATES), ("ec", value.ERRORS),
)  # fmt: skip
"""state to error_code, in the order of the columns."""


class Decoded(NamedTuple):
    """Of one request."""

    rows: list[bytes]
    """Tuples of the lines that are kept, in order. They are not framed: those of several requests share a frame."""
    batch: Batch
    """The verdicts, without bodies."""


def decode(record: str | bytes, context: Context, request: Request) -> Decoded:
    """What one request brought: its body, inflated already, or the line of its headers or its query.

    Never raises for what a client sent.
    """
    text = record.decode("utf-8", "surrogateescape") if isinstance(record, bytes) else record
    decoder = _Decoder(context, request)
    rows: list[bytes] = []
    rejected: Counter[str] = Counter()
    if len(text) > READ_MAX_CHARS:
        end = text.rfind("\n", 0, READ_MAX_CHARS) + 1  # never within a line: half a number is another one
        text, unread = text[:end], text[end:].rstrip("\n")
        rejected[codes.TOO_MANY_EVENTS] = 1 + unread.count("\n")
    lines = _LINES.finditer(text)
    for _, match in zip(range(request.limits.events_max), lines, strict=False):
        if line := match[0].strip(_BLANKS):
            row = decoder.row(line)
            if isinstance(row, bytes):
                rows.append(row)
            else:
                rejected[row] += 1
    if (beyond := next(lines, None)) is not None:
        rejected[codes.TOO_MANY_EVENTS] += 1 + text.rstrip("\n").count("\n", beyond.end())
    refused = rejected.total()
    return Decoded(rows, Batch(len(rows) + refused, len(rows), 0, refused, [], rejected, [], decoder.unknown))


class _Decoder:
    """Of the lines of one request."""

    def __init__(self, context: Context, request: Request) -> None:
        received_us = request.received_at_us
        self._earliest_us, self._latest_us, _, _ = window(None, request)
        self._received = (
            _LENGTH_8
            + (received_us - POSTGRES_EPOCH_US).to_bytes(8, "big", signed=True)
            + _TESTS[request.tests or context.test]
        )
        self._whose = context.target + _OWNERS[request.owner]
        self._edge, self._quality, self._viewer = context.edge, context.quality, context.viewer
        self.unknown = 0
        """Keys outside KEYS, and values that were left out."""

    def row(self, line: str) -> bytes | str:
        """The tuple, or the code of its refusal."""
        if len(line) > LINE_MAX_CHARS or line.count(",") > COMMAS_MAX:
            return codes.CMCD_UNREADABLE
        said = members(line)
        version = said.get("v", "2")
        if version not in ("2", "1") and _version(version) > VERSION_MAX:
            return codes.CMCD_VERSION
        try:
            session, event = value.SESSIONS[said["sid"]], value.EVENTS[said["e"]]
            sequence, occurred_us = value.whole(said["sn"]), value.whole(said["ts"]) * 1_000
        except (LookupError, ValueError):
            return _without_identity(line, said)
        if not self._earliest_us <= occurred_us <= self._latest_us:
            if occurred_us > TIME_MAX_US:
                return codes.OUT_OF_RANGE
            return codes.TOO_OLD if occurred_us < self._earliest_us else codes.TOO_NEW
        fields = []
        for key, memo in _COLUMNS:
            if (raw := said.get(key)) is None:
                fields.append(NULL)
                continue
            try:
                fields.append(memo[raw])
            except ValueError:
                self.unknown += 1
                fields.append(NULL)
        custom: list[str] | tuple[()] = ()
        if others := said.keys() - KEYS:
            custom = [key for key in said if key in others and "-" in key][:CUSTOM_KEYS_MAX]
            self.unknown += len(others) - len(custom)
        url = self._url(said["url"]) if "url" in said else None
        metadata = self._metadata(said, url, custom)
        custom_event = self._optional(value.CUSTOM_EVENTS, said["cen"]) if "cen" in said else NULL
        return b"".join((
            _BEGIN,
            session,
            self._whose,
            _LENGTH_8,
            sequence.to_bytes(8, "big"),
            event,
            _LENGTH_8,
            (occurred_us - POSTGRES_EPOCH_US).to_bytes(8, "big", signed=True),
            self._received,
            *fields,
            self._edge_of(said, url),
            self._quality,
            custom_event,
            self._viewer,
            metadata,
        ))  # fmt: skip

    def _optional(self, memo: Memo[str, bytes], raw: str) -> bytes:
        try:
            return memo[raw]
        except ValueError:
            self.unknown += 1
            return NULL

    def _url(self, raw: str) -> str | None:
        try:
            return value.url(raw)
        except ValueError:
            self.unknown += 1
            return None

    def _edge_of(self, said: dict[str, str], url: str | None) -> bytes:
        """`cdn`, else the collector's URL, else the host of the request's URL, else `h` (players.md §4)."""
        if "cdn" in said and (edge := self._optional(value.EDGES, said["cdn"])) != NULL:
            return edge
        if self._edge is not None:
            return self._edge
        if url is not None and (host := value.host(url)) is not None:
            return value.text_field(host)
        return self._optional(value.EDGES, said["h"]) if "h" in said else NULL

    def _metadata(self, said: dict[str, str], url: str | None, custom: list[str] | tuple[()]) -> bytes:
        """A field; what is too much is left out."""
        parts = []
        for key, memo in _METADATA:
            if (raw := said.get(key)) is not None:
                try:
                    parts.append(f'"{key}":{memo[raw]}')
                except ValueError:
                    self.unknown += 1
        if said.get("ec", "").startswith("(") or url is not None or custom:
            parts.extend(self._more(said, url, custom, 1 + sum(map(len, parts)) + len(parts)))
        if not parts:
            return NULL
        return value.text_field(f"{{{','.join(parts)}}}")

    def _more(
        self, said: dict[str, str], url: str | None, custom: list[str] | tuple[()], size_bytes: int
    ) -> Iterator[str]:
        """Members of the object beside those that every line may have, in the `size_bytes` that are left."""
        for key in ("ec", "url", *custom):
            try:
                if key == "ec":
                    said_json = value.JSON_FURTHER[said["ec"]] if said.get("ec", "").startswith("(") else ""
                elif key == "url":
                    said_json = "" if url is None else value.json_text(url)
                else:
                    said_json = value.JSON_CUSTOM[said[key]]
                if not said_json:
                    continue
                part = f"{value.json_key(key)}:{said_json}"
                size_bytes += len(part.encode()) + 1
                if size_bytes >= cmcd.METADATA_MAX_BYTES:
                    size_bytes -= len(part.encode()) + 1
                    raise ValueError("no room")
            except ValueError:
                self.unknown += 1
            else:
                yield part


def members(line: str) -> dict[str, str]:
    """Keys and their values as written; of a key that is there twice the last. What has no key is left out later: it
    has no key that anybody knows.
    """
    pieces = line.split(",") if _SEPARABLE.fullmatch(line) else _pieces(line)
    said = {}
    blanks = " " in line or "\t" in line
    for piece in pieces:
        key, is_said, raw = piece.strip(_BLANKS).partition("=") if blanks else piece.partition("=")
        if key:
            said[key] = raw if is_said else value.TRUE
    return said


def _pieces(line: str) -> Iterator[str]:
    """What is between commas that are in no string; a string that does not end, and what is behind it, is left out."""
    at = 0
    while at <= len(line):
        end = _MEMBER.match(line, at).end()  # type: ignore[union-attr]  # it always matches
        if end < len(line) and line[end] != ",":
            return
        yield line[at:end]
        at = end + 1


def _version(raw: str) -> int | float:
    try:
        return value.number(raw)
    except ValueError:
        return VERSION_MAX  # of a wrong type: ignored


def _without_identity(line: str, said: dict[str, str]) -> str:
    if any(key in said for key in _IDENTITY):
        return codes.CMCD_NO_SESSION
    try:
        structured.dictionary(line)
    except structured.NotStructured:
        return codes.CMCD_UNREADABLE
    return codes.CMCD_NO_SESSION
