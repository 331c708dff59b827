"""The benchmark, `./gw bench`: the product by its command line, all readers on, beside what its parts could do alone.

One run, one machine, one set of figures, part by part; ratios bind, the absolute figures are this machine's. What is
measured is kept in bench.json as it is measured, and `--resume` goes on from there. Exit code 0 when every
acknowledged event was counted in the table, 1 when not; a missed mark is said and changes no exit code.
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

import orjson
import uvloop

from loadtests.bench import ads, cmcd, crowd, growth, latency, outage, partitions, peers, pixel, rows, scylla, stage
from loadtests.bench.gateway import CONNECTIONS, BenchGateway
from loadtests.bench.page import page
from loadtests.bench.scene import Part, Scene, say
from loadtests.bench.table import QUICK, all_stored, lines
from loadtests.product import ROOT, ProductFailed

SECONDS: Final = 7.0
FREE_DISK_MIN_BYTES: Final = 4 * 2**30
USUAL: Final = (*rows.PARTS, *pixel.PARTS, *cmcd.PARTS, *stage.PARTS, *ads.PARTS, *latency.PARTS, *growth.PARTS)
LONG: Final = (*growth.LONG_PARTS, *outage.PARTS, *crowd.PARTS, *scylla.PARTS, *partitions.PARTS)
EVERY: Final = (*USUAL, *peers.PARTS, *LONG)
POSTGRES_SETTINGS: Final = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
PACKAGES: Final = ("streamverse-ingest", "aiohttp", "uvloop", "asyncpg", "orjson", "msgspec", "redis")
PAGE: Final = ROOT / "docs" / "benchmarks.md"


async def run(parts: Sequence[Part], options: argparse.Namespace, report: dict[str, Any]) -> None:
    """Measure `parts` that the report lacks, and write it after each."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="streamverse-bench-", dir=options.dir) as made:
        directory = Path(made)
        directory.chmod(0o755)  # the embedded PostgreSQL may have to run as another user
        async with Scene(directory, options.seconds, options.workers, options.rows, options.outage) as scene:
            about = await _about(await scene.gateway(), options)
            if report["about"].get("settings", about["settings"]) != about["settings"]:
                report["parts"].clear()
                say("measured before under other settings: begun anew")
            report["about"] = about
            for part in parts:
                if part.name not in report["parts"]:
                    report["parts"][part.name] = await part.run(scene)
                    report["parts"] = {
                        one.name: report["parts"][one.name] for one in EVERY if one.name in report["parts"]
                    }
                    _write(options.out, report)


async def _about(gateway: BenchGateway, options: argparse.Namespace) -> dict[str, Any]:
    """What was measured, and on what."""
    settings = await gateway.postgres.fetch(
        "SELECT name, current_setting(name) FROM unnest($1::text[]) name", POSTGRES_SETTINGS
    )
    versions = {"python": platform.python_version(), "kernel": platform.release()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    versions["postgres"] = await gateway.postgres.fetchval("SHOW server_version")
    versions["valkey"] = await gateway.redis_version()
    return {
        "command": " ".join(["./gw bench", *sys.argv[1:]]),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": os.cpu_count(),
        "core": gateway.core,
        "collectors": gateway.collectors_count,
        "versions": versions,
        "settings": {
            "seconds": options.seconds,
            "connections": CONNECTIONS,
            **{f"postgres {row[0]}": row[1] for row in settings},
        },
    }


def _write(path: Path, report: dict[str, Any]) -> None:
    """Whole, or as it was."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    new.replace(path)


def chosen(options: argparse.Namespace) -> list[Part]:
    """By --only, --quick, --peers, --long. Raises SystemExit for a name that there is not."""
    parts = list(EVERY)
    if options.only:
        names = options.only.split(",")
        if unknown := set(names) - {part.name for part in parts}:
            raise SystemExit(
                f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(part.name for part in parts)}"
            )
        return [part for part in parts if part.name in names]
    if options.quick:
        return [part for part in parts if part.name in QUICK]
    left_out = (() if options.peers else peers.PARTS) + (() if options.long else LONG)
    return [part for part in parts if part not in left_out]


def main(arguments: Sequence[str] | None = None) -> int:
    every = "; ".join(f"{part.name}: {part.about}" for part in EVERY)
    parser = argparse.ArgumentParser(prog="./gw bench", description=__doc__, epilog=f"Parts: {every}.")
    parser.add_argument("--quick", action="store_true", help="the headline ratios, in less than two minutes")
    parser.add_argument(
        "--peers", action="store_true", help="also others on the same rows, and what kill -9 costs each"
    )
    parser.add_argument(
        "--long", action="store_true", help="also a table of 50 million rows, and ten minutes of outage"
    )
    parser.add_argument("--only", metavar="PART,…", help="these parts")
    parser.add_argument("--resume", action="store_true", help="keep what --out has of a run under the same settings")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each load; {SECONDS:.0f} by default")
    parser.add_argument("--rows", type=int, default=growth.MARKS[-1] * 1_000_000, help="how far the table grows")
    parser.add_argument("--outage", type=float, default=600.0, metavar="S", help="how long the store stands still")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    parser.add_argument("--page", type=Path, help="write the table here; docs/benchmarks.md when every usual part ran")
    parser.add_argument("--workers", type=int, default=0, help="collectors; the product's default when not given")
    parser.add_argument("--dir", type=Path, help="where to work: on the disk that is to be measured")
    options = parser.parse_args(arguments)
    parts = chosen(options)
    # /tmp is memory on many machines, and an fsync there costs nothing: /var/tmp is a disk.
    options.dir = options.dir or (Path("/var/tmp") if Path("/var/tmp").is_dir() else Path(tempfile.gettempdir()))  # noqa: S108
    needed_bytes = max(FREE_DISK_MIN_BYTES, *(part.needs_bytes for part in parts))
    if (free_bytes := shutil.disk_usage(options.dir).free) < needed_bytes:
        sys.stderr.write(f"{options.dir}: {free_bytes / 2**30:.1f} GiB free, {needed_bytes / 2**30:.0f} needed\n")
        return 1
    report: dict[str, Any] = {"about": {}, "parts": {}}
    if options.resume and options.out.exists():
        report = orjson.loads(options.out.read_bytes())
    try:
        uvloop.run(run(parts, options, report))
    except (ProductFailed, TimeoutError) as failed:
        sys.stderr.write(f"no further figures: {failed}\n")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    print("\n".join(lines(report)))
    print(f"written to {options.out}")
    if options.page is None and all(part.name in report["parts"] for part in USUAL):
        options.page = PAGE
    if options.page is not None:
        options.page.parent.mkdir(exist_ok=True)
        options.page.write_text(page(report))
        print(f"written to {options.page}")
    return 0 if all_stored(report) else 1


if __name__ == "__main__":
    sys.exit(main())
