"""`counters rebuild`: what Redis counts, counted anew from the store, beside the counters in force and those who read
them.

    pin the spool ─▶ one snapshot of the store: positions, every play that Redis would remember ─▶ counts beside those
    in force ─▶ is everything behind the positions still in the spool? ─▶ switch ─▶ states of sessions ─▶ sweep

Of CQL there is no snapshot, but every row below positions that were read before: one that was ended goes on behind the
pieces of the rows that it had counted whole (left_rebuild.py), with the positions and the time at which it began.

Whoever counts finds the counters replaced and goes on at the positions of the snapshot, so that each frame is counted
either by way of its rows or by itself. Heartbeats are no rows: leases that were in force stay, those of a Redis that
was lost come back with the next heartbeat, and who paused or ended lately is read from the store last.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from config.settings import Settings
from gateway.admin import version
from gateway.layout import DataDir
from gateway.left_rebuild import Begun, LeftRebuild, Rules, Unreadable
from gateway.pin import Pin, PinHeld, pinned
from gateway.play_rows import PlayRows, play_rows
from ingest.clock import Clock, SystemClock
from ingest.spool.disk import FileDisk
from live import views
from storage.postgres.audit import Audit
from storage.postgres.refusal import translated
from storage.postgres.signs import Stand
from storage.redis.connection import connect
from storage.redis.counters import APPLY_SHA1
from storage.redis.gap import first_gap
from storage.redis.key import HOUR_US, kept_hours
from storage.redis.rebuild import Rebuild, RebuildLost, Switched, rows_since_us
from storage.redis.sign import STATES_BACK_S, Signs
from storage.scylla.stored_rows import StoredRows
from storage.sink import StoreError

Echo = Callable[[str], Any]
RELEASE: Final = f"{version()} {APPLY_SHA1}"
"""Of what counts: the gateway's, and the script in Redis."""


class CannotRebuild(Exception):
    """The counts are what they were."""


class CannotGoOn(CannotRebuild):
    """Nor is there anything to go on with."""


@contextmanager
def named(store: str) -> Iterator[None]:
    """What this store did not do, said with its name, as CannotRebuild."""
    try:
        yield
    except StoreError as error:
        kind = CannotGoOn if isinstance(error, RebuildLost) else CannotRebuild
        raise kind(f"{store}: {error} The counts are what they were.") from error


async def rebuild(data: DataDir, settings: Settings, postgres_url: str, redis_url: str, echo: Echo) -> Switched:
    """Count anew, or go on with what was ended, and put it into force. Raises CannotRebuild."""
    clock, left = SystemClock(), LeftRebuild(data.rebuild, FileDisk())
    rows = play_rows(settings, postgres_url, data.root, left)
    try:
        with named("Redis"):
            rebuilding = Rebuild(redis_url, settings.redis, clock.now_us())
        async with pinned(data, clock) as pin:
            try:
                with named(rows.store):
                    rules = Rules(await rows.identity(), settings.redis.view_memory_s, rows.pieces, RELEASE)
                counting = CountingPieces(rebuilding, pin, data, left, rules)
                await counting.begin(clock.now_us(), echo)
                since_us = rows_since_us(counting.now_us, settings.redis.view_memory_s)
                with named(rows.store):
                    stand = await rows.plays(since_us, counting, echo)
                switched = await counting.switch(stand, clock.now_us())
                pin.done = True
                await _settle(rebuilding, rows, left, clock, echo)
            except CannotGoOn:
                left.forget()
                pin.outlive(0)
                raise
            finally:
                await rebuilding.close()
    except (PinHeld, OSError) as error:
        raise CannotRebuild(str(error)) from error
    return switched


