"""What durability costs: `./gw faults --speed`. Ratios of one run on one machine, which nothing else should use.

fsync       pairs of loads against one gateway, with fsync of the log and (by the preloaded shim) without, in turns
catching up a backlog from drains that stood still, under a quarter of the load that the gateway can take for good
starting    from the command to the first request answered, beside a full log that a killed gateway left
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import shutil
import signal
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg
import redis.asyncio as redis

from loadtests.bench.client import run_load
from loadtests.bench.gateway import CONNECTIONS, BenchGateway, Measured
from loadtests.bench.request import RequestMint
from loadtests.faults.fault import LeftOut, Unexpected
from loadtests.faults.shim import FsyncShim
from loadtests.faults.spool_copy import fill_up
from loadtests.faults.stopping import stopped
from loadtests.port import free_ports
from loadtests.product import Product

EVENTS_A_POST: Final = 20
WARM_UP_S: Final = 1.0
MARK_FSYNC_SHARE: Final = 0.85
MARK_CATCHING_UP: Final = 2.0
MARK_START_S: Final = 5.0
INTAKE_SHARE: Final = 0.25
CAUGHT_UP_MAX_S: Final = 600.0
COPIES: Final = 16
START_MAX_S: Final = 120.0
POLL_S: Final = 0.02
FREE_MIN_BYTES: Final = 4 * 2**30


async def run(options: argparse.Namespace, directory: Path) -> int:
    """All three; the exit code is 1 when a mark is missed. Raises LeftOut, Unexpected, ProductFailed."""
    size_bytes = int(options.spool_gb * 1e9)
    if (free_bytes := shutil.disk_usage(directory).free) < size_bytes + FREE_MIN_BYTES:
        raise LeftOut(f"{free_bytes / 1e9:.0f} GB free, {(size_bytes + FREE_MIN_BYTES) / 1e9:.0f} needed")
    stored, acknowledged = await fsync_shares(directory / "fsync", options.pairs, options.load_s)
    share = statistics.median(stored)
    print(f"stored a second with fsync, as a share of without: {share:.2f} (≥ {MARK_FSYNC_SHARE}; {_spread(stored)})")
    burst = statistics.median(acknowledged)
    print(f"acknowledged a second, the stores left behind: {burst:.2f} ({_spread(acknowledged)})", flush=True)
    catching_up = await caught_up(directory / "catching-up", options.load_s)
    print(f"delivered while catching up, per intake: {catching_up:.1f} (≥ {MARK_CATCHING_UP:g})", flush=True)
    start_s = await started(directory / "starting", size_bytes, options.load_s)
    print(f"first request answered beside {size_bytes / 1e9:g} GB: {start_s:.1f} s (≤ {MARK_START_S:g} s)", flush=True)
    return int(share < MARK_FSYNC_SHARE or catching_up < MARK_CATCHING_UP or start_s > MARK_START_S)


def _spread(shares: list[float]) -> str:
    return ", ".join(f"{one:.2f}" for one in sorted(shares))


async def fsync_shares(directory: Path, pairs: int, seconds: float) -> tuple[list[float], list[float]]:
    """Events stored a second with fsync, over those without, of each pair, and the same of events acknowledged; who
    goes first takes turns.

    What is stored until nothing is behind is what the gateway can take for good. Acknowledging alone has both cores to
    itself meanwhile, since drains give way to it: there the wait for the disk is all that a closed loop notices.
    """
    directory.mkdir()
    shim = FsyncShim(directory, directory / "data")
    stored, acknowledged = [], []
    with _product(directory, shim.environment) as product:
        async with _measuring(product) as gateway:
            for pair in range(pairs):
                measured: dict[bool, Measured] = {}
                for skipped in (True, False) if pair % 2 else (False, True):
                    if skipped:
                        shim.skipped.touch()
                    measured[skipped] = await gateway.measure(gateway.mint(EVENTS_A_POST), seconds)
                    shim.skipped.unlink(missing_ok=True)
                stored.append(measured[False].stored_per_s / measured[True].stored_per_s)
                acknowledged.append(measured[False].load.per_s / measured[True].load.per_s)
    return stored, acknowledged


async def caught_up(directory: Path, seconds: float) -> float:
    """Events delivered a second while a backlog of `seconds` is worked off, over those that came in meanwhile."""
    directory.mkdir()
    with _product(directory, {"INGEST_SPOOL_QUOTA_BYTES": str(32 * 2**30)}) as product:
        async with _measuring(product) as gateway:
            saturation = await gateway.measure(gateway.mint(EVENTS_A_POST), seconds)
        pids = [process["pid"] for process in product.statusz()["processes"] if _is_reader(process["role"])]
        with stopped(*pids):
            backlog = await _load(product, seconds)
        posts_per_s = saturation.stored_per_s / EVENTS_A_POST * INTAKE_SHARE
        done, began_s = asyncio.Event(), time.perf_counter()
        load = asyncio.create_task(_load(product, CAUGHT_UP_MAX_S, posts_per_s=posts_per_s, done=done))
        try:
            await _until_caught_up(product, posts_per_s)
        finally:
            done.set()
            took_s = time.perf_counter() - began_s
            intake = await load
    return (backlog + intake) / took_s / (intake / took_s)


async def started(directory: Path, size_bytes: int, seconds: float) -> float:
    """Seconds from the command to the first 200, the log holding `size_bytes` that no store has, its last incarnation
    left open by a kill."""
    directory.mkdir()
    with _product(directory, {"INGEST_SPOOL_QUOTA_BYTES": str(2 * size_bytes + 2**30)}) as product:
        pids = [process["pid"] for process in product.statusz()["processes"] if _is_reader(process["role"])]
        with stopped(*pids):
            until_s = time.monotonic() + 60 * seconds
            while _spooled_bytes(product) < size_bytes / COPIES and time.monotonic() < until_s:
                await _load(product, seconds)
            url = product.endpoints["http"]
            await _end_incarnation(product)
            await _load(product, seconds)
            await asyncio.to_thread(product.kill_everything)
        await asyncio.to_thread(fill_up, product.data_dir / "spool", size_bytes)
        began_s = time.perf_counter()
        product.start()
        while not await asyncio.to_thread(_answers, url):
            if product.ended() or time.perf_counter() - began_s > START_MAX_S:
                raise Unexpected(f"no request was answered\n{product.log_tail()}")
            await asyncio.sleep(POLL_S)
        took_s = time.perf_counter() - began_s
        await asyncio.to_thread(product.wait_ready, START_MAX_S)
        await asyncio.to_thread(product.kill_everything)
    return took_s


async def _end_incarnation(product: Product) -> None:
    """Ask the collector to end, and wait until another one is at its place."""
    (before,) = (process["pid"] for process in product.statusz()["processes"] if process["role"] == "collector")
    os.kill(before, signal.SIGTERM)
    deadline_s = time.monotonic() + START_MAX_S
    while True:
        collectors = [process["pid"] for process in product.statusz()["processes"] if process["role"] == "collector"]
        if (
            before not in collectors
            and None not in collectors
            and await asyncio.to_thread(_answers, product.endpoints["http"])
        ):
            return
        if time.monotonic() > deadline_s:
            raise Unexpected(f"no collector came after {before}\n{product.log_tail()}")
        await asyncio.sleep(POLL_S)


def _product(directory: Path, environment: dict[str, str]) -> Product:
    """A gateway that is up, with ports that it keeps."""
    directory.chmod(0o755)
    port, admin_port = free_ports(2)
    log = directory / "serve.log"
    product = Product(directory / "data", port=port, admin_port=admin_port, environment=environment, log=log)
    product.start()
    try:
        return product.wait_ready()
    except BaseException:
        product.stop()
        raise


@asynccontextmanager
async def _measuring(product: Product) -> AsyncIterator[BenchGateway]:
    postgres = await asyncpg.connect(product.endpoints["postgres"])
    store = redis.Redis.from_url(product.endpoints["redis"])
    try:
        gateway = BenchGateway(product, postgres, store)
        await gateway.warm_up(WARM_UP_S)
        yield gateway
    finally:
        await store.aclose()
        await postgres.close()


async def _load(
    product: Product, seconds: float, *, posts_per_s: float = 0.0, done: asyncio.Event | None = None
) -> int:
    """Events acknowledged by as fast a load as there is, or one of `posts_per_s`."""
    at = urlsplit(product.endpoints["http"])
    assert at.hostname and at.port
    load = await run_load(
        at.hostname,
        at.port,
        RequestMint(at.hostname, at.port, EVENTS_A_POST).mint,
        events_count=EVENTS_A_POST,
        connections=CONNECTIONS,
        seconds=seconds,
        posts_per_s=posts_per_s,
        done=done,
    )
    return load.acknowledged


async def _until_caught_up(product: Product, posts_per_s: float) -> None:
    """Less than a second's intake is left to each reader, by what it says since now."""
    now_us = time.time_ns() // 1_000
    deadline_s = time.monotonic() + CAUGHT_UP_MAX_S
    while True:
        status = await asyncio.to_thread(product.statusz)
        if all(told["at_us"] > now_us and told["lag_frames"] < posts_per_s for told in status["readers"]):
            return
        if time.monotonic() > deadline_s:
            raise Unexpected(f"not caught up after {CAUGHT_UP_MAX_S:.0f} s: {status['readers']}")
        await asyncio.sleep(5 * POLL_S)


def _is_reader(role: str) -> bool:
    return role in ("postgres_drain", "readers")


def _spooled_bytes(product: Product) -> int:
    used: int = product.statusz()["spool"]["used_bytes"]
    return used


def _answers(url: str) -> bool:
    """Whether one event is taken now."""
    at = urlsplit(url)
    assert at.hostname and at.port
    request = RequestMint(at.hostname, at.port, 1).mint()
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=START_MAX_S)
    try:
        connection.request(
            "POST", "/v1/events", request.partition(b"\r\n\r\n")[2], {"Content-Type": "application/json"}
        )
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
