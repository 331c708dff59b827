"""What a value of one event may be, each rule once: (value as sent, path) → value of the row; raises Refused. Pure."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import UUID

from config.limits import INT4_MAX
from ingest import codes
from ingest.decode.time import time_us
from ingest.decode.undecodable import Refused
from ingest.decode.uuid import uuid_bytes

Rule = Callable[[object, str], object]
"""(value as sent, path) → value of the row; raises Refused."""


def text(value: object, path: str) -> str:
    """One that every store can keep."""
    if not isinstance(value, str):
        raise Refused(codes.INVALID_TYPE, path, "The value is not a text.")
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        raise Refused(codes.INVALID_TEXT, path) from None
    if "\0" in value:
        raise Refused(codes.INVALID_TEXT, path)
    return value


def text_of(length_max: int, length_min: int = 0) -> Rule:
    """A text of so many characters."""

    def rule(value: object, path: str) -> str:
        found = text(value, path)
        if len(found) > length_max:
            raise Refused(codes.TOO_LONG, path, f"The text has more than {length_max} characters.")
        if len(found) < length_min:
            raise Refused(codes.TOO_SHORT, path, f"The text has fewer than {length_min} characters.")
        return found

    return rule


def uuid(value: object, path: str) -> UUID:
    """In one of the forms of `ingest.decode.uuid`."""
    found = text(value, path)
    try:
        return UUID(bytes=uuid_bytes(found))
    except ValueError:
        raise Refused(codes.INVALID_UUID, path) from None


def time(value: object, path: str) -> int:
    """Microseconds since 1970."""
    return time_us(text(value, path) if isinstance(value, str) else value, path)


def boolean(value: object, path: str) -> bool:
    """true or false, and no number."""
    if not isinstance(value, bool):
        raise Refused(codes.INVALID_TYPE, path, "The value is neither true nor false.")
    return value


def integer_to(value_max: int) -> Rule:
    """An integer from 0 on."""

    def rule(value: object, path: str) -> int:
        if type(value) is not int:
            raise Refused(codes.INVALID_TYPE, path, "The value is not an integer.")
        return _within(value, value_max, path)

    return rule


def seconds(value: object, path: str) -> int:
    """A number that may have a fraction, which is dropped."""
    if type(value) is float:
        if math.isinf(value):
            raise Refused(codes.OUT_OF_RANGE, path)
        value = math.floor(value)
    if type(value) is not int:
        raise Refused(codes.INVALID_TYPE, path, "The value is not a number.")
    return _within(value, INT4_MAX, path)


def _within(value: int, value_max: int, path: str) -> int:
    if not 0 <= value <= value_max:
        raise Refused(codes.OUT_OF_RANGE, path, f"The number is outside 0 to {value_max}.")
    return value


class Field(NamedTuple):
    """One line of a table of fields."""

    name: str
    column: str
    """The field of the row it becomes."""
    rule: Rule
    required: bool = False


def columns_of(event: dict[str, object], fields: Sequence[Field]) -> dict[str, object]:
    """The values of an event by column, judged in the order of `fields`: the first fault is the verdict."""
    columns: dict[str, object] = {}
    for field in fields:
        value = event.get(field.name)
        if value is not None:
            columns[field.column] = field.rule(value, f"$.{field.name}")
        elif field.required:
            raise Refused(codes.MISSING_FIELD, f"$.{field.name}")
    return columns
