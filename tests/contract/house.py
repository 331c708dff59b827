"""A spool, a PostgreSQL and a Valkey with their sinks, delivered to by hand, and the rebuild between the stores."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import UUID

from config.settings import DeadLetterSettings, DoorSettings, PostgresSettings, RedisSettings, Settings
from gateway import counters_commands
from gateway.layout import DataDir
from ingest.batch import FLAG_CLOCK_BROKEN, KIND_PLAYBACK, KIND_SIGNAL, FrameBody
from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from ingest.spool.incarnation import Group
from ingest.spool.retention import remove, sealed_segments
from ingest.tuple import clock_is_broken, month_of
from live import viewers, views
from storage.feed import Feed
from storage.postgres.writer import PostgresSink
from storage.redis import key
from storage.redis.connection import connect
from storage.redis.counters import Counters
from storage.redis.rebuild import Switched
from storage.sink import EventSink
from tests.signs import DAY, SECOND, Sign, a_sign, row
from tests.spooled import Collector, a_frame_of

T = TypeVar("T")

CHECKOUT = Path(__file__).parents[2]


class House:
    """Two sinks on one data directory. Everything happens now, by the machine's clock."""

    def __init__(self, data_dir: Path, postgres_url: str, redis_url: str) -> None:
        self.data = DataDir(data_dir)
        self.data.make()
        self.postgres_url = postgres_url
        self.redis_url = redis_url
        self.settings = Settings()
        self.clock, self.disk = SystemClock(), FileDisk()
        self.loop = asyncio.Runner()
        self.client = connect(redis_url)
        self.collectors = [Collector(data_dir)]
        self.sent: list[Sign] = []
        pieces = PostgresSettings(), DoorSettings(), DeadLetterSettings()
        self.postgres: EventSink = PostgresSink(postgres_url, data_dir, *pieces, self.clock, self.disk)
        self.redis = Counters(redis_url, RedisSettings(), data_dir, self.disk, self.clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.client.aclose())
        self.loop.close()

    def run(self, work: Awaitable[T]) -> T:
        async def working() -> T:
            return await work

        return self.loop.run(working())

    def post(self, *signs: Sign, collector: int = 0) -> None:
        """Acknowledged by this collector."""
        self.sent += signs
        incarnation, group = self.collectors[collector].incarnation, Group()
        for body in bodies(signs):
            group.chunks.append(incarnation.encode(body, self.clock.now_us()))
        group.after = incarnation.state()
        incarnation.commit(group)
        if incarnation.full:
            incarnation.roll()

    def another_collector(self) -> int:
        self.collectors.append(Collector(self.data.root))
        return len(self.collectors) - 1

    def bury(self, collector: int) -> None:
        """It ends, and all of its segments go, delivered or not."""
        name = self.collectors[collector].end().name
        found = [kept for kept in sealed_segments(self.disk, self.data.spool, 0) if kept.incarnation == name]
        remove(self.disk, self.data.spool, found)
        assert not (self.data.spool / name).exists()

    def deliver(self, *sinks: EventSink) -> None:
        """Everything that is in the spool, to both or to these."""
        for sink in sinks or (self.postgres, self.redis):
            self.run(self._deliver(sink))

    async def _deliver(self, sink: EventSink) -> None:
        feed = Feed(self.data.root, self.disk)
        try:
            feed.seat(await sink.open())
            feed.refresh()
            while slices := feed.read(1 << 20):
                await sink.write(slices)
                feed.delivered(slices)
        finally:
            feed.close()
            await sink.close()

    def rebuild(self) -> Switched:
        return self.run(
            counters_commands.rebuild(self.data, self.settings, self.postgres_url, self.redis_url, lambda _: None)
        )

    def rebuilding(self) -> subprocess.Popen[str]:
        """The command, in a process of its own."""
        stores = {"INGEST_POSTGRES_URL": self.postgres_url, "INGEST_REDIS_URL": self.redis_url}
        return subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "counters", "rebuild", "--data-dir", str(self.data.root)],
            cwd=CHECKOUT,
            env={**os.environ, **stores},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def plays_counted(self) -> int:
        """By the rebuild under way; 0 when there is none."""
        return int(self.redis_do("HGET", key.REBUILD_TOTALS, "rows") or 0)

    def views(self) -> dict[tuple[UUID, int], int]:
        return self.run(views.all_by_hour(self.client, self.clock.now_us()))

    def viewers(self) -> dict[UUID, int]:
        found = self.run(viewers.everywhere(self.client, self.clock.now_us()))
        return {UUID(content): many for content, many in found.viewers.items()}

    def keys(self, match: str = "*") -> list[bytes]:
        found: list[bytes] = self.run(self.client.keys("{ingest}:" + match))
        return found

    def reconnect(self) -> None:
        """Its server was started again."""
        self.run(self.client.aclose())
        self.client = connect(self.redis_url)

    def redis_do(self, *command: Any) -> Any:
        return self.run(self.client.execute_command(*command))


def bodies(signs: Sequence[Sign]) -> Iterator[FrameBody]:
    """Frames as the door makes them: heartbeats, broken clocks and the months of the others each of their own."""

    def sort(sign: Sign) -> tuple[bool, bool, int]:
        broken = clock_is_broken(sign.sent_us, sign.received_us)
        return sign.kind == "heartbeat", broken, 0 if broken else month_of(sign.occurred_us)

    for (is_signal, broken, _), of_kind in groupby(sorted(signs, key=sort), sort):
        rows = list(map(row, of_kind))
        kind = KIND_SIGNAL if is_signal else KIND_PLAYBACK
        yield a_frame_of(rows, kind, FLAG_CLOCK_BROKEN if broken and not is_signal else 0)


def now(kind: str = "play", ago: int = SECOND, **changes: object) -> Sign:
    """A sign of now, by the machine's clock, received as it happened or with `received_us`."""
    at_us = SystemClock().now_us()
    return a_sign(kind, **{"occurred_us": at_us - ago, "received_us": at_us, **changes})  # type: ignore[arg-type]


def some_signs(rng: random.Random, number: int, sessions: int = 400) -> list[Sign]:
    """Plays and what belongs to them, some of them weeks late, some of test traffic, some of clocks that are wrong."""
    signs = []
    for _ in range(number):
        sign = now(
            rng.choice(["play", "play", "play", "pause", "stop", "heartbeat"]),
            ago=rng.choice([0, 0, rng.randrange(3 * DAY), rng.randrange(34 * DAY)]) + SECOND,
            session=rng.randrange(sessions),
            content=rng.randrange(7),
            test=rng.random() < 0.1,
        )
        if rng.random() < 0.2:
            skew_us = rng.choice([-56 * 365 * DAY, 11 * 365 * DAY, 3 * DAY, -2 * DAY])
            sent_us = sign.received_us - SECOND + skew_us
            sign = replace(sign, sent_us=sent_us, occurred_us=sign.occurred_us + skew_us)
        signs.append(sign)
    return signs
