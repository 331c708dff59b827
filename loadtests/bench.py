"""The benchmark, `./gw bench`: the product by its command line, all readers on, against what its parts could do alone.

One run, one machine, one set of figures: rows stored at twenty events a POST beside a bare COPY of the very same rows,
single-event POSTs beside a bare aiohttp handler that keeps nothing, and the CPU that an event costs. Ratios bind; the
absolute figures are this machine's. Exit code 0 when every acknowledged event was counted in the table, 1 when not.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
import orjson
import redis.asyncio as redis
import uvloop

from loadtests.bench_client import Load, run_load
from loadtests.bench_copy import BareCopy, bare_copy
from loadtests.bench_gateway import CONNECTIONS, BenchGateway, Measured
from loadtests.bench_http import bare_servers
from loadtests.bench_request import RequestMint
from loadtests.product import Product, ProductFailed

EVENTS_A_POST: Final = 20
SECONDS: Final = 7.0
QUICK_SECONDS: Final = 2.0
WARM_UP_S: Final = 1.0
FREE_DISK_MIN_BYTES: Final = 4 * 2**30  # a run writes each row about four times: spool, WAL, table, the copy beside it
POSTGRES_SETTINGS: Final = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
PACKAGES: Final = ("streamverse-ingest", "aiohttp", "uvloop", "asyncpg", "orjson", "msgspec", "redis")
# The "first" column of the marks that this product has set itself.
MARK_COPY_SHARE: Final = 0.25
MARK_SINGLE_SHARE: Final = 0.5
MARK_GATEWAY_US: Final = 12.0
MARK_POSTGRES_US: Final = 7.0


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """All parts, one after the other; the figures for the table and for bench.json."""
    seconds = options.seconds
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="streamverse-bench-", dir=options.dir) as made:
        scratch = Path(made)
        scratch.chmod(0o755)  # the embedded PostgreSQL may have to run as another user
        data_dir = scratch / "data"
        workers = ["--workers", str(options.workers)] if options.workers else []
        with Product(data_dir, arguments=workers) as product:
            product.start()
            await asyncio.to_thread(product.wait_ready)
            postgres = await asyncpg.connect(product.endpoints["postgres"])
            store = redis.Redis.from_url(product.endpoints["redis"])
            try:
                gateway = BenchGateway(product, postgres, store)
                _say("warming up")
                await gateway.warm_up(WARM_UP_S)
                _say(f"{EVENTS_A_POST} events a POST, {CONNECTIONS} connections, {seconds:.0f} s")
                many = await gateway.measure(EVENTS_A_POST, seconds)
                _say(f"single events, {CONNECTIONS} connections, {seconds:.0f} s")
                single = await gateway.measure(1, seconds)
                _say(f"bare aiohttp, {gateway.collectors_count} processes, {seconds:.0f} s")
                bare = await _bare_http(gateway.collectors_count, seconds)
                _say("bare COPY of the same rows")
                ended_at = many.load.began_at + many.drained_s
                copied = await bare_copy(postgres, many.load.began_at, ended_at, scratch, gateway.postgres_cpu_s)
                about = await _about(postgres, store, gateway)
            finally:
                await store.aclose()
                await postgres.close()
    return {**_figures(many, single, bare, copied), **about, "seconds": seconds}


async def _bare_http(processes: int, seconds: float) -> Load:
    async with bare_servers(processes) as port:
        mint = RequestMint("127.0.0.1", port, 1).mint
        await run_load("127.0.0.1", port, mint, events_count=1, connections=CONNECTIONS, seconds=WARM_UP_S)
        return await run_load("127.0.0.1", port, mint, events_count=1, connections=CONNECTIONS, seconds=seconds)


def _figures(many: Measured, single: Measured, bare: Load, copied: BareCopy) -> dict[str, Any]:
    """The measurements by name; units last."""
    gateway_s = many.cpu.collectors_s + many.cpu.readers_s
    bare_per_s = bare.posts / bare.seconds
    return {
        "stored_per_s": round(many.stored_per_s),
        "bare_copy_per_s": round(copied.rows_per_s),
        "share_of_bare_copy": round(many.stored_per_s / copied.rows_per_s, 3),
        "single_per_s": round(single.stored_per_s),
        "bare_aiohttp_per_s": round(bare_per_s),
        "share_of_bare_aiohttp": round(single.stored_per_s / bare_per_s, 3),
        "cpu_us_per_event": _us(gateway_s, many.stored),
        "collector_cpu_us_per_event": _us(many.cpu.collectors_s, many.stored),
        "readers_cpu_us_per_event": _us(many.cpu.readers_s, many.stored),
        "supervisor_cpu_us_per_event": _us(many.cpu.supervisor_s, many.stored),
        "postgres_cpu_us_per_row": _us(many.cpu.postgres_s, many.stored),
        "bare_copy_cpu_us_per_row": round(copied.postgres_cpu_us_per_row, 2),
        "redis_cpu_us_per_event": _us(many.cpu.redis_s, many.stored),
        "client_cpu_us_per_event": _us(many.load.client_cpu_s, many.load.acknowledged),
        "single_cpu_us_per_event": _us(single.cpu.collectors_s + single.cpu.readers_s, single.stored),
        "acknowledged": many.load.acknowledged + single.load.acknowledged,
        "stored_count": many.stored + single.stored,
        "acknowledged_20": many.load.acknowledged,
        "stored_20": many.stored,
        "acknowledged_per_s": round(many.load.acknowledged / many.load.seconds),
        "drained_s": round(many.drained_s, 2),
        "counted_s": round(many.counted_s, 2),
        "latency_ms_p50": round(many.load.latency_ms(0.5), 2),
        "latency_ms_p99": round(many.load.latency_ms(0.99), 2),
        "single_latency_ms_p50": round(single.load.latency_ms(0.5), 2),
        "single_latency_ms_p99": round(single.load.latency_ms(0.99), 2),
        "others_cpu_share": round(many.others_cpu_share, 3),
        "copied_rows": copied.rows,
        "statuses": {"20": many.load.statuses, "1": single.load.statuses, "bare": bare.statuses},
        "lost": many.load.lost + single.load.lost,
        "unsure": many.load.unsure + single.load.unsure,
    }


async def _about(postgres: asyncpg.Connection, store: redis.Redis, gateway: BenchGateway) -> dict[str, Any]:
    """What was measured, and on what."""
    settings = await postgres.fetch(
        "SELECT name, current_setting(name) FROM unnest($1::text[]) name", POSTGRES_SETTINGS
    )
    versions = {"python": platform.python_version(), "kernel": platform.release()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    server = await store.info("server")
    versions["postgres"] = await postgres.fetchval("SHOW server_version")
    versions["valkey"] = server.get("valkey_version") or server["redis_version"]
    return {
        "versions": versions,
        "settings": {
            "connections": CONNECTIONS,
            "events_a_post": EVENTS_A_POST,
            "collectors": gateway.collectors_count,
            **{f"postgres_{row[0]}": row[1] for row in settings},
        },
        "cores": os.cpu_count(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def table(figures: dict[str, Any]) -> str:
    """The figures for people, with the ratios that bind and the marks beside them."""

    def mark(value: float, bound: float, *, at_least: bool) -> str:
        holds = value >= bound if at_least else value <= bound
        return f"{'≥' if at_least else '≤'} {bound:g}  {'holds' if holds else 'MISSED'}"

    f = figures
    rows = [
        ("", "figure", "beside", "ratio", "mark"),
        (
            "rows stored/s, 20 a POST",
            f"{f['stored_per_s']:,}",
            f"bare COPY {f['bare_copy_per_s']:,}",
            f"{f['share_of_bare_copy']:.2f}",
            mark(f["share_of_bare_copy"], MARK_COPY_SHARE, at_least=True),
        ),
        (
            "single-event POSTs/s, stored",
            f"{f['single_per_s']:,}",
            f"bare aiohttp {f['bare_aiohttp_per_s']:,}",
            f"{f['share_of_bare_aiohttp']:.2f}",
            mark(f["share_of_bare_aiohttp"], MARK_SINGLE_SHARE, at_least=True),
        ),
        (
            "gateway CPU, µs an event",
            f"{f['cpu_us_per_event']}",
            f"collectors {f['collector_cpu_us_per_event']}, readers {f['readers_cpu_us_per_event']}",
            "",
            mark(f["cpu_us_per_event"], MARK_GATEWAY_US, at_least=False),
        ),
        (
            "PostgreSQL CPU, µs a row",
            f"{f['postgres_cpu_us_per_row']}",
            f"bare COPY {f['bare_copy_cpu_us_per_row']}",
            "",
            mark(f["postgres_cpu_us_per_row"], MARK_POSTGRES_US, at_least=False),
        ),
        ("Valkey CPU, µs an event", f"{f['redis_cpu_us_per_event']}", "", "", ""),
        ("load generator CPU, µs an event", f"{f['client_cpu_us_per_event']}", "", "", ""),
        ("answer p50 / p99, ms, 20 a POST", f"{f['latency_ms_p50']} / {f['latency_ms_p99']}", "", "", ""),
        ("answer p50 / p99, ms, single", f"{f['single_latency_ms_p50']} / {f['single_latency_ms_p99']}", "", "", ""),
        ("CPU taken by others, of all cores", f"{f['others_cpu_share']:.0%}", "", "", ""),
        (
            "acknowledged",
            f"{f['acknowledged']:,}",
            f"count(*) {f['stored_count']:,}",
            "",
            "equal" if all_stored(f) else "NOT EQUAL",
        ),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join(
            (row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].ljust(widths[2]), row[3].rjust(widths[3]), row[4])
        ).rstrip()
        for row in rows
    )


def all_stored(figures: dict[str, Any]) -> bool:
    """Every acknowledged event, and nothing beyond it but what was never clearly answered."""
    acknowledged: int = figures["acknowledged"]
    stored: int = figures["stored_count"]
    return acknowledged <= stored <= acknowledged + int(figures["unsure"])


def _us(seconds: float, count: int) -> float:
    return round(seconds / max(count, 1) * 1e6, 2)


def _say(text: str) -> None:
    sys.stderr.write(text + " …\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./gw bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SECONDS:.0f} s a part: a smoke test, no figures")
    parser.add_argument("--seconds", type=float, help=f"of each load; {SECONDS:.0f} by default")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    parser.add_argument("--workers", type=int, help="collectors; the product's default when not given")
    parser.add_argument("--dir", type=Path, help="where to work: on the disk that is to be measured")
    options = parser.parse_args(arguments)
    options.seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    # /tmp is memory on many machines, and an fsync there costs nothing: /var/tmp is a disk.
    options.dir = options.dir or (Path("/var/tmp") if Path("/var/tmp").is_dir() else Path(tempfile.gettempdir()))  # noqa: S108
    if (free_bytes := shutil.disk_usage(options.dir).free) < FREE_DISK_MIN_BYTES:
        sys.stderr.write(
            f"{options.dir}: {free_bytes / 2**30:.1f} GiB free, {FREE_DISK_MIN_BYTES / 2**30:.0f} needed\n"
        )
        return 1
    try:
        figures = uvloop.run(run(options))
    except (ProductFailed, TimeoutError) as failed:
        sys.stderr.write(f"no figures: {failed}\n")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    options.out.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    print(table(figures))
    print(f"written to {options.out}")
    return 0 if all_stored(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
