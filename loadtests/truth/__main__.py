"""Whether every number is right, `./gw truth`: a seeded crowd, and each number that is served beside its ledger's.

Starts a gateway of two collectors with stores of its own. Thirty hours of sessions are posted in any order (offline
spells, resends, wrong clocks, plays across midnight), then some whose every stall is known, then those of people who
watch now, whose number is read until the last lease has run out. Then Valkey is flushed, its counters are rebuilt,
others come to watch, and all is compared again. Exit code 1 when a number is wrong. With --ads it is the figures of
campaigns instead (`loadtests.ads`), with options of their own: --ads --help.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import aiohttp
import asyncpg
import redis.asyncio as redis

from loadtests.ads.__main__ import main as ads
from loadtests.catalogue import catalogue
from loadtests.expectation import NOTHING, Bounds, Views, expected_views
from loadtests.ledger import Ledger
from loadtests.product import Product, ProductFailed
from loadtests.truth import evening, hotness
from loadtests.truth.asking import Asking, Live
from loadtests.truth.posting import post_all
from loadtests.truth.progress import expected_progress
from loadtests.truth.quality import Edge, Watched
from loadtests.truth.seated import Seated, seated, told
from loadtests.truth.verdict import Verdict
from loadtests.truth.viewers import streams_at, viewers_at, watches
from loadtests.verifying import command
from loadtests.viewing import Viewing

SESSIONS: Final = 100_000
SESSIONS_MAX: Final = 1_000_000
WATCHING_SHARE: Final = 0.2
WATCHING_MAX: Final = 4_000  # posted within a part of a lease
LEASE_S: Final = 25.0  # 2.5 heartbeats of ten seconds, as the gateway ships
TOP: Final = 100  # contents that /v1/live names at most
USERS: Final = 60  # whose streams are asked for: those with most sessions
STREAMS_AT_ONCE: Final = 12  # of them in each turn
LIVE_EVERY_S: Final = 1.5
SETTLE_S: Final = 300.0
JOBS_S: Final = 180.0  # hotness is written every minute, and who waits for the catalogue is looked for every minute
KNOWN_MAX: Final = 2_000
KNOWN_AT_ONCE: Final = 100  # posted within less than the five seconds that an event may be late
FOLLOWED: Final = {"INGEST_QOE_SESSIONS_MAX": "1000000", "INGEST_QOE_SIGNS_PER_S_MAX": "1000000"}  # all, no sample
UNKNOWN_SHARE: Final = 0.2  # of the profiles, until the end


class Truth:
    """One run. `tell` says to people what happens."""

    def __init__(
        self, product: Product, asking: Asking, store: redis.Redis, directory: Path, seed: int, sessions: int
    ) -> None:
        self.product, self.asking, self.store, self.directory = product, asking, store, directory
        self.seed, self.sessions = seed, sessions
        self.verdict = Verdict()
        self._waves = 0
        self._users: dict[UUID, UUID] = {}
        """Profile → its user, of those that the catalogue knows."""

    async def run(self) -> Verdict:
        """Everything; raises the errors of asking, and TimeoutError."""
        known, unknown = self._profiles()
        await self.asking.know_contents(self.seed)
        self._users |= await self.asking.know_profiles(self.seed, known)
        now_ms = time.time_ns() // 1_000_000
        await self._post(list(evening.past(self.seed, self.sessions, now_ms)), "of the last thirty hours")
        await self.asking.settled(SETTLE_S)
        known_edges = await self._known()
        await self._watch("")
        self._users |= await self.asking.know_profiles(self.seed, unknown)
        await self._compare("")
        await self._quality(known_edges, "")
        await self._flush_and_rebuild()
        known_edges = await self._known()
        await self._watch(", Valkey rebuilt")
        await self._compare(", Valkey rebuilt")
        await self._quality(known_edges, ", Valkey rebuilt")
        return self.verdict

    def _profiles(self) -> tuple[range, range]:
        many = evening.profiles_count(self.sessions)
        first_unknown = int(many * (1 - UNKNOWN_SHARE))
        return range(first_unknown), range(first_unknown, many)

    async def _post(self, viewings: Sequence[Viewing], which: str) -> None:
        requests = evening.requests(self.seed + self._waves, viewings)
        tell(f"{len(viewings):,} sessions {which}: {len(requests):,} requests …")
        await self._send(requests)

    async def _send(self, requests: Sequence[evening.Request]) -> None:
        self._waves += 1
        path = self.directory / f"truth-{self._waves}.ledger"
        tally = await post_all(self.product.endpoints["http"], requests, path, self.seed + self._waves)
        if tally.given_up:
            raise TimeoutError(f"{tally.given_up} events were never answered")

    def _ledger(self) -> Ledger:
        return Ledger.read(sorted(self.directory.glob("*.ledger")))

    async def _watch(self, when: str) -> None:
        """People come to watch; who does is read until the last of them has gone."""
        many = min(WATCHING_MAX, int(self.sessions * WATCHING_SHARE))
        now_ms = time.time_ns() // 1_000_000
        watching = list(evening.watching(self.seed, many, now_ms, self.sessions))
        await self._post(watching, "who watch now")
        await self.asking.settled(LEASE_S, "redis")
        said: list[tuple[Live, Seated]] = []
        streams: list[tuple[UUID, int, frozenset[UUID]]] = []
        named = Counter(one.steps[0].event.get("profile_id") for one in watching if one.steps)
        known = [UUID(profile) for profile, _ in named.most_common() if profile and UUID(profile) in self._users]
        asked = known[:USERS]
        until_s = time.monotonic() + LEASE_S + 2
        titles = catalogue(self.seed)
        while time.monotonic() < until_s:
            live, of_one = await self.asking.live(), await self.asking.live_of(titles[len(said) % 7].content_id)
            there = await seated(self.store)
            said += [(live, there), (of_one, there)]
            turn = asked[len(streams) % len(asked) :][:STREAMS_AT_ONCE]
            streams += [(profile, *await self.asking.streams(self._users[profile])) for profile in turn]
            await asyncio.sleep(LIVE_EVERY_S)
        ledger = self._ledger()
        found = watches(ledger, round(LEASE_S * 1e6))
        if not any(one.viewers for one, _ in said):
            raise TimeoutError("nobody watched any more when it could be asked")
        for one, there in said:
            expected = viewers_at(found, one.as_of_us)
            is_of_all = len(one.contents) != 1
            for content in one.contents.keys() | (expected.keys() if is_of_all and len(one.contents) < TOP else ()):
                bounds, viewers = expected.get(content, NOTHING), one.contents.get(content, 0)
                what = f"{content} at {one.as_of_us}"
                why = partial(told, ledger, found, there, content, one.as_of_us)
                self.verdict.number("viewers of a content" + when, what, viewers, bounds, why)
            if is_of_all:
                total = Bounds(sum(b.least for b in expected.values()), sum(b.most for b in expected.values()))
                self.verdict.number("viewers in all" + when, one.as_of_us, one.viewers, total)
        for profile, at_us, sessions in streams:
            must, may = streams_at(found, profile, at_us)
            wrong = "" if must <= sessions <= may else f"{len(sessions)} sessions, expected {len(must)} to {len(may)}"
            self.verdict.judge("streams of a user" + when, f"{profile} at {at_us}", wrong, exactly=must == may)

    async def _compare(self, when: str) -> None:
        """What settles: looked at until it is right, and judged as it is when that takes too long."""
        tell("comparing views, hotness and watch history with the ledger …")
        ledger = self._ledger()
        views = expected_views(ledger)
        await self._until_right(lambda: self._hours(views, "views of a content and hour, in SQL" + when))
        await self._until_right(lambda: self._hotness(views, "hotness of a content" + when))
        await self._until_right(lambda: self._progress(ledger, "position of a profile in a content" + when))

    async def _until_right(self, look: Callable[[], Awaitable[Verdict]]) -> None:
        deadline_s = time.monotonic() + JOBS_S
        while not (seen := await look()).holds and time.monotonic() < deadline_s:
            await asyncio.sleep(1)
        self.verdict.take(seen.kinds)

    async def _hours(self, views: Views, kind: str) -> Verdict:
        seen, said = Verdict(), await self.asking.hours()
        for at in views.by_hour.keys() | said.keys():
            seen.number(kind, at, said.get(at, 0), views.by_hour.get(at, NOTHING))
        return seen

    async def _hotness(self, views: Views, kind: str) -> Verdict:
        seen = Verdict()
        for content in sorted(views.by_content):
            hour = int(time.time()) // 3_600
            said = await self.asking.hotness(content)
            expected = [hotness.windows(views, content, at) for at in (hour, hour - 1)]
            missing = "" if expected[0][2].least == 0 else "it has none"
            wrong = missing if said is None else hotness.wrong(said, expected, DIVISOR)
            seen.judge(kind, content, wrong, exactly=all(b.least == b.most for b in expected[0]))
        return seen

    async def _progress(self, ledger: Ledger, kind: str) -> Verdict:
        seen, expected = Verdict(), expected_progress(ledger)
        said = await self.asking.progress(sorted({profile for profile, _ in expected}))
        for key in expected.keys() | said.keys():
            places, place = expected.get(key, frozenset()), said.get(key)
            wrong = "" if place in places else f"{place}, expected one of {list(places)[:3]}"
            seen.judge(kind, f"profile {key[0]} content {key[1]}", wrong, exactly=len(places) == 1)
        return seen

    async def _known(self) -> Mapping[str, Edge]:
        """People whose every stall is known, on edges of their own, as many at once as can be posted in a moment."""
        many = min(KNOWN_MAX, self.sessions // 10)
        tell(f"{many:,} sessions whose quality is known …")
        edges = [f"truth-{self._waves}-{name}" for name in ("ams", "fra", "iad")]
        watched = Watched(self.seed + self._waves, edges, [one.content_id for one in catalogue(self.seed)])
        for first in range(0, many, KNOWN_AT_ONCE):
            now_ms = time.time_ns() // 1_000_000
            sessions = watched.sessions(min(KNOWN_AT_ONCE, many - first), now_ms)
            await self._send(evening.requests_of(self.seed + self._waves, sessions))
        return watched.edges

    async def _quality(self, edges: Mapping[str, Edge], when: str) -> None:
        async def look() -> Verdict:
            seen, said = Verdict(), await self.asking.quality()
            for name, edge in edges.items():
                wrong = edge.wrong(said[name]) if name in said else "it has none"
                seen.judge("quality of experience of an edge" + when, name, wrong)
            return seen

        await self._until_right(look)

    async def _flush_and_rebuild(self) -> None:
        tell("flushing Valkey, and rebuilding its counters …")
        await self.store.flushall()
        code, said = await command(self.product.data_dir, "counters", "rebuild")
        if code:
            raise ProductFailed(f"counters rebuild ended with {code}: {said}")
        await self.asking.settled(SETTLE_S)
        await self.asking.counts(SETTLE_S)


DIVISOR: Final = 10_000.0


async def play(product: Product, directory: Path, options: argparse.Namespace) -> Verdict:
    """Against a running product."""
    postgres = await asyncpg.connect(product.endpoints["postgres"])
    store = redis.Redis.from_url(product.endpoints["redis"])
    try:
        async with aiohttp.ClientSession() as session:
            asking = Asking(session, postgres, product.endpoints["admin"])
            await asking.counts(SETTLE_S)
            return await Truth(product, asking, store, directory, options.seed, options.sessions).run()
    finally:
        await store.aclose()
        await postgres.close()


def tell(text: str) -> None:
    """To people who wait; the table alone goes to stdout."""
    sys.stderr.write(f"truth: {text}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--ads" in arguments:
        return ads(arguments)
    parser = argparse.ArgumentParser(prog="./gw truth", description=__doc__)
    parser.add_argument("--sessions", type=int, default=SESSIONS, help=f"{SESSIONS:,} by default")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if not 100 <= options.sessions <= SESSIONS_MAX:
        parser.error(f"--sessions: 100 to {SESSIONS_MAX:,}")
    with tempfile.TemporaryDirectory(prefix="streamverse-truth-") as made:
        directory = Path(made)
        directory.chmod(0o755)  # the embedded PostgreSQL may have to run as another user
        try:
            with Product(directory / "data", arguments=["--workers", "2"], environment=FOLLOWED) as product:
                product.start()
                product.wait_ready()
                verdict = asyncio.run(play(product, directory, options))
        except (ProductFailed, aiohttp.ClientError, asyncpg.PostgresError, redis.RedisError, OSError) as failed:
            tell(f"no verdict: {failed or type(failed).__name__}")
            return 1
        except KeyboardInterrupt:
            return 130
    print(verdict.text())
    print("every number is right" if verdict.holds else "NOT EVERY NUMBER IS RIGHT")
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    sys.exit(main())
