"""Real users as Locust plays them, `./gw load MODEL`, and every event of theirs accounted for.

Starts a gateway with stores of its own, or takes the one that `--endpoints` names; plays the model headless; lets the
users end as people do, so that all they sent is answered; then compares the crowd's ledger with PostgreSQL and Redis,
and asks `verify`. One table, and Locust's report as a page. Exit code 1 when anything is missing, doubled, miscounted
or unanswered.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from loadtests.ledger import Ledger
from loadtests.load_outcome import Answers, Outcome
from loadtests.models import MODELS
from loadtests.posting import TRY_TIMEOUT_S
from loadtests.product import ROOT, Product, ProductFailed, die_with_parent
from loadtests.reconcile import reconcile_when_drained
from loadtests.verifying import disagreement

USERS: Final = 100
USERS_MAX: Final = 2_000
SECONDS_LEAST: Final = 5
SECONDS_MAX: Final = 3_600
PACE: Final = 20.0  # seconds of film a second
HANG_UP_SHARE: Final = 0.05  # of the tries; most of these are answered before they break
EVENTS_A_FILM_SECOND: Final = 0.11  # heartbeats mostly
EVENTS_MAX: Final = 600_000  # what the comparison holds in memory, at some two kilobytes each
BEGIN_S: Final = 15.0  # of Locust, which has to load itself
END_S: Final = 60.0  # until the last user is answered or has given up, and the report is written
DRAIN_S: Final = 60.0  # until the stores have all, and until `verify` agrees; a difference is one after that
TOLD_EVERY_S: Final = 10.0
BUSY: Final = "CPU usage above"  # how Locust's log begins to say that its figures are its own slowness


class LoadFailed(Exception):
    """Locust did not play to its end; the message carries the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Target:
    """A running gateway: where to post, where its stores and its directory are, and whether nobody else posts to it."""

    url: str
    endpoints: Mapping[str, str]
    data_dir: Path
    is_ours: bool


@contextlib.contextmanager
def target(options: argparse.Namespace, directory: Path) -> Iterator[Target]:
    """The gateway that was asked for; one of our own ends with the load. Raises ProductFailed."""
    if options.endpoints:
        endpoints = json.loads(options.endpoints.read_text())
        yield Target(options.host or endpoints["http"], endpoints, options.endpoints.parent, is_ours=False)
        return
    with Product(directory / "data") as product:
        product.start()
        product.wait_ready()
        yield Target(product.endpoints["http"], product.endpoints, product.data_dir, is_ours=True)


async def run(options: argparse.Namespace, at: Target, directory: Path) -> Outcome:
    """Play, wait until the stores have all, compare. Raises LoadFailed."""
    await play(options, at, directory)
    paths = sorted(directory.glob("*.ledger"))
    ledger = Ledger.read(paths)
    tell(f"{len(ledger.entries):,} events posted; comparing them with the stores …")
    report = await reconcile_when_drained(
        ledger, at.endpoints, own_contents_only=not at.is_ours, wait_s=DRAIN_S, poll_s=1.0
    )
    verify = await disagreement(at.data_dir, time.monotonic() + DRAIN_S, with_counters=at.is_ours)
    return Outcome(options.model, options.users, options.seconds, ledger, Answers.read(paths), report, verify)


async def play(options: argparse.Namespace, at: Target, directory: Path) -> None:
    """Locust in a process of its own, from its start to its end; its ledgers and its log go to `directory`."""
    log = directory / "locust.log"
    arguments: dict[str, object] = {
        "-f": "loadtests/locustfile.py",
        "--host": at.url.rstrip("/"),
        "--model": options.model,
        "--users": options.users,
        "--run-time": f"{options.seconds}s",
        "--pace": options.pace,
        "--seed": random.SystemRandom().randrange(2**31),  # contents that no other crowd of these stores watches
        "--hang-up-share": HANG_UP_SHARE,
        "--ledgers": directory,
        "--html": options.html.absolute(),
        "--exit-code-on-error": 0,  # a failed request is not Locust's failure, and is judged by the ledger
    }
    words = [str(word) for pair in arguments.items() for word in pair]
    tell(f"{options.model}: up to {options.users} users for {options.seconds} s at {at.url}")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "locust", *words, "--headless", "--only-summary"),
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C goes to us, who end things in their order
            preexec_fn=die_with_parent,
        )
    try:
        code = await _end_of(process, options.seconds + BEGIN_S + END_S)
    finally:
        if process.returncode is None:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), TRY_TIMEOUT_S)
        if process.returncode is None:
            process.kill()
            await process.wait()
    said = log.read_text(errors="replace")
    if code != 0 or "Traceback" in said:
        raise LoadFailed(f"Locust ended with {code}:\n" + "\n".join(said.splitlines()[-30:]))
    if BUSY in said:
        tell("Locust was short of CPU: its latencies are its own in part")


