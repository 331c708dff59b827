"""What is read back from the tables made for it: the right events in the right order. How soon is told alone."""

import asyncio
import statistics
import time
from itertools import count, islice
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from config.scylla import ScyllaSettings
from storage.scylla.bucket import event_hash
from storage.scylla.content_buckets import ContentBuckets
from storage.scylla.driver import connected
from storage.scylla.reading import EventReads
from tests.builders import RECEIVED_AT_US
from tests.contract.cql_store import CqlStore, run
from tests.spooled import DAY, SECOND, Spooled, a_row, an_id

pytestmark = pytest.mark.alone

HOUR = 3_600 * SECOND
READS = 100
"""Whose median is told (`-s`): 15 ms for a session's 1,000 events, 12 for a content's last hour, on an idle machine."""
AT_US = RECEIVED_AT_US - 10 * SECOND


@pytest.fixture
def store(cql_settings: ScyllaSettings, tmp_path: Path) -> CqlStore:
    return CqlStore(cql_settings, tmp_path)


def times_of(events: list[dict[str, Any]]) -> list[int]:
    return [event["occurred_at_us"] for event in events]


@pytest.mark.parametrize("driver", ["acsylla", "cassandra"])
def test_each_table_answers_its_question(store: CqlStore, driver: Any) -> None:
    settings = msgspec.structs.replace(store.settings, driver=driver)

    async def scenario() -> None:
        session, content, profile = an_id(), an_id(), an_id()
        times = [AT_US - number * 7 * 60 * SECOND for number in range(300)]  # 35 hours: three days
        rows = [
            a_row(
                session_id=session, content_id=content, profile_id=profile, occurred_at_us=time_us, cdn_edge="fra-03",
                event_type="error" if number % 3 == 0 else "play",
            )
            for number, time_us in enumerate(times)
        ]  # fmt: skip
        others = [a_row(content_id=content, session_id=an_id(), occurred_at_us=AT_US - at * SECOND) for at in range(50)]
        await store.write(Spooled().slice(*([row] for row in rows), others))
        connection = await connected(settings)
        reads = EventReads(connection, ContentBuckets(connection, settings))
        span = times[200], AT_US + 1
        assert times_of(await reads.session(session, *span)) == times[200::-1]
        assert times_of(await reads.session(session, *span, limit=5)) == times[200:195:-1]
        assert times_of(await reads.profile(profile, *span)) == times[:201]
        assert times_of(await reads.errors("fra-03", *span)) == times[:201:3]
        found = await reads.content(content, AT_US - HOUR, AT_US + 1)
        expected = [time_us for time_us in times if time_us >= AT_US - HOUR]
        expected += [AT_US - at * SECOND for at in range(50)]
        assert times_of(found) == sorted(expected, reverse=True)
        assert len(await reads.content(content, AT_US - HOUR, AT_US + 1, limit=7)) == 7
        assert await reads.content(content, AT_US - 900 * DAY, AT_US - 899 * DAY) == []
        assert await reads.session(an_id(), *span) == []
        execute, asked = connection.execute, []

        async def noting(cql: str, values: Any = (), **options: Any) -> Any:
            asked.append(values)
            return await execute(cql, values, **options)

        connection.execute = noting  # type: ignore[method-assign]
        assert times_of(await reads.profile(profile, 0, AT_US + 1, limit=250)) == times[:250]
        assert times_of(await reads.errors("fra-03", 0, AT_US + 1, limit=5)) == times[:13:3]
        assert times_of(await reads.content(content, 0, AT_US + 1, limit=60)) == sorted(
            [AT_US - at * SECOND for at in range(50)] + times[:10], reverse=True
        )
        assert len(asked) < 400, "of fifty years, what is enough"
        (first, *_) = await reads.session(session, *span)
        assert (first["session_id"], first["event_type"]) == (str(session), "play")
        await connection.close()

    run(scenario)


@pytest.mark.parametrize("in_one_bucket", [0, 90], ids=["spread", "in one bucket"])
def test_the_newest_of_a_content_are_found_wherever_they_lie(store: CqlStore, in_one_bucket: int) -> None:
    async def scenario() -> None:
        content, buckets = an_id(), store.settings.content_buckets
        ids = (an_id() for _ in count())
        crowded = islice((one for one in ids if event_hash(one.bytes) % buckets == 3), in_one_bucket)
        of_ids = [*crowded, *islice(ids, 210)]
        times = [AT_US - number // 2 * SECOND for number in range(len(of_ids))]  # two at a time
        times = [time_us if number < 250 else time_us - 9 * HOUR for number, time_us in enumerate(times)]
        rows = [
            a_row(content_id=content, event_id=one, occurred_at_us=at) for one, at in zip(of_ids, times, strict=True)
        ]
        await store.write(Spooled().slice(*([row] for row in rows)))
        connection = await connected(store.settings)
        reads = EventReads(connection, ContentBuckets(connection, store.settings))
        newest = sorted(zip(times, map(str, of_ids), strict=True), key=lambda row: (-row[0], row[1]))
        for limit in (1, 59, 60, 85, 120, 1_000):
            found = await reads.content(content, AT_US - 12 * HOUR, AT_US + 1, limit)
            assert [(row["occurred_at_us"], row["event_id"]) for row in found] == newest[:limit]
        await connection.close()

    run(scenario)


def test_a_sessions_thousand_events_and_a_contents_last_hour_are_read_whole_each_time(store: CqlStore) -> None:
    async def scenario() -> None:
        session, content = an_id(), an_id()
        full = {
            "quality": "1080p", "bitrate_kbps": 4500, "device_type": "tv", "platform": "tizen", "cdn_edge": "fra-03",
            "player": "shaka", "app_version": "3.2.1", "country": "DE", "position_s": 5, "duration_s": 5400,
        }  # fmt: skip
        timeline = [a_row(session_id=session, occurred_at_us=AT_US - at * SECOND, **full) for at in range(1_000)]
        hour = [
            a_row(content_id=content, session_id=UUID(int=at % 300), occurred_at_us=AT_US - at * 3 * SECOND, **full)
            for at in range(1_000)
        ]
        await store.write(Spooled().slice(timeline[:500], timeline[500:], hour[:500], hour[500:]))
        connection = await connected(store.settings)
        reads = EventReads(connection, ContentBuckets(connection, store.settings))

        async def took_ms(what: UUID, *, is_session: bool) -> float:
            took = []
            for _ in range(READS):
                began_s = time.perf_counter()
                read = reads.session if is_session else reads.content
                found = await read(what, AT_US - HOUR + 1, AT_US + 1)
                took.append(1_000 * (time.perf_counter() - began_s))
                assert len(found) == 1_000
                await asyncio.sleep(0)
            return statistics.median(took[READS // 2 :])  # of a server that has compiled what it needs for it

        of_session, of_content = await took_ms(session, is_session=True), await took_ms(content, is_session=False)
        print(f"a session's 1,000 events: {of_session:.1f} ms; a content's last hour: {of_content:.1f} ms")
        await connection.close()

    run(scenario)
