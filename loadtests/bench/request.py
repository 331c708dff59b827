"""Requests for the benchmark, minted as fast as a server could wish: prebuilt bytes, with new ids and times put in.

Every request is one viewer's: all its events share a session and a content, every event id is new, and times end now,
as they do live, but for the `late` share, which are of up to LATE_MAX_MS ago. Session ids change after SESSION_POSTS
requests. Nothing is encoded while the load runs: an event is a row of constant and variable pieces of constant width,
and a request is one join.
"""

from __future__ import annotations

import os
import random
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from loadtests.catalogue import CONTENTS_COUNT, COUNTRIES, DEVICES, EDGES, LADDER, content_for

SESSION_POSTS: Final = 5
EVENT_SPACING_MS: Final = 500  # twenty events are the last ten seconds of a viewer
VARIANTS_COUNT: Final = 256
EVENTS_MAX: Final = 500
LATE_MAX_MS: Final = 6 * 3600 * 1000
REPLAYED_TIMES: Final = 4_000  # a recording of so many seconds, again and again
RESENT_AFTER: Final = 500  # requests
SEQUENCE_FIRST: Final = 1_000  # four digits throughout: a request's length never changes
TYPES: Final = (
    *("play", "quality_change", "seek", "buffering", "pause", "play", "quality_change", "buffering", "seek", "play"),
    *("pause", "play", "quality_change", "seek", "error", "play", "buffering", "seek", "pause", "play"),
)
# The variable pieces of an event, at their places among the constant ones.
ID_HEAD, ID_TAIL, SESSION, SEQUENCE, OCCURRED, PIECES = 1, 3, 5, 7, 9, 11
UUID_MIDDLE: Final = b"-5a17-4c0b-9d3e-"
MILLISECONDS: Final = tuple(b"%03dZ" % ms for ms in range(1000))
NUMBERS: Final = tuple(b"%d" % number for number in range(10_000))


def _event(variant: int, index: int) -> list[bytes]:
    """One event as its pieces; the variable ones are empty here."""
    rng = random.Random(f"bench:{variant}:{index}")
    about = random.Random(f"bench:{variant}")  # the same for all events of one viewer
    device = about.choice(DEVICES)
    quality, bitrate_kbps = LADDER[rng.randrange(len(LADDER))]
    content = content_for(1, about.randrange(CONTENTS_COUNT) / CONTENTS_COUNT)
    event_type = TYPES[(variant + index) % len(TYPES)] if index else "play"
    more = {
        "buffering": f',"buffer_duration":{rng.randrange(100, 1000)}',
        "error": ',"error_code":"bufferStalledError"',
    }
    text = (
        f'{{"event_id":"\0{UUID_MIDDLE.decode()}\0","event_type":"{event_type}","content_id":"{content.content_id}"'
        f',"session_id":"\0-7e57-4e55-8a11-{about.randrange(16**12):012x}","sequence":\0,"occurred_at":"\0"'
        f',"profile_id":"{UUID(int=about.getrandbits(128), version=4)}","position":{rng.randrange(1000, 7000)}'
        f',"duration":{content.duration_s or 7200},"quality":"{quality}","bitrate":{bitrate_kbps}'
        f',"device_type":"{device.device_type}","platform":"{device.platform}","cdn_edge":"{about.choice(EDGES)}"'
        f',"country":"{about.choice(COUNTRIES)}"{more.get(event_type, "")}}}'
    )
    constants = text.encode().split(b"\0")
    pieces = [b""] * PIECES
    pieces[0::2] = constants
    return pieces


