"""Whether every figure of every campaign is right, to the cent, `./gw truth --ads`: a seeded month of ads, posted to a
gateway with stores of its own, by pixel and by post, out of order, some of it twice, some of it nonsense.

`--kills` times the gateway is killed in between with its stores, and as often the drain alone. Exit code 1 when a
figure is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

import aiohttp
import asyncpg

from loadtests.ads import compare
from loadtests.ads.asking import Asking
from loadtests.ads.campaign import DAY_US, Campaign, Month, campaigns, last_long_month
from loadtests.ads.figures import Ledger, Run, Unclear, ledger
from loadtests.ads.posting import Book, Posting, client
from loadtests.ads.request import Request, requests
from loadtests.ads.showing import showing
from loadtests.port import free_ports
from loadtests.product import Product, ProductFailed
from loadtests.truth.verdict import Verdict
from loadtests.verifying import disagreement

SHOWINGS: Final = 20_000
SHOWINGS_MAX: Final = 2_000_000
WAVE: Final = 1_000  # posted within a minute or two: a pixel's own time is believed for five
KILLS: Final = 2
RATE_PER_S: Final = 500.0  # requests
SETTLE_S: Final = 180.0
FREQUENT: Final = 5  # profiles whose frequency is asked for
LATE_S: Final = 120 * 86_400  # the month is over for weeks: the door has to be as patient


class AdMonth:
    """One run, against a product that may be killed. `tell` says to people what happens."""

    def __init__(self, product: Product, seed: int, showings: int, per_s: float, kills: int) -> None:
        self.product, self.seed, self.showings, self.per_s, self.kills = product, seed, showings, per_s, kills
        self.book = Book()
        self.killed: list[list[int]] = []
        now_us = time.time_ns() // 1_000
        self.month: Month = last_long_month(now_us)
        self.orders: tuple[Campaign, ...] = campaigns(seed, self.month)
        self._begin_us = now_us

    async def run(self) -> Verdict:
        """Everything. Raises the errors of asking, ProductFailed, TimeoutError and Unclear."""
        await self._order(told_late=False)
        await self._post()
        await self._order(told_late=True)
        run = Run(self._begin_us, time.time_ns() // 1_000)
        expected = ledger(self.book.sent, run)
        tell(f"{expected.events:,} events of {len(expected.impressions):,} ads; comparing …")
        deadline_s = time.monotonic() + SETTLE_S
        while True:
            seen = await self._compare(expected, run)
            if seen.holds or time.monotonic() > deadline_s:
                break
            await asyncio.sleep(1)
        left_s = max(deadline_s, time.monotonic() + 10)
        said = await disagreement(self.product.data_dir, left_s, with_counters=False)
        seen.judge("verify", "verify", said)
        for odd in self.book.odd:
            seen.judge("answer", "a request", odd)
        return seen

    async def _order(self, *, told_late: bool) -> None:
        async with self._asked() as asking:
            for order in self.orders:
                if order.told_late is told_late:
                    await asking.order(order, self.month)

    async def _post(self) -> None:
        """All waves, and the late ones behind them, with the kills in between."""
        async with client() as session, asyncio.TaskGroup() as group:
            posting = Posting(session, self.product.endpoints["http"], self.book, self.seed, self.per_s)
            killing = group.create_task(self._kill())
            late: list[Request] = []
            for first in range(0, self.showings, WAVE):
                numbers = range(first, min(self.showings, first + WAVE))
                now_us = time.time_ns() // 1_000
                shown = [showing(self.seed, number, self.orders, self.month, now_us) for number in numbers]
                begun, behind = requests(self.seed + first, shown)
                late += behind
                tell(f"{len(numbers):,} ads from {first:,} on: {len(begun):,} requests …")
                await posting.all(begun)
            await posting.all(late)
            await killing

    async def _kill(self) -> None:
        """The gateway with its stores, then the drain alone, and so on, spread over the requests."""
        about = 2.5 * self.showings  # requests; fewer, in truth
        for kill in range(2 * self.kills):
            await self._acknowledged(about * (kill + 1) / (2 * self.kills + 2))
            if kill % 2:
                self.killed.append([await asyncio.to_thread(self._kill_drain)])
                continue
            self.killed.append(await asyncio.to_thread(self.product.kill_everything))
            self.product.start()
            await asyncio.to_thread(self.product.wait_ready)

    async def _acknowledged(self, wanted: float) -> None:
        while self.book.acknowledged < wanted:
            await asyncio.sleep(0.02)

    def _kill_drain(self) -> int:
        (pid,) = (one["pid"] for one in self.product.statusz()["processes"] if one["role"] == "postgres_drain")
        assert isinstance(pid, int)
        os.kill(pid, signal.SIGKILL)
        return pid

    def _asked(self) -> _Asked:
        return _Asked(self.product.endpoints)

    async def _compare(self, expected: Ledger, run: Run) -> Verdict:
        seen = Verdict()
        within_a_day = run.begin_us // DAY_US == run.end_us // DAY_US
        async with self._asked() as asking:
            for order in self.orders:
                said = await asking.campaign(order.campaign_id)
                compare.campaign(seen, expected, order, said)
                if within_a_day:
                    compare.today(seen, expected, order, run, said)
                hours = await asking.hours(order.campaign_id, self.month, run.end_us)
                compare.hours(seen, expected, order, run, hours)
                await self._frequency(seen, expected, order, asking)
            compare.top(seen, expected, self.orders, run, [one["campaign_id"] for one in await asking.top()])
            compare.frequencies(seen, expected, run, await asking.frequencies())
            compare.impressions(seen, expected, await asking.rows())
            compare.played(seen, self.book.played, await asking.played())
        return seen

    async def _frequency(self, seen: Verdict, expected: Ledger, order: Campaign, asking: Asking) -> None:
        """What the API says of the profiles that saw this campaign most."""
        totals: dict[UUID, int] = {}
        for (of, profile, _), count in expected.frequencies.items():
            if of == order.campaign_id:
                totals[profile] = totals.get(profile, 0) + count
        for profile in sorted(totals, key=lambda one: (-totals[one], str(one)))[:FREQUENT]:
            said = await asking.campaign(order.campaign_id, profile)
            count = said["frequency"]["total"] if said else -1
            wrong = "" if count == totals[profile] else f"{count}, expected {totals[profile]}"
            seen.judge(compare.FREQUENCY_ASKED, f"{profile} of {order.name}", wrong)


class _Asked:
    """One who asks, for as long as the product lives."""

    def __init__(self, endpoints: dict[str, str]) -> None:
        self._endpoints = endpoints

    async def __aenter__(self) -> Asking:
        self._postgres = await asyncpg.connect(self._endpoints["postgres"], command_timeout=30)
        self._session = aiohttp.ClientSession()
        return Asking(self._session, self._postgres, self._endpoints["admin"])

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()
        await self._postgres.close()


def tell(text: str) -> None:
    """To people who wait; the table alone goes to stdout."""
    sys.stderr.write(f"truth: {text}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./gw truth --ads", description=__doc__)
    parser.add_argument("--ads", action="store_true", help="this")
    parser.add_argument("--showings", type=int, default=SHOWINGS, help=f"ads shown; {SHOWINGS:,} by default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=RATE_PER_S, help="requests a second at most; 0: no limit")
    parser.add_argument("--kills", type=int, default=KILLS, help="of the gateway, and as many of the drain")
    options = parser.parse_args(arguments)
    if not 100 <= options.showings <= SHOWINGS_MAX:
        parser.error(f"--showings: 100 to {SHOWINGS_MAX:,}")
    with tempfile.TemporaryDirectory(prefix="streamverse-ads-") as made:
        directory = Path(made)
        directory.chmod(0o755)  # the embedded PostgreSQL may have to run as another user
        port, admin_port = free_ports(2)
        try:
            with Product(
                directory / "data",
                port=port,
                admin_port=admin_port,
                arguments=["--workers", "2"],
                environment={"INGEST_DOOR_PAST_S": str(LATE_S)},
            ) as product:
                product.start()
                product.wait_ready()
                month = AdMonth(product, options.seed, options.showings, options.rate, options.kills)
                verdict = asyncio.run(month.run())
        except (ProductFailed, aiohttp.ClientError, asyncpg.PostgresError, OSError, TimeoutError, Unclear) as failed:
            tell(f"no verdict: {failed or type(failed).__name__}")
            return 1
        except KeyboardInterrupt:
            return 130
    print(verdict.text())
    print(
        f"{month.book.acknowledged:,} requests acknowledged, {month.book.lost:,} tries lost, {len(month.killed)} kills"
    )
    print("every figure is right" if verdict.holds else "NOT EVERY FIGURE IS RIGHT")
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    sys.exit(main())
