"""A rebuild of the counters beside those in force: views are counted anew by apply.lua, under a generation of their
own, and take their place at once, with the positions up to which the store was read (switch.lua).

    begin ─▶ count, some thousand times ─▶ switch ─▶ seat sessions ─▶ sweep what is of no generation in force

Until the switch nothing of it is read by anybody. Whoever begins last wins: another rebuild under way is fenced. Pieces
of the rows that were counted whole may be told (`counted`), and are remembered beside the counts, so whoever is ended
before the switch leaves something to go on with (`go_on`): a Redis that came back without its last second has forgotten
them with the counts, since they were written behind them.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog
from redis.exceptions import NoScriptError, ResponseError

from config.settings import RedisSettings
from storage.redis import key
from storage.redis.connection import connect, translated
from storage.redis.counters import KEYS, MEMORY_LEASES, CountersReplaced, apply, check_server
from storage.redis.entry import LEASES
from storage.redis.sign import STATES_BACK_S, Batch, Gathering, Signs
from storage.sink import SinkUnavailable

log: Any = structlog.get_logger()

SWITCH: Final = Path(__file__).with_name("switch.lua").read_bytes()
SWITCH_SHA1: Final = sha1(SWITCH, usedforsecurity=False).hexdigest()
GO_ON: Final = b"""#!lua
local there, totals = redis.pcall('GET', KEYS[1]), redis.pcall('HGETALL', KEYS[2])
if type(there) ~= 'string' or string.match(there, ':(.+)$') ~= ARGV[1] or totals['err'] then return false end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return totals
"""
"""The totals of the rebuild of this generation, whose registration is another one from now on: what its dead process
had on the way comes too late. None when it is not there."""

COUNTED: Final = b"""#!lua
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local rows = tonumber(redis.call('HGET', KEYS[2], 'rows') or 0)
if rows == tonumber(ARGV[2]) then redis.call('HSET', KEYS[2], ARGV[3], ARGV[4]) end
return rows
"""
"""A field of the totals is written if as many plays are there as were handed in. How many are; -1: not this rebuild."""

REBUILD_KEYS: Final = (key.REBUILD_REGISTRATION, key.POSITIONS, key.REBUILD_TOTALS, key.LIVE)

LEFT_S: Final = 86_400
"""A rebuild has so long, from its begin to the switch. What a dead one has counted is gone on with or swept away by the
next one, else gone with its registration, or, its views, after their memory."""
MEMORY_MIN_S: Final = LEFT_S + 3_600
"""A view is known at least so long: rows that are read again, the last ones, and a resend in the frames behind the cut
still meet it."""
CLOCKS_APART_S: Final = 60
"""How far the clocks of nodes that share a Redis may be apart, until a lease is taken for none of ours."""
SWEEP_COUNT: Final = 1_000
"""Keys looked at in one call: less than a millisecond of Redis."""


class Switched(NamedTuple):
    """What is in force now."""

    plays: int
    """Rows read."""
    views: int
    """In hours that are kept."""


def rows_since_us(now_us: int, view_memory_s: int) -> int:
    """Rows received since then decide about views: as long as one is remembered, or its hour is kept."""
    kept_us = (key.VIEWS_KEPT_HOURS + 1 + key.VIEWS_AHEAD_HOURS) * key.HOUR_US  # a play may be dated after its receipt
    return now_us - max(view_memory_s * 1_000_000, kept_us)


class RebuildLost(SinkUnavailable):
    """Another rebuild began, this one took longer than a day, or the counters were lost."""


class Rebuild:
    """One rebuild at one Redis. `now_us`: when it began; `chance(n)` gives n random bytes.

    Everything raises SinkUnavailable, SinkFenced, SinkRefused: then the counts in force are what they were, unless
    `switch` had returned.
    """

    def __init__(
        self, url: str, settings: RedisSettings, now_us: int, *, chance: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._client: Any = connect(url)
        self._now_us = now_us
        self._leases_us = settings.leases_us
        self._view_memory_s = settings.view_memory_s
        self._viewers_exact_max = settings.viewers_exact_max
        self._limit_streams = int(settings.limit_streams)
        self._fence = chance(16).hex().encode()
        self._generation = chance(4).hex().encode()
        self._handed = self._whole = self._begun = 0
        """Plays: as Redis has to have them, those of a piece that was read twice too; of whole pieces; behind them."""

    @property
    def generation(self) -> str:
        """Of its views: by this it can be gone on with."""
        return self._generation.decode("ascii")

    @property
    def plays(self) -> int:
        """Counted so far, as rows that were read."""
        return self._whole + self._begun

    @property
    def _registration(self) -> bytes:
        return self._fence + b":" + self._generation

    async def close(self) -> None:
        """Let go of the connection."""
        with translated():
            await self._client.aclose()

    async def begin(self) -> None:
        """End other rebuilds, sweep away what they left."""
        with translated():
            check_server(await self._client.info())
            await self._client.set(key.REBUILD_REGISTRATION, self._registration, ex=LEFT_S)
            hours = key.kept_hours(self._now_us)
            await self._client.unlink(key.REBUILD_TOTALS, *map(key.rebuilt_views, hours))
        await self.sweep(self._now_us)

    async def go_on(self, generation: str, now_us: int) -> frozenset[int] | None:
        """In the place of `begin`: be the rebuild of this generation, which began at `now_us`. The pieces that it has
        counted whole; None when Redis does not have it any more, and nothing is done."""
        taken_over = self._fence + b":" + generation.encode("ascii")
        with translated():
            answer = await self._client.execute_command(
                "EVAL", GO_ON, 2, key.REBUILD_REGISTRATION, key.REBUILD_TOTALS, generation, taken_over
            )
        if answer is None:
            return None
        totals = dict(zip(answer[::2], map(int, answer[1::2]), strict=True))
        pieces = {
            int(name.removeprefix(key.PIECE)): plays for name, plays in totals.items() if name.startswith(key.PIECE)
        }
        self._generation, self._now_us = generation.encode("ascii"), now_us
        self._handed, self._whole, self._begun = totals.get(b"rows", 0), sum(pieces.values()), 0
        return frozenset(pieces)

    async def counted(self, piece: int) -> None:
        """All plays of this piece were taken in, and none of another one since the last that was told."""
        with translated():
            there = await self._client.execute_command(
                *("EVAL", COUNTED, 2, key.REBUILD_REGISTRATION, key.REBUILD_TOTALS),
                *(self._registration, self._handed, key.PIECE + str(piece).encode("ascii"), self._begun),
            )
        if there == -1:
            raise RebuildLost
        if there != self._handed:
            raise SinkUnavailable(
                f"of {self._handed} plays handed in {there} are there: Redis has lost what was written last"
            )
        self._whole, self._begun = self.plays, 0

    async def count(self, signs: Signs) -> None:
        """Take plays in. In any order; the same ones again change nothing."""
        gathering = Gathering(self._now_us, 0)
        gathering.take(signs.rows, signs.ends)
        left_s = self._view_memory_s - (self._now_us - signs.received_us) // 1_000_000
        batch = gathering.batch(())._replace(sessions=b"", rows=len(signs.ends))
        await self._apply(REBUILD_KEYS, batch, max(left_s, MEMORY_MIN_S), self._now_us)
        self._handed += len(signs.ends)
        self._begun += len(signs.ends)

    async def switch(self, positions: Mapping[str, int], rows: int, signals: int, now_us: int) -> Switched:
        """Put what was counted into force; whoever counts goes on from `positions`, below which `rows` and `signals`
        lie."""
        first, last = key.kept_hours(self._now_us)[0], key.kept_hours(now_us)[-1]  # dated ahead when it was nearly done
        moved = [str(word) for pair in positions.items() for word in pair]
        keys = (*KEYS, key.REBUILD_REGISTRATION, key.REBUILD_TOTALS)
        arguments = (self._registration, self._handed, rows, signals, first, last, *moved)
        with translated():
            try:
                answer = await self._client.execute_command("EVALSHA", SWITCH_SHA1, len(keys), *keys, *arguments)
            except NoScriptError:
                answer = await self._client.execute_command("EVAL", SWITCH, len(keys), *keys, *arguments)
        if answer[0] == -1:
            raise RebuildLost
        if answer[0] != 1:
            raise SinkUnavailable(answer[1].decode("utf-8", "replace"))
        return Switched(self.plays, answer[1])

    async def seat(self, signs: Signs, now_us: int) -> None:
        """Tell the counters in force what sessions did lately, in any order: of every session the newest sign wins."""
        gathering = Gathering(now_us, STATES_BACK_S * 1_000_000)
        gathering.take(signs.rows, signs.ends)
        batch = gathering.batch(())._replace(views=b"", tests=0)
        await self._apply(KEYS, batch, self._view_memory_s, now_us)

    async def sweep(self, now_us: int) -> None:
        """Remove views of no generation in force or under way, and leases later than any can be."""
        cursor: int | None = None
        swept = 0
        while cursor != 0:
            with translated():
                cursor, names = await self._client.scan(cursor or 0, match=key.TAG + "view*", count=SWEEP_COUNT)
                # asked for behind the names, so that one that began since has its own spared
                registrations = await self._client.mget(key.REGISTRATION, key.REBUILD_REGISTRATION)
                kept = {key.generation_of(one) for one in registrations if one is not None}
                stale = [name for name in names if key.view_generation(name) not in (None, *kept)]
                if stale:
                    await self._client.unlink(*stale)
            swept += len(stale)
            await self._trim([name for name in names if name.startswith(key.VIEWERS)], now_us)
        if swept:
            log.info("counters_swept", views=swept)

    async def _trim(self, viewers: Sequence[bytes], now_us: int) -> None:
        """Take out leases that no sign can have given: a busy content would keep them for ever."""
        from_s = (now_us + max(self._leases_us)) / 1_000_000 + CLOCKS_APART_S
        with translated():
            async with self._client.pipeline(transaction=False) as pipeline:
                for name in (*viewers, key.LIVE):
                    pipeline.zremrangebyscore(name, from_s, "+inf")
                answers = await pipeline.execute(raise_on_error=False)
            foreign = [name for name, answer in zip(viewers, answers[:-1], strict=True) if _is_foreign(answer)]
            if foreign:
                await self._client.unlink(*foreign)

    async def _apply(self, keys: Sequence[str], batch: Batch, view_memory_s: int, now_us: int) -> None:
        arguments = (
            *(self._registration, now_us, LEASES.pack(*self._leases_us)),
            *(MEMORY_LEASES * self._leases_us[0] // 1_000, view_memory_s),
            *(batch.positions, batch.views, batch.sessions, batch.rows, batch.signals, batch.tests),
            *(self._viewers_exact_max, self._limit_streams),
        )
        try:
            await apply(self._client, keys, arguments)
        except CountersReplaced as error:
            raise RebuildLost from error


def _is_foreign(answer: object) -> bool:
    return isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE")
