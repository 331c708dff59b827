"""Valkey is killed by SIGKILL under writes, and counts are exact at the end: position and effects go back together."""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from config.settings import RedisSettings, SpoolSettings
from gateway.embedded import EmbeddedValkey
from ingest.batch import KIND_PLAYBACK, KIND_SIGNAL, FrameBody
from ingest.clock import SystemClock
from ingest.spool.appender import Appender
from ingest.spool.disk import FileDisk
from live import viewers, views
from storage import drain
from storage.redis.connection import connect
from storage.redis.counters import Counters
from tests.appending import append
from tests.signs import DAY, SECOND, Sign, a_sign, expected_viewers, expected_views, row


@pytest.mark.parametrize("loses_tail", [False, True], ids=["killed", "killed and its last second lost"])
def test_counts_are_exact_though_valkey_is_killed_again_and_again(tmp_path: Path, loses_tail: bool) -> None:
    asyncio.run(_killed(tmp_path, random.Random(7), loses_tail))


async def _killed(tmp_path: Path, rng: random.Random, loses_tail: bool) -> None:
    server = EmbeddedValkey(tmp_path)
    url = await server.start()
    clock, disk, stop = SystemClock(), FileDisk(), asyncio.Event()
    sink = Counters(url, RedisSettings(), tmp_path, disk, clock)
    appender = Appender(tmp_path / "spool", disk, clock, SpoolSettings())
    appender.start()
    sent: list[Sign] = []
    log = tmp_path / "valkey" / "appendonlydir"
    try:
        async with asyncio.TaskGroup() as running:
            running.create_task(appender.run())
            delivery = drain.run(
                sink,
                tmp_path,
                batch_max_bytes=40_000,
                batch_interval_ms=5,
                clock=clock,
                disk=disk,
                stop=stop,
                derivable=True,
            )
            draining = running.create_task(delivery)
            for _ in range(4):
                await _send(appender, clock, rng, sent, requests=120)
                await _written(log)
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
                await server.wait()
                if loses_tail:
                    _lose_tail(log, rng)
                await _send(appender, clock, rng, sent, requests=30)
                await server.start()
            appender.close()
            for _ in range(600):
                await asyncio.sleep(0.05)
                async with asyncio.timeout(10):
                    done = await _counted_rows(url)
                if done == len(sent):
                    break
            stop.set()
            await draining
        client = connect(url)
        now_us = clock.now_us()
        assert await views.all_by_hour(client, now_us) == expected_views(sent, now_us)
        assert (await views.counted(client)).views == sum(expected_views(sent, now_us).values())
        live = {str(content): len(sessions) for content, sessions in expected_viewers(sent, now_us).items()}
        assert (await viewers.everywhere(client, now_us)).viewers == live
        assert live
        await client.aclose()
    finally:
        await server.stop()


async def _send(appender: Appender, clock: SystemClock, rng: random.Random, sent: list[Sign], requests: int) -> None:
    for _ in range(requests):
        now_us = clock.now_us()
        signs = [
            a_sign(
                rng.choice(["play", "play", "heartbeat", "stop"]),
                session=rng.randrange(400),
                content=rng.randrange(5),
                occurred_us=now_us - rng.choice([0, 0, rng.randrange(3 * DAY)]) - rng.randrange(SECOND),
                received_us=now_us,
            )
            for _ in range(20)
        ]
        bodies = [
            FrameBody.of(kind, 0, 0, [row(sign) for sign in of_kind])
            for kind, of_kind in (
                (KIND_PLAYBACK, [sign for sign in signs if sign.kind != "heartbeat"]),
                (KIND_SIGNAL, [sign for sign in signs if sign.kind == "heartbeat"]),
            )
            if of_kind
        ]
        await append(appender, bodies, now_us)
        sent += signs


def _newest(log: Path) -> Path:
    return max(log.glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)


async def _written(log: Path) -> None:
    """Until there is something to lose: where cores are short, Valkey gives way."""
    async with asyncio.timeout(30):
        while not _newest(log).stat().st_size:
            await asyncio.sleep(0.01)


def _lose_tail(log: Path, rng: random.Random) -> None:
    """What a crash of the system may do to a log that is fsynced every second: its end is gone, cut in mid-command."""
    path = _newest(log)
    size_bytes = path.stat().st_size
    os.truncate(path, size_bytes - rng.randrange(size_bytes // 10, size_bytes // 3))


async def _counted_rows(url: str) -> int:
    client = connect(url)
    try:
        counted = await views.counted(client)
        return counted.rows + counted.signals
    finally:
        await client.aclose()
