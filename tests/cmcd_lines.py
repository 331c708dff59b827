"""Lines of CMCD, valid ones with something changed, as the stage has them in hand."""

from typing import Any

from ingest.batch import KIND_CMCD, MONTH_CMCD, SCHEMA_CMCD, FrameBody
from ingest.cmcd import CmcdLine, encode
from storage.stage.line import Line

NOW_US = 1_795_369_000_000_000
"""22 November 2026."""


def a_line(sequence: int = 0, event: str = "ps", state: str | None = None, **changes: Any) -> CmcdLine:
    """`at_ms`: when it was, `behind_ms`: how long after that it was received; milliseconds since NOW_US."""
    at_ms = changes.pop("at_ms", 1_000 * sequence)
    behind_ms = changes.pop("behind_ms", 100)
    occurred_us = NOW_US + 1_000 * at_ms
    given: dict[str, Any] = {
        "session_id": "9110210b-5f5c-4b6e-9d5c-1a0f6d2c7e01",
        "target": 7,
        "owner": "",
        "sequence": sequence,
        "event": event,
        "occurred_at_us": occurred_us,
        "received_at_us": occurred_us + 1_000 * behind_ms,
        "state": state,
        "content_id": "streamverse-movie-1",
    }
    return CmcdLine(**(given | changes))


def line(sequence: int = 0, event: str = "ps", state: str | None = None, **changes: Any) -> Line:
    """As the stage reads it."""
    return Line(encode(a_line(sequence, event, state, **changes)))


def lines_of(states: str, step_ms: int = 1_000) -> list[Line]:
    """One line a word: a state, or event=state (`t=p`, `t=`)."""
    found = []
    for number, word in enumerate(states.split()):
        event, is_named, state = word.partition("=")
        found.append(line(number, *((event, state or None) if is_named else ("ps", word)), at_ms=number * step_ms))
    return found


def body_of(lines: list[CmcdLine]) -> FrameBody:
    """The frame of a request with these."""
    return FrameBody.of(KIND_CMCD, 0, MONTH_CMCD, [encode(one) for one in lines], SCHEMA_CMCD)
