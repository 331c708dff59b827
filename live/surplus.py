"""Sessions beyond what their user's plan allows: which ones, and since when. Pure.

Who began last is over. A session is refused once it was over for longer than a lease and a heartbeat of those that the
user has, so that one which its player left without a word, and whose lease still runs, is not held against the next. It
is refused until there is room: refused sessions fall silent, so their leases say nothing about them.
"""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from live.streams import Stream

REFUSED_MAX: Final = 10_000
"""At once; beyond that the door goes on taking them."""


class Surplus:
    """What is known of those who were looked at."""

    def __init__(self, patience: float) -> None:
        """`patience`: of a lease, how long a session is over before it is refused."""
        self._patience = patience
        self._over: dict[UUID, dict[UUID, int]] = {}
        """User → session → since when it is over."""
        self._refused: dict[UUID, dict[UUID, Stream]] = {}
        """User → session → the stream that it was; the user has no room for it."""
        self._count = 0
        """Of all that are refused."""

    @property
    def users(self) -> set[UUID]:
        """Who has to be looked at again."""
        return self._over.keys() | self._refused.keys()

    @property
    def refused(self) -> frozenset[bytes]:
        """Sessions whose events are not taken."""
        return frozenset(session.bytes for sessions in self._refused.values() for session in sessions)

    def look(self, user: UUID, limit: int | None, streams: Iterable[Stream], now_us: int) -> None:
        """What the user watches at `now_us`, where the plan allows `limit` streams, or any number."""
        refused = self._refused.pop(user, {})
        self._count -= len(refused)
        taken = sorted(stream for stream in streams if stream.session_id not in refused)
        allowed = len(taken) + len(refused) if limit is None else limit
        for stream in sorted(refused.values())[: max(0, allowed - len(taken))]:
            del refused[stream.session_id]
        before, over = self._over.pop(user, {}), {}
        patience_us = self._patience * max((stream.lease_us for stream in taken), default=0)
        for stream in taken[allowed:]:
            since_us = before.get(stream.session_id, now_us)
            if now_us - since_us >= patience_us and self._count + len(refused) < REFUSED_MAX:
                refused[stream.session_id] = stream
            else:
                over[stream.session_id] = since_us
        if over:
            self._over[user] = over
        if refused:
            self._refused[user] = refused
            self._count += len(refused)

    def forget(self, user: UUID) -> None:
        """There is no such user any more."""
        self._over.pop(user, None)
        self._count -= len(self._refused.pop(user, {}))
