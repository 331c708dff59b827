"""A seeded crowd at two contents, second by second: it comes, sends heartbeats, pauses, moves, resends, ends or falls
silent. What it sends is all that is known of it; how many watch, the model in signs.py says.
"""

import random
from collections import deque
from dataclasses import replace
from itertools import count

from tests.signs import NOW, SECOND, Sign, a_sign

HEARTBEAT_S = 10
LEASE_S = 25


class Session:
    """One that plays, as far as it knows itself."""

    def __init__(self, number: int, content: int, has_sequence: bool) -> None:
        self.number = number
        self.content = content
        self.sequence = count() if has_sequence else None


class Crowd:
    """`second` is the one that was sent last; nothing is sent ahead of it."""

    def __init__(self, seed: int) -> None:
        self.second = 0
        self.signs: list[Sign] = []
        """Everything that was sent."""
        self.most = 0
        """That were there at once within the last lease."""
        self._random = random.Random(seed)
        self._numbers = count(seed * 1_000_000)
        self._there: dict[int, Session] = {}
        self._beats: dict[int, list[Session]] = {}
        self._sizes: deque[int] = deque(maxlen=LEASE_S)

    @property
    def now_us(self) -> int:
        """When everything that was sent has been received."""
        return NOW + self.second * SECOND + SECOND // 2

    def step(self, comes: int = 0, ends: float = 0.0, falls_silent: float = 0.0) -> list[Sign]:
        """The next second: so many more, and of those there these shares end, or are heard of no more."""
        self.second += 1
        sent: list[Sign] = []
        chance = self._random.random
        for session in [one for one in self._there.values() if chance() < ends + falls_silent]:
            del self._there[session.number]
            if chance() * (ends + falls_silent) < ends:
                sent.append(self._sign(session, self._random.choice(["stop", "completed"])))
        for session in self._beats.pop(self.second, []):
            if session.number in self._there:
                sent += self._heard(session)
        for _ in range(comes):
            session = Session(next(self._numbers), 1 if chance() < 0.9 else 2, chance() < 0.8)
            self._there[session.number] = session
            sent.append(self._sign(session, "play"))
            self._beat(session, self._random.randint(1, HEARTBEAT_S))
        if self.signs:  # a connection broke: the same again
            sent += [self._again(sign) for sign in self._random.choices(self.signs[-2_000:], k=len(sent) // 20)]
        self._random.shuffle(sent)
        self.signs += sent
        self._sizes.append(len(self._there))
        self.most = max(self._sizes)
        return sent

    def _heard(self, session: Session) -> list[Sign]:
        what = self._random.random()
        self._beat(session, HEARTBEAT_S)
        if what < 0.02:
            return [self._sign(session, "pause"), self._sign(session, "play", 0.2)]
        if what < 0.04:
            return [self._sign(session, "pause")]
        if what < 0.07:
            session.content = 3 - session.content
        return [self._sign(session, "heartbeat" if what > 0.3 else "play")]

    def _beat(self, session: Session, in_s: int) -> None:
        self._beats.setdefault(self.second + in_s, []).append(session)

    def _sign(self, session: Session, kind: str, later_s: float = 0.0) -> Sign:
        occurred_us = NOW + self.second * SECOND + round(later_s * SECOND)
        return a_sign(
            kind,
            session=session.number,
            content=session.content,
            sequence=None if session.sequence is None else next(session.sequence),
            occurred_us=occurred_us,
            received_us=occurred_us + SECOND // 10,
        )

    def _again(self, sign: Sign) -> Sign:
        return replace(sign, received_us=self.now_us - 1)