class CountingPieces:
    """A Counting: plays go into Redis, and what the next rebuild needs to go on with them is kept. Everything raises
    CannotRebuild, OSError."""

    def __init__(self, rebuilding: Rebuild, pin: Pin, data: DataDir, left: LeftRebuild, rules: Rules) -> None:
        self._rebuilding = rebuilding
        self._pin = pin
        self._data = data
        self._left = left
        self._rules = rules
        self.now_us = 0
        """When it began, over restarts."""
        self.stand: Stand | None = None
        self.whole: frozenset[int] = frozenset()

    @property
    def plays(self) -> int:
        return self._rebuilding.plays

    async def begin(self, now_us: int, echo: Echo) -> None:
        """Anew, or where the last one was ended; says which, and why."""
        why = await self._go_on(now_us)
        if self.stand is not None:
            echo(f"goes on: {len(self.whole)} of {self._rules.pieces} pieces are counted, {self.plays:,} plays")
            return
        if why:
            echo(f"begins anew: {why}")
        self._left.forget()
        self.now_us = now_us
        with named("Redis"):
            await self._rebuilding.begin()

    async def _go_on(self, now_us: int) -> str:
        """With what was left, if anything; or why not."""
        try:
            left = self._left.read()
        except Unreadable as unreadable:
            return str(unreadable)
        if left is None:
            return ""
        if why := left.cannot_go_on(self._rules, now_us):
            return why
        if gap := first_gap(FileDisk(), self._data.spool, left.positions):
            return f"the spool has let go of frames behind where it began ({gap})"
        with named("Redis"):
            whole = await self._rebuilding.go_on(left.generation, left.now_us)
        if whole is None:
            return "Redis does not have it any more, or it is in force"
        self.now_us, self.whole = left.now_us, whole
        self.stand = Stand(left.positions, left.rows, left.signals)
        return ""

    def stands(self, stand: Stand) -> None:
        self._pin.move(stand.positions)
        _check_spool(self._data, stand.positions)
        if self._rules.rows:
            begun = Begun(self._rebuilding.generation, self.now_us, *stand, self._rules)
            if self.stand is None:
                self._left.begin(begun)
            self._pin.outlive(begun.until_us)

    async def take(self, signs: Signs) -> None:
        with named("Redis"):
            await self._rebuilding.count(signs)

    async def counted(self, piece: int) -> None:
        with named("Redis"):
            await self._rebuilding.counted(piece)

    async def switch(self, stand: Stand, now_us: int) -> Switched:
        """Put what was counted into force."""
        _check_spool(self._data, stand.positions)
        with named("Redis"):
            return await self._rebuilding.switch(*stand, now_us)


async def _settle(rebuilding: Rebuild, rows: PlayRows, left: LeftRebuild, clock: Clock, echo: Echo) -> None:
    """States of sessions, and no trace of the old counts; the new ones are in force, so an error is only told."""
    now_us = clock.now_us()
    since_us = now_us - STATES_BACK_S * 1_000_000

    async def seat(signs: Signs) -> None:
        await rebuilding.seat(signs, now_us)

    try:
        await rows.states(since_us, seat)
        left.forget()
        await rebuilding.sweep(clock.now_us())
    except (StoreError, OSError) as error:
        echo(f"note: in force, but not tidied up; the next rebuild does it: {error}")


def _check_spool(data: DataDir, positions: dict[str, int]) -> None:
    """Raises CannotGoOn when frames behind the positions are gone, OSError."""
    gap = first_gap(FileDisk(), data.spool, positions)
    if gap is not None:
        raise CannotGoOn(
            f"The spool had to let go of frames that the store has not been read with ({gap}). The counts are what "
            "they were; begin again, when the spool is less full."
        )


class Apart(NamedTuple):
    """What a rebuild would change."""

    views: int
    """By the tables, in hours that are kept."""
    counted: int
    """By Redis."""
    differing: int
    """Counts, one a content and hour, that are not the same; what is under way between the stores included."""


async def apart(data: DataDir, settings: Settings, postgres_url: str, redis_url: str) -> Apart:
    """What a rebuild would change, without a write to anything. Raises CannotRebuild."""
    now_us = SystemClock().now_us()
    hours = kept_hours(now_us)
    since_us = rows_since_us(now_us, settings.redis.view_memory_s)
    with named("PostgreSQL" if settings.store == "postgres" else "The store"), translated():
        rows = StoredRows(settings.scylla, data.root, FileDisk()) if settings.store == "scylla" else None
        positions = await rows.positions() if rows is not None else {}  # before the rows
        async with Audit(postgres_url, rows, since_us) as audit:
            if rows is None:
                positions = {position.incarnation: position.sequence for position in await audit.positions()}
            stored = await audit.views(hours[0] * HOUR_US, since_us)
    try:
        _check_spool(data, positions)
    except OSError as error:
        raise CannotRebuild(str(error)) from error
    with named("Redis"):
        client = connect(redis_url)
        try:
            counted = await views.all_by_hour(client, now_us)
        finally:
            await client.aclose()
    found = {(str(content), hour): number for (content, hour), number in counted.items()}
    differing = sum(stored.get(at, 0) != found.get(at, 0) for at in stored.keys() | found.keys())
    return Apart(sum(stored.values()), sum(found.values()), differing)
