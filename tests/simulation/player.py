"""Players: they post what happens, and post it again, elsewhere and in other company, until they are told it is kept.

The ledger is theirs: what they sent, and what they were told about it. Nothing of the gateway's is asked.
"""

import asyncio
import json
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from tests.simulation.wall import DAY_US, HOUR_US, SECOND_US, Wall

Name = tuple[bytes, int]
"""Session and sequence: what every event is known by here, whatever becomes of its time and its id."""
Post = Callable[[bytes], "asyncio.Future[tuple[int, bytes] | None]"]
"""A body → status and answer; None: the connection broke."""

TRIES_MAX = 6
KINDS = ["play", "pause", "seek", "buffering", "heartbeat", "heartbeat", "stop"]
MISTAKE = {"bitrate": -1}
POISONED = {"platform": "poison"}


class Ledger:
    """Of all players."""

    def __init__(self) -> None:
        self.acknowledged: set[Name] = set()
        """Rows: told 200."""
        self.signals: set[Name] = set()
        """Heartbeats: told 200."""
        self.sent: dict[Name, dict[str, Any]] = {}
        self.answers = 0
        self.accepted = 0
        """As counted by the answers: a resend counts again."""
        self.resent = 0
        self.history: list[Event] = []
        """All that was sent, by all players of all lives."""


class Event(NamedTuple):
    """One, as it is sent every time."""

    name: Name
    fields: dict[str, Any]


class Player:
    """One session. Its own clock may be wrong, and may be set right between two tries."""

    def __init__(self, chance: Random, wall: Wall, ledger: Ledger, post: Post) -> None:
        self._chance = chance
        self._wall = wall
        self._ledger = ledger
        self._post = post
        self._session = chance.randbytes(16)
        self._sequence = 0
        self._off_us = 0
        if chance.random() < 0.12:
            self._off_us = chance.choice([-1, 1]) * chance.choice([HOUR_US, 3 * DAY_US, 40 * DAY_US, 800 * DAY_US])
        self._late_us = chance.choice([0, 0, 0, DAY_US, 25 * DAY_US])
        self._says_sent_at = chance.random() < 0.7
        self._names_events = chance.random() < 0.7

    async def play(self) -> None:
        """Some requests, one after the other."""
        chance, told = self._chance, list[Event]()
        for _ in range(chance.randrange(1, 9)):
            events = [self._event() for _ in range(chance.choice([1, 1, 2, 5]))]
            if told and chance.random() < 0.15:  # told, and it did not hear or does not believe it
                events += chance.sample(told, min(2, len(told)))
                self._ledger.resent += 1
            if (
                self._ledger.history and chance.random() < 0.2
            ):  # offline since, and its clock was set meanwhile, perhaps
                events += chance.sample(self._ledger.history, min(2, len(self._ledger.history)))
                self._ledger.resent += 1
            if await self._deliver(events):
                told += events
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() * 0.05)

    async def _deliver(self, events: list[Event]) -> bool:
        chance, ledger = self._chance, self._ledger
        for attempt in range(TRIES_MAX):
            if attempt:
                ledger.resent += 1
                await asyncio.sleep(chance.random() * 0.5)
                if chance.random() < 0.2:
                    self._off_us = 0
                if chance.random() < 0.2:
                    events = [*events, self._event()]
            found = await self._post(self._body([event.fields for event in events]))
            if found is None or found[0] in (408, 429, 503):
                continue
            ledger.answers += 1
            self._told(events, found)
            if chance.random() < 0.85:  # else the answer was lost on its way
                return True
        return False

    def _told(self, events: list[Event], found: tuple[int, bytes]) -> None:
        status, body = found
        assert status in (200, 400), found
        verdicts = json.loads(body)
        assert "error" not in verdicts, verdicts
        self._ledger.accepted += verdicts["accepted"]
        refused = {error["index"] for error in verdicts.get("errors", [])}
        assert len(events) == verdicts["accepted"] + verdicts["duplicates"] + verdicts["rejected"]
        for index, event in enumerate(events):
            if index not in refused:
                is_signal = event.fields["event_type"] == "heartbeat"
                (self._ledger.signals if is_signal else self._ledger.acknowledged).add(event.name)

    def _event(self) -> Event:
        chance = self._chance
        occurred_us = self._wall.true_us() + self._off_us - self._late_us - chance.randrange(10 * SECOND_US)
        fields: dict[str, Any] = {
            "event_type": chance.choice(KINDS),
            "content_id": str(UUID(int=chance.randrange(1, 4))),
            "session_id": str(UUID(bytes=self._session)),
            "sequence": self._sequence,
            "occurred_at": occurred_us // 1_000,
        }
        if self._names_events:
            fields["event_id"] = str(UUID(bytes=chance.randbytes(16)))
        luck = chance.random()
        if luck < 0.04:
            fields |= MISTAKE
        elif luck < 0.06:
            fields |= POISONED
        name = (self._session, self._sequence)
        self._sequence += 1
        self._ledger.sent[name] = fields
        self._ledger.history.append(Event(name, fields))
        return self._ledger.history[-1]

    def _body(self, events: list[dict[str, Any]]) -> bytes:
        envelope: dict[str, Any] = {"events": events}
        if self._says_sent_at:
            envelope["sent_at"] = (self._wall.true_us() + self._off_us) // 1_000
        return json.dumps(envelope).encode()
