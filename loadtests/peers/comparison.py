"""The gateway and every peer in one run: all stand ready, and each in turn gets the load, round after round.

Whoever has no turn is idle; the machine's speed drifts within minutes, so only figures of one run may be compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
import redis.asyncio as redis

from loadtests.bench.gateway import CONNECTIONS, BenchGateway
from loadtests.peers.fastapi import FastApi
from loadtests.peers.kill import EVENTS_PER_S, Killed, gateway_killed, peer_killed
from loadtests.peers.peer import SCHEMA, Peer, Run, RunningPeer, Unavailable
from loadtests.peers.telegraf import Telegraf
from loadtests.product import Product

EVENT_COUNTS: Final = (20, 1)  # events a request
ROUNDS: Final = 2
KILLS: Final = 3
WARM_UP_S: Final = 1.0
GATEWAY: Final = "gateway"
ABOUT_GATEWAY: Final = {
    "answer_means": "on disk (fsync)",
    "remark": "every value checked, a key, each event once however often it is sent, counters in Valkey",
}
PEERS: Final[Sequence[Peer]] = (Telegraf(), FastApi(commits_first=False), FastApi(commits_first=True))
NAMES: Final = (GATEWAY, *(peer.name for peer in PEERS))


async def compare(
    product: Product,
    seconds: float,
    directory: Path,
    *,
    only: Collection[str] = NAMES,
    rounds: int = ROUNDS,
    kills: int = KILLS,
) -> dict[str, Any]:
    """Measure those of NAMES that can be had upon the PostgreSQL of `product`, which stays; figures for report.table.

    `seconds` of each load. `directory` takes the peers' files and the gateways that are killed; processes of other
    accounts have to be able to enter it. A peer that cannot be had is left out, with its reason. Raises PeerFailed
    when one falls, TimeoutError when the gateway does not catch up or nobody answers.
    """
    wanted, left_out = await asyncio.to_thread(_prepared, only)
    systems = {peer.name: {"answer_means": peer.answer_means, "remark": peer.remark} for peer in wanted}
    if GATEWAY in only:
        systems = {GATEWAY: ABOUT_GATEWAY, **systems}
    loads = [os.getloadavg()[0]]
    async with _standing(product, wanted, directory) as (gateway, peers):
        runs = await _runs(gateway, peers, list(systems), seconds, rounds, loads)
        killed = await _kills(peers, list(systems), directory, kills)
        loads.append(os.getloadavg()[0])
    return {
        "systems": {
            name: {
                **about,
                **{str(count): figures_of(runs[name, count]) for count in EVENT_COUNTS},
                "killed_acknowledged": sum(kill.acknowledged for kill in killed[name]),
                "killed_lost": sum(kill.lost for kill in killed[name]),
                "killed_lost_rounds": [kill.lost for kill in killed[name]],
            }
            for name, about in systems.items()
        },
        "left_out": left_out,
        "settings": {
            "seconds": seconds,
            "rounds": rounds,
            "kills": kills,
            "connections": CONNECTIONS,
            "kill_events_per_s": EVENTS_PER_S,
        },
        "load_averages": [round(load, 1) for load in loads],
    }


@contextlib.asynccontextmanager
async def _standing(
    product: Product, wanted: Sequence[Peer], directory: Path
) -> AsyncIterator[tuple[BenchGateway, dict[str, RunningPeer]]]:
    """The gateway and the peers with their tables, all warmed up; nothing of the peers is left afterwards."""
    dsn = product.endpoints["postgres"]
    async with contextlib.AsyncExitStack() as ending:
        postgres = await asyncpg.connect(dsn)
        ending.push_async_callback(postgres.close)
        store = redis.Redis.from_url(product.endpoints["redis"])
        ending.push_async_callback(store.aclose)
        await postgres.execute("SET max_parallel_workers_per_gather = 0")  # counting is no cost of whom is counted
        gateway = BenchGateway(product, postgres, store)
        await gateway.warm_up(WARM_UP_S)
        ending.push_async_callback(postgres.execute, f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")

        def postgres_cpu_s() -> float:
            return gateway.postgres_cpu_s(with_own_connection=False)

        peers = {peer.name: RunningPeer(peer, dsn, directory / peer.name, postgres, postgres_cpu_s) for peer in wanted}
        for peer in peers.values():
            await peer.make_table()
            ending.callback(peer.stop)
            await peer.start()
            await peer.measure(EVENT_COUNTS[0], WARM_UP_S)
        yield gateway, peers


async def _runs(
    gateway: BenchGateway,
    peers: Mapping[str, RunningPeer],
    names: Sequence[str],
    seconds: float,
    rounds: int,
    loads: list[float],
) -> dict[tuple[str, int], list[Run]]:
    """Every one in turn, by name and events a request; the machine's load average after each turn goes to `loads`."""
    runs: dict[tuple[str, int], list[Run]] = {(name, count): [] for name in names for count in EVENT_COUNTS}
    for number in range(rounds):
        for events_count in EVENT_COUNTS:
            for name in names:
                _say(f"{name}, {events_count} a request, {seconds:.0f} s, round {number + 1} of {rounds}")
                if name == GATEWAY:
                    run = await _gateway_run(gateway, events_count, seconds)
                else:
                    run = await peers[name].measure(events_count, seconds)
                runs[name, events_count].append(run)
                loads.append(os.getloadavg()[0])
    return runs


