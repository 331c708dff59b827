"""`./gw faults`: break a real gateway in every way there is, under load, and show that nothing was lost or doubled.

Without --data-dir it starts gateways of its own and removes them in the end. --rounds are shared by the faults that
kill; each other fault strikes once. The exit code is 0 when nothing was missing, doubled or miscounted and `verify`
agrees after every round; else 1, with the seed that chose the victims and moments.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, TypeVar

from loadtests.faults import speed
from loadtests.faults.catalogue import every_fault
from loadtests.faults.fault import Fault, LeftOut, Unexpected
from loadtests.faults.stage import Stage
from loadtests.faults.staging import Staging, agreed
from loadtests.faults.table import table
from loadtests.faults.trial import Row, Trial, play
from loadtests.product import ProductFailed

T = TypeVar("T")

ROUNDS: Final = 100
VIEWERS: Final = 150


async def run(faults: Sequence[Fault], rounds: int, trial: Trial) -> list[Row]:
    """Strike in turns, so that no fault meets only young gateways; the rows of the table."""
    rows = {fault.name: Row(fault.name) for fault in faults}
    for number, fault in enumerate(turns(faults, rounds)):
        row = rows[fault.name]
        if row.left_out:
            continue
        _say(f"{fault.name}, round {row.rounds + 1}")
        try:
            await trial.round(fault, number, row)
        except LeftOut as reason:
            row.left_out = str(reason)
    return list(rows.values())


async def run_on(staging: Staging, faults: Sequence[Fault], rounds: int, seed: int, directory: Path) -> list[Row]:
    """The same on an instance that is somebody else's; the first failure ends it."""
    rows = {fault.name: Row(fault.name) for fault in faults}
    stage = Stage(directory, staging, seed, viewers=VIEWERS, alone=False)
    for number, fault in enumerate(turns(faults, rounds)):
        row = rows[fault.name]
        _say(f"{fault.name}, round {row.rounds + 1}")
        try:
            await play(stage, fault, Random(f"{seed}:{fault.name}:{number}"), row)
        except Unexpected as failed:
            row.wrong.append(f"{type(failed).__name__}: {failed}")
        if row.wrong:
            break
    return list(rows.values())


def turns(faults: Sequence[Fault], rounds: int) -> list[Fault]:
    """Who strikes when: the kills in turn until the rounds are used up, then every other one once."""
    kills = [fault for fault in faults if fault.is_kill]
    return [kills[number % len(kills)] for number in range(rounds if kills else 0)] + [
        fault for fault in faults if not fault.is_kill
    ]


def chosen(names: Sequence[str], faults: Sequence[Fault]) -> list[Fault]:
    """The faults whose name begins with one of `names`; all without any. Raises SystemExit."""
    if unknown := [name for name in names if not any(fault.name.startswith(name) for fault in faults)]:
        raise SystemExit(f"no such fault: {', '.join(unknown)}; --list names them")
    return [fault for fault in faults if not names or fault.name.startswith(tuple(names))]


def possible(fault: Fault, staging: Staging) -> bool:
    """Whether it may be done to a gateway that is somebody else's, and its victim is here."""
    role = fault.strike.args[0] if isinstance(fault.strike, partial) else "postgres"
    return fault.on_staging and role in staging.roles()


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text} …\n")
    sys.stderr.flush()


async def _until_told(work: Coroutine[None, None, T]) -> T:
    """What `work` returns; SIGTERM and SIGHUP end it as Ctrl-C does, with everything put away."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./gw faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of the kills, in all; {ROUNDS} by default")
    parser.add_argument("--seed", type=int, help="chooses victims, moments and viewings; by default by chance")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a fault, or how several begin")
    parser.add_argument("--list", action="store_true", help="the faults, a line each")
    parser.add_argument("--speed", action="store_true", help="what durability costs, instead: three ratios and marks")
    parser.add_argument("--pairs", type=int, default=7, help="with --speed: of loads with and without fsync")
    parser.add_argument("--load-s", type=float, default=5.0, help="with --speed: seconds of each load")
    parser.add_argument("--spool-gb", type=float, default=10.0, help="with --speed: what a start finds in the log")
    parser.add_argument("--stop", type=float, default=30.0, metavar="S", help="seconds that a store stands still")
    parser.add_argument("--dir", type=Path, help="where to work: on a disk; by default /var/tmp")
    parser.add_argument(
        "--data-dir", type=Path, help="a running gateway, which stays; only what it recovers from alone"
    )
    parser.add_argument("--yes", action="store_true", help="with --data-dir: do not ask")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    faults = chosen(options.only, every_fault(stop_s=options.stop))
    if options.list:
        width = max(len(fault.name) for fault in faults)
        print("\n".join(f"{fault.name:{width}}  {fault.means}" for fault in faults))
        return 0
    seed = options.seed if options.seed is not None else Random().randrange(2**31)
    room = options.dir or (Path("/var/tmp") if Path("/var/tmp").is_dir() else Path(tempfile.gettempdir()))  # noqa: S108
    directory = Path(tempfile.mkdtemp(prefix="streamverse-faults-", dir=room))
    directory.chmod(0o755)
    kept: list[Path] = []
    _say(f"seed {seed}, in {directory}")
    try:
        if options.speed:
            return asyncio.run(_until_told(speed.run(options, directory)))
        if options.data_dir:
            staging = Staging(options.data_dir)
            faults = [fault for fault in faults if possible(fault, staging)]
            if not faults:
                raise LeftOut("nothing that may be done to this gateway")
            if not (options.yes or agreed(staging, [fault.name for fault in faults])):
                return 1
            rows = asyncio.run(_until_told(run_on(staging, faults, options.rounds, seed, directory)))
            kept = [directory]  # the only record of what this gateway was sent
        else:
            with Trial(directory, seed) as trial:
                rows = asyncio.run(_until_told(run(faults, options.rounds, trial)))
            kept = trial.kept
    except (LeftOut, Unexpected, ProductFailed) as reason:
        sys.stderr.write(f"{reason}\n")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    finally:
        if not kept:
            shutil.rmtree(directory, ignore_errors=True)
    print(table(rows))
    if options.data_dir:
        print(f"\nwhat was sent to it: {directory}")
    wrong = [row.fault for row in rows if row.wrong]
    if wrong:
        print(f"\nFAILED: {', '.join(wrong)}; seed {seed}; kept: {', '.join(map(str, kept))}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
