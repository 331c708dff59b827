"""What an error of PostgreSQL means for the batch that met it (SQLSTATEs: PostgreSQL manual, appendix A). Pure."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

import asyncpg

from storage.sink import SinkRefused, SinkUnavailable


class Refusal(Enum):
    """Why COPY or INSERT of rows failed, by what is done next."""

    DUPLICATE = auto()
    """A key is there already: the batch goes through staging."""
    NO_PARTITION = auto()
    """A month is missing: make it, if it may be made, and try again."""
    ROW = auto()
    """The database will never take one of these rows: bisect."""
    ELSE = auto()
    """Not about the rows: wait, or an engineer."""


_ROW_CLASSES = frozenset({"22", "23"})  # data exception; integrity constraint violation
_ROW_STATES = frozenset({"08P01", "54000", "P0001"})
"""A value cut short in its binary form; an index entry too long; RAISE EXCEPTION in somebody's trigger."""


def refusal(error: asyncpg.PostgresError) -> Refusal:
    """For errors of statements that carry rows, and only of these."""
    state = error.sqlstate or ""
    if state == "23505":
        return Refusal.DUPLICATE
    if state == "23514" and not error.constraint_name:  # a CHECK has a name; "no partition of relation" has none
        return Refusal.NO_PARTITION
    if state[:2] in _ROW_CLASSES or state in _ROW_STATES:
        return Refusal.ROW
    return Refusal.ELSE


def words(error: BaseException | None) -> str:
    """The server's message alone: str(error) goes on with its DETAIL, which quotes the row, and no log shall."""
    return str(getattr(error, "message", None) or type(error).__name__)


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the driver become errors of the port. Class 42 (no such table, no rights) waits for an engineer."""
    try:
        yield
    except asyncpg.PostgresError as error:
        detail = f"{error.sqlstate} {words(error)}"
        if (error.sqlstate or "").startswith("42"):
            raise SinkRefused(detail) from error
        raise SinkUnavailable(detail) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:  # TimeoutError is an OSError
        raise SinkUnavailable(f"{type(error).__name__} {error}".strip()) from error
