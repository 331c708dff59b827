"""What the schema does by itself: five profiles a user, updated_at, hotness, popularity, the derived columns of ads."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from storage.postgres import migration
from tests.contract.connected import connected, migrated, on

NOW = datetime(2026, 11, 22, 12, 10, tzinfo=UTC)
RUNNING_HOUR = datetime(2026, 11, 22, 12, tzinfo=UTC)
ADD_PROFILE = "INSERT INTO profiles (user_id, name) VALUES ($1, 'p') RETURNING id"


async def a_user(conn: asyncpg.Connection, name: str = "u") -> UUID:
    user: UUID = await conn.fetchval(
        "INSERT INTO users (email, username, password_hash) VALUES ($1, $1, 'x') RETURNING id", name
    )
    return user


async def a_profile(conn: asyncpg.Connection, user: UUID) -> UUID:
    profile: UUID = await conn.fetchval(ADD_PROFILE, user)
    return profile


async def a_content(conn: asyncpg.Connection, title: str = "t") -> UUID:
    content: UUID = await conn.fetchval("INSERT INTO content (type, title) VALUES ('movie', $1) RETURNING id", title)
    return content


async def views(conn: asyncpg.Connection, content: UUID, hours_ago: int, count: int) -> None:
    hour = RUNNING_HOUR - timedelta(hours=hours_ago)
    await conn.execute("INSERT INTO content_views_hourly VALUES ($1, $2, $3)", content, hour, count)


async def hotness(conn: asyncpg.Connection, content: UUID) -> tuple[float, int, int, int, int]:
    row = await conn.fetchrow(
        "SELECT hotness_score, view_count_24h, view_count_7d, view_count_30d, replication_tier "
        "FROM content_hotness WHERE content_id = $1",
        content,
    )
    return tuple(row)


def test_of_thirty_profiles_at_once_five_come_in(postgres_url: str) -> None:
    user = migrated(postgres_url, a_user)

    async def one(start: asyncio.Event) -> bool:
        async with connected(postgres_url) as conn:
            await start.wait()
            try:
                await conn.execute(ADD_PROFILE, user)
            except asyncpg.CheckViolationError:
                return False
            return True

    async def race() -> list[bool]:
        start = asyncio.Event()
        running = [asyncio.create_task(one(start)) for _ in range(30)]
        await asyncio.sleep(0.5)
        start.set()
        return await asyncio.gather(*running)

    assert sum(asyncio.run(race())) == 5
    slots = on(postgres_url, lambda conn: conn.fetch("SELECT slot FROM profiles ORDER BY slot"))
    assert [row["slot"] for row in slots] == [1, 2, 3, 4, 5]


def test_a_snapshot_older_than_the_fifth_profile_admits_no_sixth(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        user = await a_user(conn)
        for _ in range(4):
            await a_profile(conn, user)
        async with connected(postgres_url) as other:
            late = other.transaction(isolation="repeatable_read")
            await late.start()
            assert await other.fetchval("SELECT count(*) FROM profiles") == 4
            await a_profile(conn, user)
            with pytest.raises(asyncpg.UniqueViolationError):
                await a_profile(other, user)
            await late.rollback()
        assert await conn.fetchval("SELECT count(*) FROM profiles") == 5

    migrated(postgres_url, scenario)


def test_six_profiles_come_in_by_no_other_way(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        full, other = await a_user(conn, "full"), await a_user(conn, "other")
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await conn.execute("INSERT INTO profiles (user_id, name) SELECT $1, 'p' FROM generate_series(1, 6)", full)
        assert refused.value.constraint_name == "profiles_at_most_five"
        await conn.execute("INSERT INTO profiles (user_id, name) SELECT $1, 'p' FROM generate_series(1, 5)", full)
        profile = await a_profile(conn, other)
        with pytest.raises(asyncpg.CheckViolationError):
            await conn.execute("UPDATE profiles SET user_id = $1 WHERE id = $2", full, profile)
        with pytest.raises(asyncpg.CheckViolationError):
            await conn.execute("UPDATE profiles SET slot = 6 WHERE id = $1", profile)

    migrated(postgres_url, scenario)


def test_a_profile_taken_away_makes_room_and_one_there_already_needs_none(postgres_url: str) -> None:
    upsert = "INSERT INTO profiles (id, user_id, name) VALUES ($1, $2, 'x') ON CONFLICT (id) DO UPDATE SET name = 'new'"

    async def scenario(conn: asyncpg.Connection) -> None:
        user = await a_user(conn)
        profiles = [await a_profile(conn, user) for _ in range(5)]
        await conn.execute(upsert, profiles[2], user)
        assert await conn.fetchval("SELECT name FROM profiles WHERE id = $1", profiles[2]) == "new"
        await conn.execute("DELETE FROM profiles WHERE id = $1", profiles[2])
        await a_profile(conn, user)
        await conn.execute("DELETE FROM users")
        assert await conn.fetchval("SELECT count(*) FROM profiles") == 0

    migrated(postgres_url, scenario)


@pytest.mark.parametrize("table", ["users", "profiles", "content"])
def test_updated_at_moves_with_every_update(postgres_url: str, table: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        await a_profile(conn, await a_user(conn))
        await a_content(conn)
        before = await conn.fetchrow(f"SELECT created_at, updated_at FROM {table}")
        await conn.execute(f"UPDATE {table} SET id = id")
        after = await conn.fetchrow(f"SELECT created_at, updated_at FROM {table}")
        assert after["updated_at"] > before["updated_at"]
        assert after["created_at"] == before["created_at"]

    migrated(postgres_url, scenario)


def test_hotness_has_the_numbers_of_the_specification(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        await conn.execute("SET TimeZone = 'Asia/Kolkata'")  # 17:40 there: half an hour off UTC's hours
        edge, hot, warm, cool, unwatched = [await a_content(conn) for _ in range(5)]
        for hours_ago, count in [(0, 1), (23, 10), (24, 100), (167, 1_000), (168, 2_000), (719, 5_000), (720, 99_999)]:
            await views(conn, edge, hours_ago, count)
        await views(conn, edge, -1, 99_999)  # an hour that is still to come
        await views(conn, hot, 1, 7_999)  # 24 h, 7 d and 30 d all alike: the score is views / 10000
        await views(conn, hot, 2, 1)
        await views(conn, warm, 1, 5_000)
        await views(conn, cool, 1, 4_999)
        await views(conn, uuid4(), 1, 50_000)  # not in the catalogue
        assert await conn.fetchval("SELECT update_content_hotness($1)", NOW) == 4
        score = (11 * 0.5 + 1_111 * 0.3 + 8_111 * 0.2) / 10_000
        assert await hotness(conn, edge) == (round(score, 10), 11, 1_111, 8_111, 3)
        assert await hotness(conn, hot) == (0.8, 8_000, 8_000, 8_000, 1)
        assert (await hotness(conn, warm))[4] == 2
        assert (await hotness(conn, cool))[4] == 3
        assert await conn.fetchval("SELECT count(*) FROM content_hotness WHERE content_id = $1", unwatched) == 0
        ttls = await conn.fetch("SELECT DISTINCT replication_tier, ttl_hint FROM content_hotness ORDER BY 1")
        assert [tuple(row) for row in ttls] == [(1, 86_400), (2, 21_600), (3, 3_600)]

    migrated(postgres_url, scenario)


def test_hotness_ends_at_one_and_falls_to_zero_with_the_views(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        content = await a_content(conn)
        await views(conn, content, 0, 3_000_000_000)
        assert await conn.fetchval("SELECT update_content_hotness($1)", NOW) == 1
        assert await hotness(conn, content) == (1.0, 2**31 - 1, 2**31 - 1, 2**31 - 1, 1)
        assert await conn.fetchval("SELECT update_content_hotness($1)", NOW) == 0  # nothing new, nothing written
        assert await conn.fetchval("SELECT update_content_hotness($1)", NOW + timedelta(days=31)) == 1
        assert await hotness(conn, content) == (0.0, 0, 0, 0, 3)
        await conn.execute("SELECT update_content_hotness()")  # as the scheduler calls it
        await conn.execute("DELETE FROM content")
        assert await conn.fetchval("SELECT count(*) FROM content_hotness") == 0

    migrated(postgres_url, scenario)


def test_popularity_has_each_figure_by_itself_and_is_refreshed_beside_readers(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        film, unseen = await a_content(conn, "film"), await a_content(conn, "unseen")
        user = await a_user(conn)
        people = [await a_profile(conn, user) for _ in range(3)]
        for number, profile in enumerate(people):
            await conn.execute(
                "INSERT INTO watch_history (profile_id, content_id, content_type, completed) VALUES ($1, $2, '', $3)",
                profile, film, number == 0,
            )  # fmt: skip
            await conn.execute("INSERT INTO watchlist (profile_id, content_id) VALUES ($1, $2)", profile, film)
        for profile, stars in zip(people, (4, 5), strict=False):
            await conn.execute(
                "INSERT INTO ratings (profile_id, content_id, rating) VALUES ($1, $2, $3)", profile, film, stars
            )
        await views(conn, film, 1, 4)
        await views(conn, film, 9_000, 3)
        await conn.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY content_popularity")
        query = (
            "SELECT unique_viewers, total_views, completion_rate::text, average_rating::text, watchlist_count "
            "FROM content_popularity WHERE content_id = $1"
        )
        assert tuple(await conn.fetchrow(query, film)) == (3, 7, "33.33", "4.50", 3)
        assert tuple(await conn.fetchrow(query, unseen)) == (0, 0, None, None, 0)

    migrated(postgres_url, scenario)


def test_an_ads_completion_follows_from_its_times(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        ad = uuid4()
        await conn.execute("INSERT INTO ad_impressions (impression_id, midpoint_at) VALUES ($1, now())", ad)
        derived = "SELECT completed, clicked, completion_percent FROM ad_impressions"
        assert tuple(await conn.fetchrow(derived)) == (False, False, 50)
        await conn.execute("UPDATE ad_impressions SET complete_at = now(), click_at = now()")
        assert tuple(await conn.fetchrow(derived)) == (True, True, 100)

    migrated(postgres_url, scenario)


def test_programmes_end_after_they_start_and_stars_are_one_to_five(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        content, profile = await a_content(conn), await a_profile(conn, await a_user(conn))
        channel = await conn.fetchval("INSERT INTO live_channels (content_id) VALUES ($1) RETURNING id", content)
        programme = "INSERT INTO epg_events (channel_id, title, start_time, end_time) VALUES ($1, '', '2026-01-02', $2)"
        await conn.execute(programme, channel, datetime(2026, 1, 3))  # noqa: DTZ001  a TIMESTAMP column
        with pytest.raises(asyncpg.CheckViolationError):
            await conn.execute(programme, channel, datetime(2026, 1, 2))  # noqa: DTZ001
        for stars in (0, 6):
            with pytest.raises(asyncpg.CheckViolationError):
                await conn.execute(
                    "INSERT INTO ratings (profile_id, content_id, rating) VALUES ($1, $2, $3)", profile, content, stars
                )

    migrated(postgres_url, scenario)


def test_migrating_keeps_what_is_in_earlier_tables(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        content = await a_content(conn)
        await migration.down(conn, 4)
        await migration.up(conn)
        assert await conn.fetchval("SELECT id FROM content") == content

    migrated(postgres_url, scenario)
