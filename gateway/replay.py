"""Dead letters posted through the front again, under the same keys.

A letter is taken away only once the front has said that it holds the event, so a crash in between leaves a letter that
is posted a second time and meets its own row. What the front refuses stays, and so does what no longer is an event.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from gateway.edit import edited
from gateway.front import Front, TooLarge, Verdict
from gateway.wire_event import NotAnEvent, event_of, row_of, sent_at_now
from ingest.clock import Clock
from ingest.tuple import Row
from storage.dead_letter.handled import Handling
from storage.dead_letter.letter import Letter

BATCH_MAX = 100
"""Letters in a request: as many as one answer names refusals."""


class Change(Struct, frozen=True):
    """What is changed in every event."""

    fields: Mapping[str, Any]
    """Name → value; None takes it away."""
    event: dict[str, Any] | None = None
    """The whole event instead, of one letter."""


class Told(NamedTuple):
    """What became of one letter."""

    letter: Letter
    verdict: Verdict


def replay(
    letters: Iterable[Letter],
    change: Change,
    front: Front,
    handling: Handling | None,
    clock: Clock,
    tell: Callable[[Letter, bool, str], Any],
) -> None:
    """`tell` gets every letter, whether it was accepted, and that in words; without `handling` the front is only
    asked, and keeps nothing.

    Raises FrontUnavailable, FrontRefused, and OSError when it cannot be written which letters are gone; what was told
    before holds.
    """
    for batch in _batches(letters):
        told, events = [], []
        for letter in batch:
            try:
                events.append((letter, _event(letter, change, clock.now_us())))
            except (NotAnEvent, ValueError) as error:
                told.append(Told(letter, Verdict(False, "not_an_event", "", str(error))))
        told += _posted(front, events, dry_run=handling is None)
        if handling is not None:
            handling.take_away([one.letter.identity for one in told if one.verdict.accepted], "replayed")
        for letter, verdict in told:
            tell(letter, verdict.accepted, _words(verdict, dry_run=handling is None))


def _event(letter: Letter, change: Change, now_us: int) -> dict[str, Any]:
    """As it is posted now. Raises NotAnEvent; ValueError for a tuple that is no base64."""
    if change.event is not None:
        event = change.event
        try:
            row = row_of(letter.row(), letter.schema)
            original = event_of(row)
        except (NotAnEvent, ValueError):
            return event
    else:
        row = row_of(letter.row(), letter.schema)
        original = event_of(row)
        event = edited(original, change.fields)
    if isinstance(row, Row) and "sent_at" in event and event["sent_at"] == original.get("sent_at"):
        event = event | {"sent_at": sent_at_now(row, now_us)}
    return event


def _words(verdict: Verdict, *, dry_run: bool) -> str:
    if verdict.accepted:
        return "would be accepted" if dry_run else "replayed"
    return f"refused: {verdict.code} {verdict.path} {verdict.message}".replace("  ", " ")


def _posted(front: Front, events: list[tuple[Letter, dict[str, Any]]], *, dry_run: bool) -> list[Told]:
    if not events:
        return []
    try:
        verdicts = front.post([event for _, event in events], dry_run=dry_run)
    except TooLarge as error:
        if len(events) == 1:
            return [Told(events[0][0], Verdict(False, str(error), "", "It is larger than this gateway takes."))]
        middle = len(events) // 2
        return [part for half in (events[:middle], events[middle:]) for part in _posted(front, half, dry_run=dry_run)]
    return [Told(letter, verdict) for (letter, _), verdict in zip(events, verdicts, strict=True)]


def _batches(letters: Iterable[Letter]) -> Iterator[list[Letter]]:
    batch: list[Letter] = []
    for letter in letters:
        batch.append(letter)
        if len(batch) == BATCH_MAX:
            yield batch
            batch = []
    if batch:
        yield batch