class RequestMint:
    """Makes HTTP/1.1 requests of `events_count` events each (1 to EVENTS_MAX), no two with a common event id, but for
    the `resent` share of them, which were minted RESENT_AFTER requests before.

    `late`: the share whose times are of up to LATE_MAX_MS ago. `replayed`: times are those of a recording that is
    played again and again. `chance()` is a random number in [0, 1).
    """

    def __init__(
        self,
        host: str,
        port: int,
        events_count: int,
        *,
        late: float = 0.0,
        resent: float = 0.0,
        replayed: bool = False,
        chance: Callable[[], float] = random.random,
    ) -> None:
        assert 1 <= events_count <= EVENTS_MAX
        self.events_count = events_count
        self.resent_events = 0
        self._late, self._resent, self._chance = late, resent, chance
        self._replayed_ms = time.time_ns() // 1_000_000 - REPLAYED_TIMES * 1000 if replayed else 0
        self._old: deque[bytes] = deque(maxlen=RESENT_AFTER)
        self._head = f"POST /v1/events HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n".encode()
        self._variants = [self._variant(number) for number in range(VARIANTS_COUNT)]
        self._sessions = [b""] * VARIANTS_COUNT
        self._minted = 0
        self._seconds: dict[int, bytes] = {}
        self._oldest_ms = 0
        self._occurred: list[bytes] = []

    def _variant(self, number: int) -> tuple[list[bytes], int]:
        """The pieces of one request, head included, and the place where its events begin."""
        events: list[bytes] = []
        for index in range(self.events_count):
            pieces = _event(number, index if self.events_count > 1 else number)
            pieces[-1] += b"," if index < self.events_count - 1 else b"]}"
            events += pieces
        sent_at = [b'{"sent_at":"', b"", b'","events":[']
        length_bytes = sum(map(len, sent_at)) + 24 + sum(map(len, events)) + self.events_count * (8 + 12 + 8 + 4 + 24)
        return [self._head + b"Content-Length: %d\r\n\r\n" % length_bytes, *sent_at, *events], 4

    def mint(self) -> bytes:
        """The next request."""
        if not self._resent:
            return self._mint()
        if len(self._old) == self._old.maxlen and self._chance() < self._resent:
            self.resent_events += self.events_count
            return self._old[0]
        self._old.append(self._mint())
        return self._old[-1]

    def _mint(self) -> bytes:
        number = self._minted % VARIANTS_COUNT
        generation = self._minted // VARIANTS_COUNT % SESSION_POSTS
        self._minted += 1
        pieces, first = self._variants[number]
        count = self.events_count
        chance = os.urandom(10 * count).hex().encode()
        if generation == 0:
            self._sessions[number] = os.urandom(4).hex().encode()
        now_ms = time.time_ns() // 1_000_000
        sequence = SEQUENCE_FIRST + generation * count
        oldest_ms = now_ms - (count - 1) * EVENT_SPACING_MS
        if self._late and self._chance() < self._late:
            oldest_ms -= int(self._chance() * LATE_MAX_MS)
        if self._replayed_ms:
            oldest_ms = self._replayed_ms + self._minted % REPLAYED_TIMES * 1000
        at = self._time
        pieces[2] = at(now_ms)
        pieces[first + ID_HEAD :: PIECES] = [chance[i : i + 8] for i in range(0, 20 * count, 20)]
        pieces[first + ID_TAIL :: PIECES] = [chance[i + 8 : i + 20] for i in range(0, 20 * count, 20)]
        pieces[first + SESSION :: PIECES] = [self._sessions[number]] * count
        pieces[first + SEQUENCE :: PIECES] = NUMBERS[sequence : sequence + count]
        if oldest_ms != self._oldest_ms:  # a busy load mints several in a millisecond
            self._oldest_ms = oldest_ms
            self._occurred = [at(oldest_ms + i * EVENT_SPACING_MS) for i in range(count)]
        pieces[first + OCCURRED :: PIECES] = self._occurred
        return b"".join(pieces)

    def _time(self, epoch_ms: int) -> bytes:
        """RFC 3339 with milliseconds, 24 bytes."""
        second, ms = divmod(epoch_ms, 1000)
        text = self._seconds.get(second)
        if text is None:
            if len(self._seconds) > 1000:
                self._seconds.clear()
            text = self._seconds[second] = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.").encode()
        return text + MILLISECONDS[ms]
