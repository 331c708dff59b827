"""The read side on a real Valkey: what it says is what the counters hold, at the moment that is asked about."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live import viewers, views
from storage.redis import key
from storage.redis.connection import connect
from storage.sink import SinkUnavailable
from tests.contract.counting import Bench
from tests.signs import DAY, HOUR, LEASE, NOW, SECOND, a_sign, content_of

HOUR_NOW = NOW // HOUR


@pytest.fixture
def bench(valkey_url: str, tmp_path: Path) -> Iterator[Bench]:
    with Bench(valkey_url, tmp_path) as result:
        yield result


def test_views_of_a_content_are_said_by_the_hour_and_in_all(bench: Bench) -> None:
    bench.write(*(a_sign(session=session, ago=hours * HOUR) for session, hours in enumerate([0, 0, 3, 700])))
    bench.write(a_sign(session=9, content=2))
    asked = range(HOUR_NOW - 5, HOUR_NOW + 1)
    assert bench.loop.run(views.by_hour(bench.client, content_of(1), asked)) == {HOUR_NOW: 2, HOUR_NOW - 3: 1}
    assert bench.loop.run(views.total(bench.client, content_of(1), NOW)) == 4
    assert bench.loop.run(views.total(bench.client, content_of(3), NOW)) == 0


@pytest.mark.parametrize("ago", [31 * DAY, 0, -23 * HOUR])
def test_every_hour_that_is_kept_is_asked_for(bench: Bench, ago: int) -> None:
    bench.write(a_sign(ago=ago))
    assert bench.views() == {(content_of(1), (NOW - ago) // HOUR): 1}


def test_what_was_counted_is_said_in_all(bench: Bench) -> None:
    assert bench.loop.run(views.counted(bench.client)) == views.Counted()
    bench.write(a_sign(), a_sign("pause"), a_sign("heartbeat"), a_sign("heartbeat", test=True))
    assert bench.loop.run(views.counted(bench.client)) == views.Counted(rows=2, signals=2, tests=1, views=1)


def test_viewers_are_those_whose_lease_lasts_at_the_moment_asked_about(bench: Bench) -> None:
    bench.write(*(a_sign(session=session, ago=session * SECOND) for session in range(20)))
    for later_us, expected in ((0, 20), (LEASE - 10 * SECOND, 10), (LEASE - 1, 1), (LEASE, 0)):
        assert bench.loop.run(viewers.now(bench.client, content_of(1), NOW + later_us)).viewers == expected
        everywhere = bench.loop.run(viewers.everywhere(bench.client, NOW + later_us)).viewers
        assert everywhere == ({str(content_of(1)): expected} if expected else {})


def test_a_content_is_named_until_its_very_last_lease_has_run_out(bench: Bench) -> None:
    """Also when that lease came a moment behind the one before."""
    bench.write(a_sign(ago=SECOND // 2))
    bench.write(a_sign(session=2, ago=0))
    for before_us, expected in ((SECOND // 4, {str(content_of(1)): 1}), (0, {})):
        assert bench.loop.run(viewers.everywhere(bench.client, NOW + LEASE - before_us)).viewers == expected


def test_every_content_with_viewers_is_named_and_no_other(bench: Bench) -> None:
    bench.write(*(a_sign(session=session, content=session % 7) for session in range(50)))
    bench.write(*(a_sign("stop", ago=0, session=session, content=3) for session in range(50) if session % 7 == 3))
    assert bench.loop.run(viewers.everywhere(bench.client, NOW)).viewers == {
        str(content_of(content)): len(range(content, 50, 7)) for content in range(7) if content != 3
    }


def test_more_contents_than_one_call_counts_are_all_counted(bench: Bench) -> None:
    many = 2 * viewers.CONTENTS_MAX + 1
    bench.write(*(a_sign(session=session, content=session % many) for session in range(many + 5)), size=500)
    found = bench.loop.run(viewers.everywhere(bench.client, NOW)).viewers
    assert found == {str(content_of(content)): 2 if content < 5 else 1 for content in range(many)}


def test_counts_without_a_registration_are_not_said(bench: Bench) -> None:
    bench.write(a_sign())
    bench.loop.run(bench.client.delete(key.REGISTRATION))
    for question in (viewers.now(bench.client, content_of(1), NOW), viewers.everywhere(bench.client, NOW)):
        with pytest.raises(viewers.NotCounted):
            bench.loop.run(question)


def test_counts_that_are_lost_while_they_are_read_are_not_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write(a_sign())
    counted = viewers._counted

    async def lost(*arguments: Any) -> tuple[bytes, list[int]]:
        await bench.client.flushall()
        return await counted(*arguments)

    monkeypatch.setattr(viewers, "_counted", lost)
    with pytest.raises(viewers.NotCounted):
        bench.loop.run(viewers.everywhere(bench.client, NOW))


def test_reading_changes_nothing(bench: Bench) -> None:
    bench.write(a_sign())
    before = bench.holds()
    later_us = NOW + DAY  # a reader whose clock is a day ahead
    assert bench.loop.run(viewers.everywhere(bench.client, later_us)).viewers == {}
    assert bench.loop.run(viewers.now(bench.client, content_of(1), later_us)).viewers == 0
    bench.loop.run(views.all_by_hour(bench.client, later_us))
    assert bench.holds() == before
    assert bench.loop.run(bench.client.zcard(key.viewers(content_of(1)))) == 1


def test_a_redis_that_is_away_is_said_to_be(bench: Bench) -> None:
    nobody = connect("redis://127.0.0.1:1")
    for question in (
        lambda: views.total(nobody, content_of(1), NOW),
        lambda: views.all_by_hour(nobody, NOW),
        lambda: views.counted(nobody),
        lambda: viewers.now(nobody, content_of(1), NOW),
        lambda: viewers.everywhere(nobody, NOW),
    ):
        with pytest.raises(SinkUnavailable):
            bench.loop.run(question())
    bench.loop.run(nobody.aclose())
