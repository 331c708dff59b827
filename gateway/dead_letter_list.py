"""Dead letters as people and machines read them: a table or JSON, and sums by reason."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from gateway.wire_event import NotAnEvent, event_of, row_of, time_text
from ingest.spool.disk import FileDisk
from storage.dead_letter import unkept
from storage.dead_letter.letter import Letter

MESSAGE_SHOWN_CHARACTERS = 60
Echo = Callable[[str], Any]


def show(dead: Path, letters: Iterable[Letter], limit: int | None, as_json: bool, echo: Echo) -> None:
    """Up to `limit` of them, and a summary of all; JSON: one document. Raises OSError."""
    reasons: Counter[str] = Counter()
    shown: list[dict[str, Any]] = []
    for letter in letters:
        if limit is None or reasons.total() < limit:
            if as_json:
                shown.append(_head(letter))
            else:
                if not reasons:
                    echo(f"{'id':<40} {'written':<20} {'reason':<15} {'event_id':<36}  occurred_at, message")
                echo(_line(letter))
        reasons[letter.reason] += 1
    past = unkept.total(FileDisk(), dead)
    if as_json:
        echo(msgspec.json.encode({"letters": shown, "by_reason": dict(reasons), "unkept": past}).decode())
        return
    echo(summary(reasons, "no dead letters"))
    if past:
        echo(f"past the quota, counted and not kept: {_by_reason(past)}")


def summary(reasons: Counter[str], none: str) -> str:
    """3 dead letters (month_dropped 1, sqlstate_23514 2)"""
    total = reasons.total()
    return f"{total} dead letter{'s' if total > 1 else ''} ({_by_reason(reasons)})" if total else none


def described(letter: Letter) -> dict[str, Any]:
    """All of a letter: its head, and its event as a player would post it or, where that is none, its bytes."""
    try:
        return _head(letter) | {"event": event_of(row_of(letter.row(), letter.schema))}
    except (NotAnEvent, ValueError) as error:
        return _head(letter) | {"not_an_event": str(error), "tuple": letter.tuple}


def _head(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "reason": letter.reason,
        "sqlstate": letter.sqlstate or None,
        "message": letter.message or None,
        "event_id": letter.event_id,
        "occurred_at": _time(letter.occurred_at_us),
        "received_at": _time(letter.received_at_us),
        "written_at": _time(letter.at_us),
        "clock_broken": bool(letter.flags & 1),
        "schema": letter.schema,
    }


def _line(letter: Letter) -> str:
    occurred, message = _time(letter.occurred_at_us) or "no time", letter.message[:MESSAGE_SHOWN_CHARACTERS]
    written = (_time(letter.at_us) or "no time")[:19] + "Z"
    return f"{letter.id:<40} {written:<20} {letter.reason:<15} {letter.event_id}  {occurred}  {message}".rstrip()


def _time(us: int) -> str | None:
    try:
        return time_text(us)
    except NotAnEvent:  # of a tuple that is none
        return None


def _by_reason(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
