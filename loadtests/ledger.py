"""The crowd's ledger: what was handed to the wire, and what the answers promised. Nothing else is ever believed.

A ledger on disk is append-only lines of JSON; each crowd process writes its own file and a reader joins them:

    {"k":"post","n":7,"events":[…]}                  a request's events, written before its first byte is sent
    {"k":"try","n":7,"t":…,"sent_at":…|null}         one try: the client's clock, and the `sent_at` of this try
    {"k":"answer","n":7,"t":…,"status":200,"refused":[3],"unlisted":0,"odd":…|null}
    {"k":"lost","n":7,"t":…,"why":"reset"}           the try ended without an answer

Times are epoch µs; `n` counts within one file. An event is acknowledged when an answer took it, refused when an answer
named it, and otherwise *possible*: a 5xx or silence says nothing about what was kept (DESIGN §2).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
SIGNAL_TYPES: Final = frozenset({"heartbeat"})  # signals are taken and counted, and are no rows
RESEND_STATUSES: Final = frozenset({408, 429, 502, 503, 504})
NOT_KEPT_STATUSES: Final = frozenset({400, 401, 403, 404, 405, 408, 410, 413, 415, 429, 431})

Identity = tuple[str, str] | tuple[str, str, int]


def identity(event: dict[str, Any]) -> Identity:
    """What makes an event the same event however often it is sent: its id, else its place in its session."""
    if event.get("event_id") is not None:
        return ("id", str(event["event_id"]).lower())
    return ("sequence", str(event["session_id"]).lower(), int(event["sequence"]))


def epoch_us(time: str | int | datetime) -> int:
    """A wire time (RFC 3339, or epoch ms) or a datetime with zone as epoch µs."""
    if isinstance(time, int):
        return time * 1000
    when = datetime.fromisoformat(time) if isinstance(time, str) else time
    return (when - EPOCH) // MICROSECOND


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one answer says of `count` events: the indices it refused, how many more it refused without naming them
    (only the first 100 are listed), and what is wrong with the answer itself, if anything."""

    refused: tuple[int, ...] = ()
    unlisted: int = 0
    odd: str | None = None


def verdict(status: int, answer: bytes, count: int) -> Verdict:
    """Read an answer by DESIGN §3: 204 takes all, 200 and 400 say by index what was refused.

    An answer that contradicts itself is no promise: its `odd` is set, and nothing in it counts as acknowledged.
    """
    if status == 204:
        return Verdict()
    if status not in (200, 400):
        return Verdict()
    try:
        said = orjson.loads(answer)
        if "accepted" not in said:  # 400 of a body that could not be decoded
            return Verdict(refused=tuple(range(count)), odd=None if status == 400 else "200 without counts")
        refused = tuple(sorted({error["index"] for error in said.get("errors", ())}))
        total = said["accepted"] + said["duplicates"] + said["rejected"]
        unlisted = said["rejected"] - len(refused)
    except (ValueError, KeyError, TypeError) as wrong:
        return Verdict(odd=f"{status}: {wrong!r} in {answer[:200]!r}")
    if total != count or unlisted < 0 or (unlisted and len(refused) < 100) or any(not 0 <= i < count for i in refused):
        return Verdict(odd=f"{status} for {count} events: {answer[:200]!r}")
    return Verdict(refused, unlisted)


class LedgerFile:
    """The writing end: one file, one process. Every line is one write, so a killed process leaves whole lines."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._next = 0

    def post(self, events: Sequence[dict[str, Any]]) -> int:
        """Write down what a request will carry; returns its number."""
        number = self._next
        self._next += 1
        self._write({"k": "post", "n": number, "events": events})
        return number

    def attempt(self, number: int, time_us: int, sent_at_us: int | None) -> None:
        self._write({"k": "try", "n": number, "t": time_us, "sent_at": sent_at_us})

    def answer(self, number: int, time_us: int, status: int, said: Verdict) -> None:
        self._write(
            {
                "k": "answer",
                "n": number,
                "t": time_us,
                "status": status,
                "refused": said.refused,
                "unlisted": said.unlisted,
                "odd": said.odd,
            }
        )

    def lost(self, number: int, time_us: int, why: str) -> None:
        self._write({"k": "lost", "n": number, "t": time_us, "why": why})

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._descriptor, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


@dataclass(slots=True)
class Attempt:
    """One try that may have been kept: received between `begun_us` and `ended_us` (None: never heard of again)."""

    begun_us: int
    ended_us: int | None
    sent_at_us: int | None
    acknowledged: bool


@dataclass(slots=True)
class Entry:
    """One event by its identity, with every try that may have been kept. `refusals` counts answers that refused it."""

    event: dict[str, Any]
    attempts: list[Attempt] = field(default_factory=list)
    refusals: int = 0

    @property
    def acknowledged(self) -> bool:
        return any(attempt.acknowledged for attempt in self.attempts)

    @property
    def may_be_kept(self) -> bool:
        """False for what never left, and for what an answer refused: refused once is refused always."""
        return self.acknowledged or (bool(self.attempts) and not self.refusals)

    @property
    def is_row(self) -> bool:
        return self.event["event_type"] not in SIGNAL_TYPES


@dataclass(slots=True)
class _Post:
    events: list[dict[str, Any]]
    begun_us: int | None = None
    sent_at_us: int | None = None


@dataclass(slots=True)
class Ledger:
    """All files joined: every event sent, by identity; answers by status; and answers that made no sense."""

    entries: dict[Identity, Entry] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)
    lost: int = 0
    odd: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Ledger:
        """Join the files; a line cut short at a file's end (its writer was killed) is left out."""
        ledger = cls()
        for path in paths:
            ledger._join(lines(path))
        return ledger

    def unanswered(self) -> list[Entry]:
        """What may or may not be kept: sent, neither acknowledged nor refused."""
        return [entry for entry in self.entries.values() if entry.may_be_kept and not entry.acknowledged]

    def acknowledged_rows(self) -> int:
        """How many rows the answers promise."""
        return sum(entry.acknowledged and entry.is_row for entry in self.entries.values())

    def _join(self, written: Iterable[dict[str, Any]]) -> None:
        posts: dict[int, _Post] = {}
        for line in written:
            number = line["n"]
            if line["k"] == "post":
                posts[number] = _Post(line["events"])
                for event in line["events"]:
                    self.entries.setdefault(identity(event), Entry(event))
                continue
            post = posts[number]
            if line["k"] == "try":
                post.begun_us, post.sent_at_us = line["t"], line["sent_at"]
                continue
            self._ended(post, line)
            post.begun_us = None
        for post in posts.values():
            if post.begun_us is not None:  # the writer fell between the try and its end
                for event in post.events:
                    self.entries[identity(event)].attempts.append(Attempt(post.begun_us, None, post.sent_at_us, False))

    def _ended(self, post: _Post, line: dict[str, Any]) -> None:
        assert post.begun_us is not None
        status = line.get("status")
        if status is None:
            self.lost += 1
        else:
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if line["odd"]:
                self.odd.append(line["odd"])
        refused = set(line.get("refused", ()))
        promised = status in (200, 204) and not line["odd"] and not line["unlisted"]
        for index, event in enumerate(post.events):
            entry = self.entries[identity(event)]
            if index in refused:
                entry.refusals += 1
            elif status is None or status not in NOT_KEPT_STATUSES:
                entry.attempts.append(Attempt(post.begun_us, line["t"], post.sent_at_us, promised))


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of one ledger file."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield orjson.loads(line)
