"""`./gw peers`: the gateway beside Telegraf and the FastAPI service that most teams would write, on this machine, in
one run: rows stored, CPU, times, and what each loses at kill -9. A table, and peers.json.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop

from loadtests.peers.comparison import GATEWAY, KILLS, NAMES, ROUNDS, compare
from loadtests.peers.process import PeerFailed
from loadtests.peers.report import table
from loadtests.product import Product, ProductFailed

SECONDS: Final = 7.0
FREE_DISK_MIN_BYTES: Final = 6 * 2**30  # the rows of all of them, their WAL, and Telegraf's build


async def run(options: argparse.Namespace) -> dict[str, Any]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="streamverse-peers-", dir=options.dir) as made:
        directory = Path(made)
        directory.chmod(0o755)  # the embedded PostgreSQL may have to run as another user
        with Product(directory / "data") as product:
            product.start()
            await asyncio.to_thread(product.wait_ready)
            return await compare(
                product, options.seconds, directory, only=options.only, rounds=options.rounds, kills=options.kills
            )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./gw peers", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each load; %(default)s by default")
    parser.add_argument("--only", choices=NAMES, action="append", help="this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="%(default)s by default")
    parser.add_argument("--kills", type=int, default=KILLS, help="kill -9 of each; %(default)s by default")
    parser.add_argument("--out", type=Path, default=Path("peers.json"))
    parser.add_argument("--dir", type=Path, help="where to work: on the disk that is to be measured")
    options = parser.parse_args(arguments)
    options.only = options.only or NAMES
    # /tmp is memory on many machines, and an fsync there costs nothing: /var/tmp is a disk.
    options.dir = options.dir or (Path("/var/tmp") if Path("/var/tmp").is_dir() else Path(tempfile.gettempdir()))  # noqa: S108
    if (free_bytes := shutil.disk_usage(options.dir).free) < FREE_DISK_MIN_BYTES:
        sys.stderr.write(
            f"{options.dir}: {free_bytes / 2**30:.1f} GiB free, {FREE_DISK_MIN_BYTES / 2**30:.0f} needed\n"
        )
        return 1
    try:
        figures = uvloop.run(run(options))
    except (ProductFailed, PeerFailed, TimeoutError) as failed:
        sys.stderr.write(f"no figures: {failed}\n")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    options.out.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    print(table(figures))
    print(f"written to {options.out}")
    return 0 if holds(figures) else 1


def holds(figures: dict[str, Any]) -> bool:
    """Whether everyone wanted was there, and the gateway lost nothing."""
    gateway = figures["systems"].get(GATEWAY)
    lost = 0 if gateway is None else gateway["killed_lost"] + gateway["20"]["missing"] + gateway["1"]["missing"]
    return not figures["left_out"] and lost == 0


if __name__ == "__main__":
    sys.exit(main())
