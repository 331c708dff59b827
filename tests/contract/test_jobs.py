"""Jobs on real stores: each turn once in a cluster, when it is due; what they write; an outage that only delays."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from config.hotness import HotnessSettings
from config.settings import RedisSettings
from gateway import job_status
from gateway.hotness_job import FAILURES_MAX, HotnessJob
from gateway.jobs import Jobs, refresh_popularity
from gateway.live_channels_job import SILENCE, LiveChannelsJob
from ingest.clock import SystemClock
from live.source import Source, Unavailable
from storage import reader_status
from storage.postgres.job import Job, JobFailed
from storage.reader_status import ReaderStatus
from storage.redis import key
from storage.redis.connection import connect
from storage.sink import StoreError
from tests.contract.connected import connected, migrated
from tests.in_loop import in_loop

HOUR_S = 3_600.0
CONTENT = UUID(int=1)


class Stores:
    """A migrated PostgreSQL and an empty Valkey with a registration, whose readers run, by what they say."""

    def __init__(self, postgres_url: str, redis_url: str, data_dir: Path) -> None:
        async def nothing(connection: asyncpg.Connection) -> None:
            """The schema is all that is wanted."""

        migrated(postgres_url, nothing)
        self.postgres_url, self.redis_url, self.data_dir = postgres_url, redis_url, data_dir
        self.client: Any = None

    async def begin(self) -> None:
        self.client = connect(self.redis_url)
        await self.client.flushall()
        await self.client.set(key.REGISTRATION, b"5a" * 16)
        self.say("redis")
        self.say("derived")

    def say(self, reader: str, state: Any = "running") -> None:
        now_us = SystemClock().now_us() + 60_000_000  # for as long as a test takes
        reader_status.write(self.data_dir, ReaderStatus(reader, state, "", 1, now_us, {}))

    def source(self) -> Source:
        settings = RedisSettings()
        return Source(
            lambda: self.redis_url,
            lambda: reader_status.read(self.data_dir, "redis"),
            lambda: settings,
            SystemClock(),
        )

    def hotness(self, **settings: Any) -> HotnessJob:
        return HotnessJob(self.source(), self.data_dir, HotnessSettings(**settings), SystemClock())

    async def ask(self, query: str, *arguments: Any) -> list[Any]:
        async with connected(self.postgres_url) as connection:
            return list(await connection.fetch(query, *arguments))

    async def run(self, work: Callable[[asyncpg.Connection], Awaitable[str]]) -> str:
        async with connected(self.postgres_url) as connection:
            return await work(connection)

    async def views(self, count: int, hours_ago: int = 0, content: UUID = CONTENT) -> None:
        """As Redis counts them."""
        hour = key.hour_of(SystemClock().now_us()) - hours_ago
        await self.client.hset(key.views(hour), str(content), count)

    async def know(self, content: UUID = CONTENT) -> None:
        await self.ask("INSERT INTO content (id, type, title) VALUES ($1, 'movie', 'a title')", content)

    async def scores(self) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self.ask("SELECT * FROM content_hotness ORDER BY content_id")]


@pytest.fixture
def stores(embedded_url: str, valkey_url: str, tmp_path: Path) -> Stores:
    return Stores(embedded_url, valkey_url, tmp_path)


def counting(done: list[int]) -> Callable[[asyncpg.Connection], Awaitable[str]]:
    async def work(_: asyncpg.Connection) -> str:
        done.append(1)
        await asyncio.sleep(0.05)
        return "counted"

    return work


@in_loop
async def test_of_many_who_come_at_once_one_does_it_and_nobody_again_before_it_is_due(stores: Stores) -> None:
    done: list[int] = []
    jobs = [Job("counting", HOUR_S, stores.postgres_url, counting(done)) for _ in range(6)]
    turns = await asyncio.gather(*(job.turn() for job in jobs))
    turns += await asyncio.gather(*(job.turn() for job in jobs))
    assert len(done) == 1
    assert [turn.outcome for turn in turns if turn is not None] == ["done"]
    await stores.ask("UPDATE ingest_jobs SET started_at = started_at - interval '1 hour'")
    assert [turn is None for turn in [await job.turn() for job in jobs]] == [False] + [True] * 5
    (row,) = await stores.ask("SELECT * FROM ingest_jobs")
    assert (row["outcome"], row["detail"]) == ("done", "counted") and row["ended_at"] >= row["started_at"]
    for job in jobs:
        await job.close()


@in_loop
async def test_a_turn_that_failed_says_why_and_is_due_again_soon_a_clock_set_back_delays_none(stores: Stores) -> None:
    async def failing(connection: asyncpg.Connection) -> str:
        await connection.execute("SELECT 1 / 0")
        return ""

    job = Job("failing", 24 * HOUR_S, stores.postgres_url, failing)
    turn = await job.turn()
    assert turn is not None and turn.outcome == "failed" and "DivisionByZero" in turn.detail
    assert await job.turn() is None
    await stores.ask("UPDATE ingest_jobs SET started_at = started_at - interval '10 minutes'")
    assert await job.turn() is not None
    await stores.ask("UPDATE ingest_jobs SET started_at = started_at + interval '2 days'")
    assert await job.turn() is not None
    await job.close()


@in_loop
async def test_a_gateway_that_dies_in_the_middle_leaves_nothing_locked(stores: Stores) -> None:
    async def dying(connection: asyncpg.Connection) -> str:
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return ""

    dead, done = Job("work", HOUR_S, stores.postgres_url, dying), list[int]()
    with pytest.raises(StoreError):
        await dead.turn()
    await stores.ask("UPDATE ingest_jobs SET started_at = started_at - interval '10 minutes'")
    other = Job("work", HOUR_S, stores.postgres_url, counting(done))
    assert await other.turn() is not None and done == [1]
    await other.close()


@in_loop
async def test_an_outage_delays_jobs_and_ends_none(stores: Stores) -> None:
    done: list[int] = []
    job = Job("counting", 0.001, stores.postgres_url, counting(done))
    jobs = Jobs([(job, 60.0)], stores.data_dir)
    at = urlsplit(stores.postgres_url)
    name = at.path.strip("/")
    await jobs.turn(job)
    async with connected(at._replace(path="/postgres").geturl()) as other:
        await other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await other.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", name)
        await jobs.turn(job)
        (status,) = job_status.read(stores.data_dir)
        assert status.outcome == "failed"
        await other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await jobs.turn(job)
    (status,) = job_status.read(stores.data_dir)
    assert (status.job, status.outcome, status.detail, len(done)) == ("counting", "done", "counted", 2)
    await job.close()


@in_loop
async def test_hotness_is_written_from_redis_by_the_specifications_score(stores: Stores) -> None:
    await stores.begin()
    await stores.know()
    unknown, unwatched = uuid4(), UUID(int=2)
    await stores.know(unwatched)
    await stores.ask("INSERT INTO content_hotness (content_id, view_count_30d) VALUES ($1, 7)", unwatched)
    await stores.views(5_000)
    await stores.views(3_000, hours_ago=100)
    await stores.views(1_000, hours_ago=700)
    await stores.views(9_000, content=unknown)
    job = stores.hotness()
    assert "3 rows changed" not in await stores.run(job.run)
    hot, cold = await stores.scores()
    score = (5_000 * 0.5 + 8_000 * 0.3 + 9_000 * 0.2) / 10_000
    assert hot[:7] == (CONTENT, pytest.approx(score, abs=1e-15), 5_000, 8_000, 9_000, 2, 21_600)
    assert cold[:7] == (unwatched, 0.0, 0, 0, 0, 3, 3_600)
    assert ", 0 rows changed" in await stores.run(job.run)
    await stores.views(4_000, hours_ago=100)  # a late play moved one
    await stores.run(job.run)
    assert (await stores.scores())[0][3:5] == (9_000, 10_000)


@in_loop
@pytest.mark.parametrize(("views", "tier"), [(8_000, 1), (7_999, 2), (5_000, 2), (4_999, 3)])
async def test_a_score_at_a_threshold_is_of_the_better_tier(stores: Stores, views: int, tier: int) -> None:
    await stores.begin()
    await stores.know()
    await stores.views(views)
    await stores.run(stores.hotness().run)
    assert (await stores.scores())[0][5] == tier
    await stores.ask("INSERT INTO content_views_hourly VALUES ($1, date_trunc('hour', now()), $2)", CONTENT, views)
    assert (await stores.ask("SELECT update_content_hotness()"))[0][0] == 0, "SQL says the same"


@in_loop
async def test_its_numbers_are_settings(stores: Stores) -> None:
    await stores.begin()
    await stores.know()
    await stores.views(10)
    await stores.run(stores.hotness(divisor=20, score_global=0.4, score_regional=0.3, ttl_global_s=9).run)
    assert (await stores.scores())[0][1:7] == (0.5, 10, 10, 10, 1, 9)


@in_loop
async def test_what_two_who_count_differ_by_is_told_and_both_come_to_the_same_row(stores: Stores) -> None:
    await stores.begin()
    await stores.know()
    for hours_ago, views in ((0, 60), (30, 30), (400, 10)):
        await stores.views(views, hours_ago=hours_ago)
        await stores.ask(
            "INSERT INTO content_views_hourly VALUES ($1, date_trunc('hour', now()) - $2 * interval '1 hour', $3)",
            CONTENT, hours_ago, views,
        )  # fmt: skip
    job = stores.hotness()
    assert "differ by 0.000%" in await stores.run(job.run)
    by_redis = await stores.scores()
    assert (await stores.ask("SELECT update_content_hotness()"))[0][0] == 0
    assert await stores.scores() == by_redis
    await stores.ask("UPDATE content_views_hourly SET views = views - 5 WHERE views = 10")
    assert "differ by 5.000%" in await stores.run(job.run)
    stores.say("derived", "waiting")
    assert "are behind" in await stores.run(job.run)


@in_loop
async def test_sums_in_sql_take_over_after_some_turns_without_redis_and_only_when_they_are_complete(
    stores: Stores,
) -> None:
    await stores.begin()
    await stores.know()
    await stores.ask("INSERT INTO content_views_hourly VALUES ($1, date_trunc('hour', now()), 20)", CONTENT)
    stores.say("redis", "rebuild_needed")
    job = stores.hotness()
    for _ in range(FAILURES_MAX - 1):
        with pytest.raises(JobFailed, match="stays as it was"):
            await stores.run(job.run)
    stores.say("derived", "waiting")
    with pytest.raises(JobFailed, match="SQL are behind"):
        await stores.run(job.run)
    assert await stores.scores() == []
    stores.say("derived")
    assert "from the sums in SQL: 1 rows changed" in await stores.run(job.run)
    assert (await stores.scores())[0][2] == 20
    stores.say("redis")
    await stores.views(30)
    assert "from Redis" in await stores.run(job.run)
    assert (await stores.scores())[0][2] == 30


@in_loop
async def test_counts_that_were_begun_anew_are_read_anew(stores: Stores) -> None:
    await stores.begin()
    await stores.know()
    await stores.views(50, hours_ago=3)
    job = stores.hotness()
    await stores.run(job.run)
    await stores.client.flushall()
    with pytest.raises(JobFailed):
        await stores.run(job.run)
    await stores.client.set(key.REGISTRATION, b"a5" * 16)
    await stores.views(8)
    await stores.run(job.run)
    assert (await stores.scores())[0][2:5] == (8, 8, 8)


async def a_channel(stores: Stores, content: UUID, **columns: Any) -> None:
    await stores.know(content)
    await stores.ask(
        "INSERT INTO live_channels (content_id, is_live, viewer_count) VALUES ($1, $2, $3)",
        content, columns.get("is_live", False), columns.get("viewer_count", 0),
    )  # fmt: skip


async def watched(stores: Stores, content: UUID, viewers: int) -> None:
    until_s = SystemClock().now_us() / 1e6 + 60
    name = key.viewers(content)
    await stores.client.delete(name)
    if viewers:
        await stores.client.zadd(name, {uuid4().bytes: until_s for _ in range(viewers)})


async def channels(stores: Stores) -> list[tuple[bool, int]]:
    rows = await stores.ask("SELECT is_live, viewer_count FROM live_channels ORDER BY content_id")
    return [(row["is_live"], row["viewer_count"]) for row in rows]


@in_loop
async def test_a_channel_is_live_with_its_first_viewer_and_until_a_minute_behind_its_last(stores: Stores) -> None:
    await stores.begin()
    mine, announced = UUID(int=1), UUID(int=2)
    await a_channel(stores, mine)
    await a_channel(stores, announced, is_live=True)  # by hand; nobody has watched it yet
    job = LiveChannelsJob(stores.source())
    await stores.ask(
        "INSERT INTO ingest_jobs (name, started_at, done_at) VALUES ('live_channels', now(), now() + $1)", SILENCE
    )
    await watched(stores, mine, 3)
    assert "1 channels changed" in await stores.run(job.run)
    assert "0 channels changed" in await stores.run(job.run)
    assert await channels(stores) == [(True, 3), (True, 0)]
    await watched(stores, mine, 0)
    await stores.run(job.run)
    assert await channels(stores) == [(True, 0), (True, 0)]
    await stores.ask("UPDATE live_channel_silences SET since = since - $1::interval / 2", SILENCE)
    await watched(stores, mine, 1)
    await stores.run(job.run)
    await watched(stores, mine, 0)
    await stores.run(job.run)
    await stores.ask("UPDATE live_channel_silences SET since = since - $1::interval / 2", SILENCE)
    await stores.run(job.run)
    assert await channels(stores) == [(True, 0), (True, 0)], "its silence began anew"
    await stores.ask("UPDATE live_channel_silences SET since = since - $1::interval", SILENCE)
    await stores.ask("UPDATE ingest_jobs SET done_at = done_at - 2 * $1::interval", SILENCE)
    await stores.run(job.run)
    assert await channels(stores) == [(True, 0), (True, 0)], "nobody had looked"
    await stores.ask("UPDATE ingest_jobs SET done_at = done_at + 2 * $1::interval", SILENCE)
    await stores.ask("UPDATE live_channel_silences SET since = since - $1::interval", SILENCE)
    await stores.run(job.run)
    assert await channels(stores) == [(False, 0), (True, 0)]
    assert await stores.ask("SELECT FROM live_channel_silences") == []


@in_loop
async def test_channels_stay_as_they_were_while_numbers_are_not_right(stores: Stores) -> None:
    await stores.begin()
    await a_channel(stores, CONTENT, is_live=True, viewer_count=5)
    stores.say("redis", "waiting")
    with pytest.raises(JobFailed, match="stay as they were"):
        await stores.run(LiveChannelsJob(stores.source()).run)
    assert await channels(stores) == [(True, 5)]


@in_loop
async def test_popularity_is_refreshed(stores: Stores) -> None:
    await stores.know()
    await stores.ask("INSERT INTO content_views_hourly VALUES ($1, date_trunc('hour', now()), 20)", CONTENT)
    assert await stores.run(refresh_popularity) == "refreshed"
    assert [tuple(row) for row in await stores.ask("SELECT content_id, total_views FROM content_popularity")] == [
        (CONTENT, 20)
    ]


@in_loop
async def test_a_source_without_a_registration_says_so(stores: Stores) -> None:
    await stores.begin()
    await stores.client.delete(key.REGISTRATION)
    with pytest.raises(JobFailed):
        await stores.run(stores.hotness().run)
    with pytest.raises(Unavailable):
        await stores.source().sample()
