"""A row of CQL as the COPY tuple it was written from, and the column names of both. Pure."""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final

from ingest.tuple import NULL, POSTGRES_EPOCH_US, Column

_LENGTH: Final = Struct(">i").pack
_WIDE: Final = Struct(">iq").pack
_NARROW: Final = Struct(">ii").pack


def cql_name(column: Column) -> str:
    """Times are microseconds since 1970 in CQL, and say so."""
    return f"{column.name}_us" if column.type == "timestamptz" else column.name


def _uuid(value: Any) -> bytes:
    return b"\0\0\0\x10" + bytes.fromhex(value.replace("-", ""))


def _time(value: Any) -> bytes:
    return _WIDE(8, value - POSTGRES_EPOCH_US)


def _text(value: Any) -> bytes:
    encoded: bytes = value.encode()
    return _LENGTH(len(encoded)) + encoded


_FORMS: Final[dict[str, Callable[[Any], bytes]]] = {
    "uuid": _uuid,
    "timestamptz": _time,
    "bigint": lambda value: _WIDE(8, value),
    "integer": lambda value: _NARROW(4, value),
    "boolean": lambda value: b"\0\0\0\1\1" if value else b"\0\0\0\1\0",
}


def tuples_of(columns: Sequence[Column]) -> Callable[[Sequence[Any]], bytes]:
    """What makes the tuple of these columns of a row that has them, in this order, uuids as text."""
    forms = [_FORMS.get(column.type, _text) for column in columns]
    head = len(columns).to_bytes(2, "big")

    def tuple_of(row: Sequence[Any]) -> bytes:
        return head + b"".join([
            NULL if value is None else form(value) for form, value in zip(forms, row, strict=True)
        ])  # fmt: skip

    return tuple_of
