"""What collectors share of a key's rate, in a real Valkey; and without it."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

from gateway import rate_sharing
from gateway.embedded import EmbeddedValkey
from ingest.clock import SystemClock
from ingest.keyring import Key
from ingest.rate import Rates, Report
from storage.redis import key as keys
from storage.redis.connection import connect
from storage.redis.rate import AT_ONCE, Pools

REQUEST = 5
"""Events."""


def with_pools(url: str, scenario: Callable[[Any, Pools, Pools], Coroutine[Any, Any, Any]]) -> Any:
    """As two collectors of two gateways."""

    async def main() -> Any:
        client = connect(url)
        try:
            return await scenario(client, Pools(client, os.urandom(8)), Pools(client, os.urandom(8)))
        finally:
            await client.aclose()

    return asyncio.run(main())


def a_report(spent: int, rate: int = 1, burst: int = 100, bucket: str = "b") -> Report:
    return Report(bucket, rate, burst, spent)


async def balance(pools: Pools, report: Report) -> int:
    (standing,) = await pools.settle([report])
    assert standing.bucket == report.bucket
    return standing.balance


def test_a_pool_is_full_at_first_and_knows_what_all_have_spent(valkey_url: str) -> None:
    async def scenario(client: Any, one: Pools, other: Pools) -> None:
        slow = a_report(0, rate=1, burst=1_000_000)
        assert await balance(one, slow) == 1_000_000
        assert 700_000 <= await balance(one, slow._replace(spent=300_000)) <= 700_100
        assert 600_000 <= await balance(other, slow._replace(spent=100_000)) <= 600_100, "more than half: all of it"
        assert 200_000 <= await balance(other, slow._replace(spent=200_000)) <= 200_100, "less: a share"
        assert -100_000 <= await balance(one, slow._replace(spent=500_000)) <= -99_900, "the debt of all"
        assert -100_000 <= await balance(other, slow) <= -99_900
        seconds = await client.ttl(keys.rate("b"))
        assert 1_100_000 - 200 < seconds <= 1_100_061, "until it is full again, and a minute"

    with_pools(valkey_url, scenario)


def test_a_pool_fills_by_its_rate_up_to_its_burst_and_who_falls_silent_has_no_share(valkey_url: str) -> None:
    async def scenario(_: Any, one: Pools, other: Pools) -> None:
        assert await balance(one, a_report(0)) == await balance(other, a_report(0)) == 100
        begun_s = time.monotonic()
        assert await balance(one, a_report(70, rate=20)) <= 15 + 20 * (time.monotonic() - begun_s)
        await asyncio.sleep(1.2)
        alone = await balance(one, a_report(0, rate=20))
        assert alone >= 30 + 20, "what it refilled, and all of it: the other has said nothing for a second"
        await asyncio.sleep(0.1)
        assert await balance(one, a_report(0, rate=1_000)) == 100

    with_pools(valkey_url, scenario)


def test_many_pools_are_settled_together_and_by_a_server_that_forgot_the_script(valkey_url: str) -> None:
    async def scenario(client: Any, one: Pools, _: Pools) -> None:
        reports = [a_report(number % 7, bucket=f"b{number}") for number in range(AT_ONCE + 3)]
        await one.settle(reports)
        await client.script_flush()
        standings = await one.settle([report._replace(spent=0) for report in reports])
        assert [standing.bucket for standing in standings] == [report.bucket for report in reports]
        assert all(100 - n % 7 <= one.balance <= 100 for n, one in enumerate(standings))
        assert await one.settle([]) == []

    with_pools(valkey_url, scenario)


def test_two_collectors_take_rate_and_burst_together_and_each_alone_without_redis(tmp_path: Any) -> None:
    key, clock = Key("k", b"", "acme", rate=100, burst=50, bucket="k"), SystemClock()
    server = EmbeddedValkey(tmp_path)

    async def flood(every: list[Rates], enough: Callable[[], bool]) -> tuple[int, float]:
        """What was let in of far too much, and in how many seconds."""
        begun_s, taken = clock.monotonic_s(), 0
        while not enough():
            for rates in every:
                now_s = clock.monotonic_s()
                if not rates.wait_s(key, now_s):
                    rates.charge(key, REQUEST, now_s)
                    taken += REQUEST
            await asyncio.sleep(0.002)
        return taken, clock.monotonic_s() - begun_s

    def after(seconds: float) -> Callable[[], bool]:
        until_s = clock.monotonic_s() + seconds
        return lambda: clock.monotonic_s() >= until_s

    async def main() -> None:
        url = await server.start()
        every, together = [Rates(), Rates()], 2 * (50 + REQUEST)
        sharing = [asyncio.ensure_future(rate_sharing.run(rates, lambda: url, clock)) for rates in every]
        try:
            taken, took_s = await flood(every, after(2.0))
            assert 50 <= taken <= 100 * took_s + together
            await server.stop(5)
            await flood(every, after(1.2))
            alone, took_s = await flood(every, after(2.0))
            assert 100 * took_s + together < alone <= 2 * 100 * took_s + together, "each by itself"
            await server.start()
            await flood(every, lambda: all(rates._buckets["k"].shared_until_s > clock.monotonic_s() for rates in every))
            again, took_s = await flood(every, after(2.0))
            assert again <= 100 * took_s + together, "as before"
        finally:
            for task in sharing:
                task.cancel()
            await asyncio.gather(*sharing, return_exceptions=True)
            await server.stop(5)

    asyncio.run(main())
