"""Structured fields for HTTP (RFC 8941): a text → dictionary, list or item, or NotStructured. Pure and strict.

    integer      int       up to 15 digits                     string    str
    decimal      float     up to 12 digits, 3 behind the dot   token     Token, a str of its own
    boolean      bool                                          binary    bytes

Every pattern matches in one way alone and holds on to what it took (possessive), so that no text takes longer than
its length.
"""

import re
import sys
from base64 import b64decode
from typing import Final, NamedTuple


class NotStructured(ValueError):
    """The text is no structured field of this type."""


class Token(str):
    """A token; equal to the string of its characters."""

    __slots__ = ()


Bare = int | float | str | bool | bytes
"""What an item is without its parameters."""
Parameters = dict[str, Bare]


class Item(NamedTuple):
    """§3.3."""

    value: Bare
    parameters: Parameters


class InnerList(NamedTuple):
    """§3.1.1."""

    items: list[Item]
    parameters: Parameters


Member = Item | InnerList

_BARE: Final = re.compile(
    r"(?P<number>(?P<sign>-?)(?P<whole>[0-9]++)(?P<fraction>\.[0-9]++)?)(?![0-9.])"
    r'|"(?P<string>(?:[ !#-\[\]-~]|\\["\\])*+)"'
    r"|(?P<token>[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*+)"
    r"|:(?P<binary>[A-Za-z0-9+/=]*+):"
    r"|\?(?P<boolean>[01])"
)
_KEY: Final = re.compile(r"[a-z*][a-z0-9_\-.*]*+")
_SPACES: Final = re.compile(r" *+")
_BLANKS: Final = re.compile(r"[ \t]*+")
_ESCAPED: Final = re.compile(r"\\(.)")
_WHOLE_MAX_DIGITS: Final = 12
_INTEGER_MAX_DIGITS: Final = 15
_FRACTION_MAX_CHARS: Final = 4


def dictionary(text: str) -> dict[str, Member]:
    """§4.2.2; of a key that is there twice, the last value, in the place of the first. Raises NotStructured."""
    members: dict[str, Member] = {}
    at = _SPACES.match(text).end()  # type: ignore[union-attr]  # it always matches
    while at < len(text):
        key, at = _key(text, at)
        if text.startswith("=", at):
            member, at = _member(text, at + 1)
        else:
            parameters, at = _parameters(text, at)
            member = Item(True, parameters)
        members[key] = member
        at = _next(text, at)
    return members


def list_of(text: str) -> list[Member]:
    """§4.2.1. Raises NotStructured."""
    members: list[Member] = []
    at = _SPACES.match(text).end()  # type: ignore[union-attr]  # it always matches
    while at < len(text):
        member, at = _member(text, at)
        members.append(member)
        at = _next(text, at)
    return members


def item(text: str) -> Item:
    """§4.2.3. Raises NotStructured."""
    found, at = _item(text, _SPACES.match(text).end())  # type: ignore[union-attr]  # it always matches
    if text[at:].strip(" "):
        raise NotStructured("something behind the item")
    return found


def member(text: str, most: int = sys.maxsize) -> Member:
    """An item or an inner list, and nothing around it. Raises NotStructured, also for more than `most` items in a list
    or parameters in a row: who expects few need not pay for many.
    """
    found, at = _member(text, 0, most)
    if at < len(text):
        raise NotStructured("something behind the member")
    return found


def _next(text: str, at: int) -> int:
    """Where the next member begins, or the text ends, behind one that ends at `at`."""
    at = _BLANKS.match(text, at).end()  # type: ignore[union-attr]  # it always matches
    if at == len(text):
        return at
    if text[at] != ",":
        raise NotStructured("no comma between members")
    at = _BLANKS.match(text, at + 1).end()  # type: ignore[union-attr]  # it always matches
    if at == len(text):
        raise NotStructured("a comma at the end")
    return at


def _member(text: str, at: int, most: int = sys.maxsize) -> tuple[Member, int]:
    return _inner_list(text, at, most) if text.startswith("(", at) else _item(text, at, most)


def _inner_list(text: str, at: int, most: int) -> tuple[InnerList, int]:
    items: list[Item] = []
    at += 1
    while True:
        blank_at = at
        at = _SPACES.match(text, at).end()  # type: ignore[union-attr]  # it always matches
        if text.startswith(")", at):
            parameters, at = _parameters(text, at + 1, most)
            return InnerList(items, parameters), at
        if len(items) >= most:
            raise NotStructured("an inner list of more items than are read")
        if items and at == blank_at:
            raise NotStructured("no space between the items of an inner list")
        found, at = _item(text, at, most)
        items.append(found)


def _item(text: str, at: int, most: int = sys.maxsize) -> tuple[Item, int]:
    value, at = _bare(text, at)
    parameters, at = _parameters(text, at, most)
    return Item(value, parameters), at


def _parameters(text: str, at: int, most: int = sys.maxsize) -> tuple[Parameters, int]:
    parameters: Parameters = {}
    left = most
    while text.startswith(";", at):
        left -= 1
        if left < 0:
            raise NotStructured("more parameters than are read")
        key, at = _key(text, _SPACES.match(text, at + 1).end())  # type: ignore[union-attr]  # it always matches
        value: Bare = True
        if text.startswith("=", at):
            value, at = _bare(text, at + 1)
        parameters[key] = value
    return parameters, at


def _key(text: str, at: int) -> tuple[str, int]:
    match = _KEY.match(text, at)
    if match is None:
        raise NotStructured("no key")
    return match[0], match.end()


def _bare(text: str, at: int) -> tuple[Bare, int]:
    match = _BARE.match(text, at)
    if match is None:
        raise NotStructured("no bare item")
    kind, value = match.lastgroup, match[0]
    if kind == "number":
        return _number(match), match.end()
    value = match[kind]  # type: ignore[index]  # one of the groups has matched
    if kind == "string":
        return (_ESCAPED.sub(r"\1", value) if "\\" in value else value), match.end()
    if kind == "token":
        return Token(value), match.end()
    if kind == "boolean":
        return value == "1", match.end()
    return _binary(value), match.end()


def _number(match: re.Match[str]) -> int | float:
    whole, fraction = match["whole"], match["fraction"]
    if fraction is None:
        if len(whole) > _INTEGER_MAX_DIGITS:
            raise NotStructured("an integer of more than 15 digits")
        return int(match[0])
    if len(whole) > _WHOLE_MAX_DIGITS or len(fraction) > _FRACTION_MAX_CHARS:
        raise NotStructured("a decimal of more than 12 digits, or 3 behind its dot")
    return float(match[0])


def _binary(value: str) -> bytes:
    """Padding may lack (§4.2.7)."""
    try:
        return b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4), validate=True)
    except ValueError:
        raise NotStructured("no base64") from None