async def _kills(
    peers: Mapping[str, RunningPeer], names: Sequence[str], directory: Path, kills: int
) -> dict[str, list[Killed]]:
    """Every one in turn killed under load and restarted; the gateway's are gateways of their own."""
    killed: dict[str, list[Killed]] = {name: [] for name in names}
    for number in range(kills):
        for name in names:
            _say(f"{name}, kill -9, {number + 1} of {kills}")
            if name == GATEWAY:
                killed[name].append(await gateway_killed(directory / f"{GATEWAY}-{number}"))
            else:
                killed[name].append(await peer_killed(peers[name]))
    return killed


def _prepared(only: Collection[str]) -> tuple[list[Peer], dict[str, str]]:
    """The peers that can be had, and why the others cannot."""
    wanted, left_out = [], {}
    for peer in PEERS:
        if peer.name in only:
            try:
                peer.prepare()
            except Unavailable as reason:
                left_out[peer.name] = str(reason)
            else:
                wanted.append(peer)
    return wanted, left_out


async def _gateway_run(gateway: BenchGateway, events_count: int, seconds: float) -> Run:
    await gateway.postgres.execute("CHECKPOINT")
    measured = await gateway.measure(gateway.mint(events_count), seconds)
    await gateway.postgres.execute("VACUUM ANALYZE playback_events")  # or autovacuum does it in a peer's turn
    cpu = measured.cpu
    own_s = cpu.collectors_s + cpu.readers_s + cpu.supervisor_s + cpu.redis_s
    return Run(measured.load, measured.stored, measured.drained_s, own_s, cpu.postgres_s, measured.others_cpu_share)


def figures_of(runs: Sequence[Run]) -> dict[str, Any]:
    """One system's rounds at one size of request: means, and every round's rows a second."""
    per_s = [run.stored_per_s for run in runs]
    stored = sum(run.stored for run in runs)
    statuses: dict[str, int] = {}
    for run in runs:
        for status, count in run.load.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    return {
        "stored_per_s": round(statistics.fmean(per_s)),
        "stored_per_s_rounds": [round(value) for value in per_s],
        "acknowledged_per_s": round(statistics.fmean(run.load.acknowledged / run.load.seconds for run in runs)),
        "cpu_us_per_event": round(sum(run.own_cpu_s for run in runs) / max(stored, 1) * 1e6, 2),
        "postgres_cpu_us_per_event": round(sum(run.postgres_cpu_s for run in runs) / max(stored, 1) * 1e6, 2),
        "client_cpu_us_per_event": round(sum(run.load.client_cpu_s for run in runs) / max(stored, 1) * 1e6, 2),
        "latency_ms_p50": round(statistics.fmean(run.load.latency_ms(0.5) for run in runs), 2),
        "latency_ms_p99": round(statistics.fmean(run.load.latency_ms(0.99) for run in runs), 2),
        "acknowledged": sum(run.load.acknowledged for run in runs),
        "stored": stored,
        "missing": sum(run.missing for run in runs),
        "statuses": statuses,
        "others_cpu_share": round(max(run.others_cpu_share for run in runs), 3),
    }


def _say(text: str) -> None:
    sys.stderr.write(text + " …\n")
