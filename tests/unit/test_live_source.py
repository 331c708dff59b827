"""When live numbers are given, and in which words; without a store."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from config.settings import RedisSettings
from ingest.clock import SystemClock
from live import source as live_source
from live import viewers
from live.answers import TOP_DEFAULT, top_of
from live.source import TOP_MAX, Sample, Source, Unavailable, behind_max_s, doubt, time_text
from live.viewers import Everywhere
from storage.reader_status import ReaderStatus
from tests.in_loop import in_loop
from tests.signs import NOW, SECOND, content_of

RUNNING = ReaderStatus(reader="redis", state="running", reason="", pid=1, at_us=NOW, positions={})
BEHIND_MAX_S = 15.0


def test_a_reader_that_counts_is_not_doubted() -> None:
    assert doubt(RUNNING, NOW + 2 * SECOND, BEHIND_MAX_S) is None
    assert doubt(replace(RUNNING, lag_s=10.0), NOW + 5 * SECOND, BEHIND_MAX_S) is None


@pytest.mark.parametrize(
    "status, code",
    [
        (None, "counters_unavailable"),
        (replace(RUNNING, state="waiting"), "counters_unavailable"),
        (replace(RUNNING, state="red"), "counters_unavailable"),
        (replace(RUNNING, state="rebuild_needed"), "rebuild_needed"),
        (replace(RUNNING, state="rebuild_needed", at_us=NOW - 3_600 * SECOND), "rebuild_needed"),
        (replace(RUNNING, at_us=NOW - 16 * SECOND), "counters_unavailable"),  # it died
        (replace(RUNNING, lag_s=15.1), "counters_unavailable"),
        (replace(RUNNING, lag_s=8.0, at_us=NOW - 8 * SECOND), "counters_unavailable"),
    ],
)
def test_one_that_does_not_or_is_behind_is_doubted(status: ReaderStatus | None, code: str) -> None:
    found = doubt(status, NOW, BEHIND_MAX_S)
    assert found is not None and found.code == code


def test_counts_may_be_behind_for_as_long_as_a_heartbeat_still_finds_its_lease() -> None:
    settings = RedisSettings(heartbeat_s=10, lease_factor=2.5)
    assert settings.heartbeat_s + behind_max_s(settings) == settings.lease_factor * settings.heartbeat_s
    assert 5 + behind_max_s(settings, 5) == settings.lease_factor * 5, "where a key's players send them oftener"
    assert behind_max_s(settings, 30) == behind_max_s(settings), "others still send them each 10 s"


def test_a_sample_names_those_with_most_viewers_first_and_sums_all() -> None:
    rng = random.Random(6)
    counts = {str(content_of(number)): rng.randrange(1, 9) for number in rng.sample(range(10_000), 1_000)}
    sample = Sample(NOW, counts)
    ranked = sorted(counts, key=lambda content: (-counts[content], content))
    for top in (1, 20, TOP_MAX):
        assert orjson.loads(sample.body(top)) == {
            "as_of": time_text(NOW),
            "viewers": sum(counts.values()),
            "contents": [{"content_id": content, "viewers": counts[content]} for content in ranked[:top]],
        }
    assert sample.body(5) is sample.body(5), "made once for all who ask"
    assert orjson.loads(Sample(NOW, {}).body(3)) == {"as_of": time_text(NOW), "viewers": 0, "contents": []}


def test_times_are_told_in_utc_to_the_millisecond() -> None:
    assert time_text(0) == "1970-01-01T00:00:00.000Z"
    assert time_text(1_795_660_054_559_999) == "2026-11-26T02:27:34.559Z"


def test_top_is_one_number_from_1_to_100() -> None:
    assert top_of([]) == TOP_DEFAULT
    assert [top_of([text]) for text in ("1", "20", "100")] == [1, 20, 100]
    for wrong in ("", "0", "101", "999", "1000", "-1", "+1", " 1", "1 ", "01", "1.0", "1e1", "٣", "a", "1\n"):
        assert top_of([wrong]) is None, wrong
    assert top_of(["1", "1"]) is None


# ── the source, on a Redis that is made up ────────────────────────────────────────────────────────────────────────────


class MadeUp:
    """What `viewers.everywhere` says, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.registration = b"first"
        self.takes_s = 0.0

    async def everywhere(self, _: Any, now_us: int) -> Everywhere:
        self.asked += 1
        await asyncio.sleep(self.takes_s)
        return Everywhere({str(content_of(1)): self.asked}, self.registration)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    result = MadeUp()
    monkeypatch.setattr(viewers, "everywhere", result.everywhere)
    return result


def a_source(status: Callable[[], ReaderStatus | None], url: str = "redis://127.0.0.1:1") -> Source:
    return Source(lambda: url, status, RedisSettings, SystemClock())


def running() -> ReaderStatus:
    return replace(RUNNING, at_us=SystemClock().now_us())


@in_loop
async def test_all_who_ask_at_once_share_one_read(made_up: MadeUp) -> None:
    made_up.takes_s, source = 0.1, a_source(running)
    samples = await asyncio.gather(*(source.sample() for _ in range(50)))
    assert made_up.asked == 1 and len(set(map(id, samples))) == 1
    await asyncio.sleep(0.1 + live_source.SHARED_S)
    assert await source.sample() is samples[0], "it took a tenth of a second, so it is good for one"
    await asyncio.sleep(1.5)
    assert (await source.sample()).viewers == 2
    await source.close()


@in_loop
async def test_a_shared_sample_is_no_answer_once_the_counts_are_lost(made_up: MadeUp) -> None:
    status = running()
    source = a_source(lambda: status)
    before = await source.sample()
    source._shared._until_s += 60.0  # a slow Redis made it good for long
    assert await source.sample() is before
    status = replace(status, state="rebuild_needed")
    with pytest.raises(Unavailable) as why:
        await source.sample()
    assert why.value.code == "rebuild_needed"
    await source.close()


@in_loop
async def test_one_who_goes_takes_the_read_from_nobody(made_up: MadeUp) -> None:
    made_up.takes_s, source = 0.05, a_source(running)
    going, staying = (asyncio.create_task(source.sample()) for _ in range(2))
    await asyncio.sleep(0.01)
    going.cancel()
    assert (await staying).viewers == 1
    await source.close()


@in_loop
async def test_a_redis_that_hangs_is_waited_for_until_the_deadline(
    made_up: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_source, "DEADLINE_S", 0.1)
    made_up.takes_s, source = 60, a_source(running)
    results = await asyncio.gather(*(source.sample() for _ in range(20)), return_exceptions=True)
    assert {one.code for one in results if isinstance(one, Unavailable)} == {"counters_unavailable"}
    assert (len(results), made_up.asked) == (20, 1)
    made_up.takes_s = 0
    assert (await source.sample()).viewers == 2
    await source.close()


@in_loop
async def test_counts_begun_anew_are_not_told_before_their_reader_has_spoken(made_up: MadeUp) -> None:
    status = [running()]
    source = a_source(lambda: status[0])
    assert (await source.sample()).viewers == 1
    await asyncio.sleep(live_source.SHARED_S)
    made_up.registration = b"second"
    with pytest.raises(Unavailable, match="anew"):
        await source.sample()
    with pytest.raises(Unavailable, match="anew"):
        await source.sample()
    status[0] = running()
    assert (await source.sample()).viewers == 4
    await source.close()


@in_loop
async def test_before_redis_has_an_address_there_is_nothing_to_ask(made_up: MadeUp) -> None:
    with pytest.raises(Unavailable, match="not started"):
        await a_source(running, url="").sample()
    assert made_up.asked == 0
