"""`counters rebuild`: what Redis counts, counted anew from the store, beside the counters in force and those who read
them.

    pin the spool ─▶ one snapshot of the store: positions, every play that Redis would remember ─▶ counts beside those
    in force ─▶ is everything behind the positions still in the spool? ─▶ switch ─▶ states of sessions ─▶ sweep

Whoever counts finds the counters replaced and goes on at the positions of the snapshot, so that each frame is counted
either by way of its rows or by itself. Heartbeats are no rows: leases that were in force stay, those of a Redis that
was lost come back with the next heartbeat, and who paused or ended lately is read from the store last.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from config.settings import Settings
from gateway.layout import DataDir
from gateway.pin import Pin, PinHeld, pinned
from gateway.play_rows import PlayRows, play_rows
from ingest.clock import Clock, SystemClock
from ingest.spool.disk import FileDisk
from live import views
from storage.postgres.audit import Audit
from storage.postgres.refusal import translated
from storage.postgres.signs import Stand
from storage.redis.connection import connect
from storage.redis.gap import first_gap
from storage.redis.key import HOUR_US, kept_hours
from storage.redis.rebuild import Rebuild, Switched, rows_since_us
from storage.redis.sign import STATES_BACK_S, Signs
from storage.scylla.stored_rows import StoredRows
from storage.sink import StoreError

Echo = Callable[[str], Any]


class CannotRebuild(Exception):
    """The counts are what they were."""


@contextmanager
def named(store: str) -> Iterator[None]:
    """What this store did not do, said with its name, as CannotRebuild."""
    try:
        yield
    except StoreError as error:
        raise CannotRebuild(f"{store}: {error} The counts are what they were.") from error


async def rebuild(data: DataDir, settings: Settings, postgres_url: str, redis_url: str, echo: Echo) -> Switched:
    """Count anew and put it into force. Raises CannotRebuild."""
    clock, rows = SystemClock(), play_rows(settings, postgres_url, data.root)
    try:
        with named("Redis"):
            rebuilding = Rebuild(redis_url, settings.redis, clock.now_us())
        async with pinned(data, clock) as pin:
            try:
                switched = await _switch(rebuilding, pin, data, settings, rows, clock, echo)
                pin.done = True
                await _settle(rebuilding, rows, clock, echo)
            finally:
                await rebuilding.close()
    except (PinHeld, OSError) as error:
        raise CannotRebuild(str(error)) from error
    return switched


async def _switch(
    rebuilding: Rebuild, pin: Pin, data: DataDir, settings: Settings, rows: PlayRows, clock: Clock, echo: Echo
) -> Switched:
    since_us = rows_since_us(clock.now_us(), settings.redis.view_memory_s)
    with named("Redis"):
        await rebuilding.begin()

    async def count(signs: Signs) -> None:
        with named("Redis"):
            await rebuilding.count(signs)

    def stands(stand: Stand) -> None:
        pin.move(stand.positions)
        _check_spool(data, stand.positions)

    with named(rows.store):
        stand = await rows.plays(since_us, stands, count, echo)
    _check_spool(data, stand.positions)
    with named("Redis"):
        return await rebuilding.switch(stand.positions, stand.rows, stand.signals)


async def _settle(rebuilding: Rebuild, rows: PlayRows, clock: Clock, echo: Echo) -> None:
    """States of sessions, and no trace of the old counts; the new ones are in force, so an error is only told."""
    now_us = clock.now_us()
    since_us = now_us - STATES_BACK_S * 1_000_000

    async def seat(signs: Signs) -> None:
        await rebuilding.seat(signs, now_us)

    try:
        await rows.states(since_us, seat)
        await rebuilding.sweep(clock.now_us())
    except StoreError as error:
        echo(f"note: in force, but not tidied up; the next rebuild does it: {error}")


def _check_spool(data: DataDir, positions: dict[str, int]) -> None:
    """Raises CannotRebuild when frames behind the positions are gone, OSError."""
    gap = first_gap(FileDisk(), data.spool, positions)
    if gap is not None:
        raise CannotRebuild(
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