async def _end_of(process: asyncio.subprocess.Process, within_s: float) -> int:
    """Its exit code, told of while it lasts. Raises LoadFailed."""
    begun_s = time.monotonic()
    while (gone_s := time.monotonic() - begun_s) < within_s:
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(process.wait(), min(TOLD_EVERY_S, within_s - gone_s))
        tell(f"{time.monotonic() - begun_s:.0f} s …")
    raise LoadFailed(f"Locust had not ended after {within_s:.0f} s")


def tell(text: str) -> None:
    """To people who wait; the table alone goes to stdout."""
    sys.stderr.write(f"load: {text}\n")


def is_loopback(url: str) -> bool:
    """Whether a URL names an address of this machine alone."""
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "").is_loopback
    except ValueError:
        return False


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, complete and within their bounds."""
    parser = argparse.ArgumentParser(prog="./gw load", description=__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--users", type=int, default=USERS, help=f"at most; {USERS} by default, up to {USERS_MAX:,}")
    parser.add_argument("--seconds", type=int, help=f"of the whole model, {SECONDS_LEAST} to {SECONDS_MAX:,}")
    parser.add_argument("--pace", type=float, default=PACE, help=f"seconds of film a second; {PACE:.0f} by default")
    parser.add_argument("--endpoints", type=Path, help="endpoints.json in the data directory of a running gateway")
    parser.add_argument("--host", help="where to post, if not to the address in there")
    parser.add_argument("--html", type=Path, help="Locust's report; load-MODEL.html by default")
    options = parser.parse_args(arguments)
    options.seconds = options.seconds or int(MODELS[options.model].length_s)
    options.html = options.html or Path(f"load-{options.model}.html")
    if not 1 <= options.users <= USERS_MAX:
        parser.error(f"--users: 1 to {USERS_MAX:,}")
    if not SECONDS_LEAST <= options.seconds <= SECONDS_MAX:
        parser.error(f"--seconds: {SECONDS_LEAST} to {SECONDS_MAX:,}")
    if options.pace < 1:
        parser.error("--pace: 1 at least")
    if (events := options.users * options.seconds * options.pace * EVENTS_A_FILM_SECOND) > EVENTS_MAX:
        parser.error(f"{events:,.0f} events, more than {EVENTS_MAX:,}: take fewer users or seconds, or a slower --pace")
    if options.host and not options.endpoints:
        parser.error("--host needs --endpoints, to find the stores that the load is compared with")
    if options.endpoints and not options.host:
        try:
            url = json.loads(options.endpoints.read_text())["http"]
        except (OSError, ValueError, KeyError) as error:
            parser.error(f"--endpoints: {error!r}")
        if not is_loopback(url):
            parser.error(f"{url} is not this machine alone; if that is meant, say --host {url}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    with tempfile.TemporaryDirectory(prefix="streamverse-load-") as made:
        directory = Path(made)
        directory.chmod(0o755)  # the embedded PostgreSQL may have to run as another user
        try:
            with target(options, directory) as at:
                outcome = asyncio.run(run(options, at, directory))
        except (ProductFailed, LoadFailed, OSError, TimeoutError) as failed:
            tell(f"no figures: {failed}")
            return 1
        except KeyboardInterrupt:
            return 130
    print(outcome.text())
    print(f"report: {options.html}")
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    sys.exit(main())
