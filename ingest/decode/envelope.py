"""What a body is (envelope, array, one object, lines) and its events one by one, with the place of every fault.

The slow way's parser is the standard library's, because it takes lone surrogates and numbers of any size, which are
faults of one event and not of the body, and because it says where the text stops being JSON.
"""

import json
import re
from typing import Final, NamedTuple

from ingest import codes
from ingest.decode.limits import Limits
from ingest.decode.skeleton import deeper_than
from ingest.decode.undecodable import Refused, Undecodable

WHITESPACE: Final = b" \t\r\n"
"""JSON's own, no other."""
_WHITESPACE = re.compile(r"[ \t\r\n]*")
_HUGE = 10**39
"""Stands for every integer of more digits: beyond all columns, and cheap."""


class Piece(NamedTuple):
    """One event of a request, parsed but not judged."""

    value: object
    text: str
    """Its JSON as sent."""
    refusal: Refused | None = None
    """Set for a line that is not JSON."""


class Pieces(NamedTuple):
    """A whole body."""

    events: list[Piece]
    sent_at: object
    """Of the envelope; None when there is none."""
    unknown: list[str]
    """Names in the envelope outside the vocabulary."""


def _integer(digits: str) -> int:
    if len(digits) < 40:
        return int(digits)
    return -_HUGE if digits[0] == "-" else _HUGE


def _no_constant(name: str) -> object:
    raise json.JSONDecodeError(f"{name} is not JSON", "", 0)


_PARSER = json.JSONDecoder(parse_int=_integer, parse_constant=_no_constant)


def _skip(text: str, at: int) -> int:
    match = _WHITESPACE.match(text, at)
    assert match is not None
    return match.end()


def pieces(body: bytes, lines: bool, limits: Limits) -> Pieces:
    """The events of a body; raises Undecodable. `lines`: NDJSON."""
    if not body.strip(WHITESPACE):
        raise Undecodable(codes.EMPTY_BODY)
    if lines:
        rows = split_lines(body)
        _check_count(len(rows), limits)
        return Pieces([_line(row, limits) for row in rows], None, [])
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Undecodable(codes.INVALID_JSON, "The body is not UTF-8.", offset=error.start) from None
    if deeper_than(body, limits.depth_max):
        raise Undecodable(codes.TOO_DEEP, depth_max=limits.depth_max)
    try:
        found = _whole(text, limits)
    except json.JSONDecodeError as error:
        place = {"offset": len(text[: error.pos].encode())} if error.doc else {}
        raise Undecodable(codes.INVALID_JSON, f"The body is not JSON: {error.msg}.", **place) from None
    return found


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.events_max:
        raise Undecodable(codes.TOO_MANY_EVENTS, events_max=limits.events_max)


def split_lines(body: bytes) -> list[bytes]:
    """The lines of NDJSON that are not empty."""
    return [line for line in (line.strip(WHITESPACE) for line in body.split(b"\n")) if line]


def are_lines(body: bytes) -> bool:
    """Whether a text/plain body that the fast way could not read is NDJSON rather than JSON.

    It is, when its first line is a JSON value by itself and others follow; and when the whole is not JSON, but its
    first line runs from brace to brace.
    """
    rows = split_lines(body)
    if len(rows) < 2:
        return False
    try:
        first = rows[0].decode()
        if _PARSER.raw_decode(first)[1] == len(first):
            return True
    except (ValueError, RecursionError):
        pass
    if not (rows[0].startswith(b"{") and rows[0].endswith(b"}")):
        return False
    try:
        _PARSER.decode(body.decode())
    except (ValueError, RecursionError):
        return True
    return False


def _line(line: bytes, limits: Limits) -> Piece:
    """One line of NDJSON: its faults are its own."""
    try:
        text = line.decode()
        if deeper_than(line, limits.depth_max):
            return Piece(None, "", Refused(codes.TOO_DEEP))
        value, end = _PARSER.raw_decode(text)
        if end != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
    except UnicodeDecodeError as error:
        return Piece(None, "", Refused(codes.INVALID_JSON, "$", f"The line is not UTF-8 (byte {error.start})."))
    except json.JSONDecodeError as error:
        message = f"The line is not JSON: {error.msg} (character {error.pos})."
        return Piece(None, "", Refused(codes.INVALID_JSON, "$", message))
    return Piece(value, text)


def _whole(text: str, limits: Limits) -> Pieces:
    at = _skip(text, 0)
    opening = text[at : at + 1]
    if opening == "[":
        events, end = _elements(text, at, limits)
        found = Pieces(events, None, [])
    elif opening == "{":
        found, end = _object(text, at, limits)
    else:
        _, end = _PARSER.raw_decode(text, at)
    end = _skip(text, end)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    if opening not in ("[", "{"):
        raise Undecodable(codes.INVALID_TYPE, "The body is neither an object nor an array.", path="$")
    return found


def _object(text: str, at: int, limits: Limits) -> tuple[Pieces, int]:
    """An envelope, when it has `events`; one event otherwise."""
    members, end = _members(text, at)
    if "events" not in members:
        value = {name: value for name, (value, _, _) in members.items()}
        return Pieces([Piece(value, text[at:end])], None, []), end
    events, start, _ = members.pop("events")
    if not isinstance(events, list):
        raise Undecodable(codes.INVALID_TYPE, "events is not an array.", path="$.events")
    sent_at, _, _ = members.pop("sent_at", (None, 0, 0))
    return Pieces(_elements(text, start, limits)[0], sent_at, list(members)), end


def _elements(text: str, at: int, limits: Limits) -> tuple[list[Piece], int]:
    """The elements of the array at `at`, and where it ends."""
    found: list[Piece] = []
    at = _skip(text, at + 1)
    if text[at : at + 1] == "]":
        return found, at + 1
    while True:
        value, end = _PARSER.raw_decode(text, at)
        found.append(Piece(value, text[at:end]))
        _check_count(len(found), limits)
        at = _skip(text, end)
        if text[at : at + 1] == "]":
            return found, at + 1
        if text[at : at + 1] != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at = _skip(text, at + 1)


def _members(text: str, at: int) -> tuple[dict[str, tuple[object, int, int]], int]:
    """name → (value, start, end) of the object at `at`, the last of doubled names, and where it ends."""
    found: dict[str, tuple[object, int, int]] = {}
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        return found, at + 1
    while True:
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
        name, at = _PARSER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
        start = _skip(text, at + 1)
        value, end = _PARSER.raw_decode(text, start)
        found[name] = (value, start, end)
        at = _skip(text, end)
        if text[at : at + 1] == "}":
            return found, at + 1
        if text[at : at + 1] != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at = _skip(text, at + 1)


def metadata_of(piece: Piece) -> bytes | None:
    """The metadata of an event as sent; None when absent or null."""
    if not isinstance(piece.value, dict) or piece.value.get("metadata") is None:
        return None
    _, start, end = _members(piece.text, 0)[0]["metadata"]
    return piece.text[start:end].encode()
