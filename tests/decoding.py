"""What tests of decoding ask: is this taken, as which row, or refused, with which code and path."""

import json
from typing import Any

import pytest

from ingest import tuple as copy
from ingest.batch import Batch
from ingest.decode import Undecodable, decode
from ingest.tuple import Row
from tests.builders import RECEIVED_AT_US, a_body, an_event

# An event with none of these goes the fast way, with the others a slower one, with a lone surrogate the slowest.
SURPLUS = pytest.mark.parametrize("surplus", [{}, {"foo": 1}, {"foo": "\ud800"}], ids=["none", "unknown", "surrogate"])


def decoded(body: bytes, media: str = "json", **options: Any) -> Batch:
    """The batch of a body."""
    return decode(body, media, RECEIVED_AT_US, **options)


def undecodable(body: bytes, media: str = "json", **options: Any) -> Undecodable:
    """Why the body as a whole is refused."""
    with pytest.raises(Undecodable) as error:
        decoded(body, media, **options)
    return error.value


def rows(batch: Batch) -> list[Row]:
    """All rows, frame after frame."""
    return [copy.decode(row) for frame in batch.bodies for row in frame.tuples]


def verdict_of_text(event: str) -> Any:
    """The Row of one event written exactly so, or (code, path)."""
    batch = decoded(event.encode())
    if batch.errors:
        return batch.errors[0].code, batch.errors[0].path
    return rows(batch)[0]


def verdict(event: Any) -> Any:
    """The same of an event as a dict."""
    return verdict_of_text(json.dumps(event))


def refused(**changes: Any) -> tuple[str, str]:
    """(code, path) of a valid event with `changes`: alone and beside a valid one, which is taken."""
    event = an_event(**changes)
    alone: tuple[str, str] = verdict(event)
    batch = decoded(a_body([an_event(), event]))
    assert batch.accepted == 1
    assert (batch.errors[0].code, batch.errors[0].path) == alone
    return alone


def taken(**changes: Any) -> Row:
    """The row of a valid event with `changes`."""
    row: Row = verdict(an_event(**changes))
    assert isinstance(row, Row), row
    return row


def as_json(name: str, value_text: str) -> str:
    """A valid event whose field is written exactly so."""
    return json.dumps(an_event(**{name: "@@"})).replace('"@@"', value_text)
