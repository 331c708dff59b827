"""The lines that are not judged yet: held for WINDOW_US behind their receipt, for those that were overtaken. Pure.

What is judged together is a function of the lines and their receipts alone, not of when somebody looks: a line is ripe
WINDOW_US behind its receipt, and goes together with those of its stream that were received by then and come before it;
the others that were received by then are what is known to follow.

Lines of a stream that come in their order, as nearly all do, are neither sorted nor looked at again.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from operator import attrgetter
from typing import Final, NamedTuple

from storage.stage.line import Key, Line

WINDOW_US: Final = 2_000_000
RECEIPTS_MAX: Final = 64
"""Of one stream: 32 requests a second, more than any player sends, or a backlog. Of more, all that are ripe are judged
at once: each request of a stream costs a look at all of its lines that are held."""
LINES_MAX: Final = 2_000
"""The same of its lines."""


class Origin:
    """A frame, until all of its lines are judged."""

    __slots__ = ("heartbeat", "lines", "sequence", "unjudged")

    def __init__(self, sequence: int, lines: int, heartbeat: int = 0) -> None:
        self.heartbeat = heartbeat
        """Class of its players' interval."""
        self.sequence = sequence
        self.lines = lines
        self.unjudged = lines


class Ripe(NamedTuple):
    """Lines of one stream that are to be judged together."""

    key: Key
    lines: list[Line]
    ahead: list[Line]


class Held:
    """Lines of one stream."""

    __slots__ = ("is_judged", "is_plain", "is_sorted", "judged_us", "key", "latest_us", "lines", "receipts")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.lines: list[Line] = []
        self.receipts = 0
        """At which they came, nearly."""
        self.latest_us = 0
        """The latest receipt."""
        self.judged_us = 0
        """What was received by then is judged already."""
        self.is_plain = True
        """They came in their order: of ascending numbers, none earlier or received earlier than the one before it."""
        self.is_sorted = True
        """Where they are not plain."""
        self.is_judged = False
        """All of it: others are held in its place."""


class Window:
    """`lines` counts those that are held."""

    def __init__(self) -> None:
        self.lines = 0
        self._held: dict[Key, Held] = {}
        self._due: list[tuple[int, int, Held]] = []
        """A heap: when lines of a stream were received, and a number, so that no more is compared."""
        self._number = 0

    def add(self, lines: Iterable[Line]) -> None:
        """The lines of a frame."""
        key, received_us, held, last = None, 0, None, None
        for line in lines:
            self.lines += 1
            if held is None or line.received_us != received_us or (line.key is not key and line.key != key):
                key, received_us = line.key, line.received_us
                held = self._held.get(key)
                if held is None:
                    held = self._held[key] = Held(key)
                self._number += 1
                heappush(self._due, (received_us, self._number, held))
                held.receipts += 1
                held.latest_us = max(held.latest_us, received_us)
                held.judged_us = min(held.judged_us, received_us - 1)
                held.is_sorted = False
                last = held.lines[-1] if held.lines else None
            if held.is_plain and last is not None:
                held.is_plain = _is_behind(line, last)
            held.lines.append(line)
            last = line

    @property
    def oldest_us(self) -> int | None:
        """When the first of them was received."""
        due = self._due
        while due and due[0][2].is_judged:
            heappop(due)
        return due[0][0] if due else None

    def ripe(self, until_us: int, lines_max: int) -> Iterator[Ripe]:
        """Those received by `until_us`, oldest first; all that were received up to WINDOW_US later have to be here.

        Ends behind `lines_max` of them, as nearly as streams are not cut.
        """
        while (oldest_us := self.oldest_us) is not None and oldest_us <= until_us and lines_max > 0:
            received_us, _, held = heappop(self._due)
            found = self._ripe_of(held, received_us, until_us)
            if found is not None:
                lines_max -= len(found.lines)
                self.lines -= len(found.lines)
                for line in found.lines:
                    assert line.origin is not None
                    line.origin.unjudged -= 1
                yield found

    def _ripe_of(self, held: Held, received_us: int, until_us: int) -> Ripe | None:
        is_much = held.receipts > RECEIPTS_MAX or len(held.lines) > LINES_MAX
        held.receipts -= 1
        if received_us <= held.judged_us:
            return None
        if not held.is_plain and not held.is_sorted:
            held.lines.sort(key=_ORDER)
            held.is_sorted = True
        if is_much:
            received_us = until_us
        held.judged_us = received_us
        if held.latest_us <= received_us:
            held.is_judged = True
            del self._held[held.key]
            return Ripe(held.key, held.lines, [])
        ripe = _plain(held, received_us) if held.is_plain else _looked_at(held, received_us)
        if not held.lines:
            held.is_judged = True
            del self._held[held.key]
        return ripe


def _is_behind(line: Line, last: Line) -> bool:
    is_earlier = line.occurred_us < last.occurred_us or line.received_us < last.received_us
    return not (is_earlier or line.sequence <= last.sequence)


def _plain(held: Held, received_us: int) -> Ripe | None:
    """What `_looked_at` finds where every line comes behind the one before it, in whatever one may look at."""
    lines = held.lines
    end = bisect_right(lines, received_us, key=_RECEIVED)
    if not end:
        return None
    held.lines = lines[end:]
    return Ripe(held.key, lines[:end], lines[end : bisect_right(lines, received_us + WINDOW_US, end, key=_RECEIVED)])


def _looked_at(held: Held, received_us: int) -> Ripe | None:
    """Of sorted lines those received by then, with what comes before one of them."""
    now = [line for line in held.lines if line.received_us <= received_us]
    if not now:
        return None
    ahead: list[Line] = []
    later: list[Line] = []
    taken = 0
    while taken < len(now):  # where a player counts anew, a line of its new run brings those of the one before it
        taken, highest, latest_us = len(now), now[-1].sequence, max(line.occurred_us for line in now)
        now, ahead, later = [], [], []
        for line in held.lines:
            if line.received_us <= received_us:
                now.append(line)
            elif line.received_us > received_us + WINDOW_US:
                later.append(line)
            elif line.sequence < highest or line.occurred_us < latest_us:
                now.append(line)
            else:
                ahead.append(line)
    held.lines = ahead + later
    held.is_sorted = not later
    held.is_plain = all(map(_is_behind, held.lines[1:], held.lines))
    return Ripe(held.key, now, ahead)


_RECEIVED: Final = attrgetter("received_us")
_ORDER: Final = attrgetter("sequence", "occurred_us", "event", "received_us")


class Progress:
    """How far an incarnation's frames are judged."""

    def __init__(self, sequence: int) -> None:
        self.read_until = sequence
        """The next frame that is not in the window; those that come again are there already."""
        self._frames: deque[Origin] = deque()

    def add(self, sequence: int, lines: int, heartbeat: int = 0) -> Origin:
        """A frame goes into the window."""
        origin = Origin(sequence, lines, heartbeat)
        self._frames.append(origin)
        return origin

    def judged(self) -> tuple[int, int]:
        """The first frame that has lines to be judged; and lines in frames before it, since this was asked last."""
        lines = 0
        while self._frames and not self._frames[0].unjudged:
            lines += self._frames.popleft().lines
        return (self._frames[0].sequence if self._frames else self.read_until), lines
