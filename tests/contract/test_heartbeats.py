"""A write key's heartbeat interval: how long its sessions are viewers, from the door to the counts."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from config.heartbeat import CLASSES, INTERVAL_MAX_S, INTERVALS_S, class_of
from config.settings import KeysSettings, RedisSettings
from ingest.batch import HEARTBEAT_SHIFT, KIND_CMCD, KIND_PLAYBACK, KIND_SIGNAL
from ingest.keyring import Key, Keyring, hash_of, id_of, new_key
from live import streams
from storage.redis import key
from tests import staged
from tests.builders import an_event
from tests.cmcd_lines import a_line, body_of
from tests.contract.counting import Bench
from tests.contract.http_door import Door, over_both
from tests.contract.http_request import a_request
from tests.qoe import a_sign as a_quality_sign
from tests.qoe import group_of
from tests.signs import LEASES, NOW, SECOND, Sign, a_sign, a_slice, content_of, frames, profile_of, session_of
from tests.spooled import Collector

FLAGS: Final = {interval_s: class_of(interval_s) << HEARTBEAT_SHIFT for interval_s in (5, 30, 300)}
SETTING: Final = 0


@pytest.fixture
def bench(valkey_url: str, tmp_path: Path) -> Iterator[Bench]:
    with Bench(valkey_url, tmp_path) as result:
        yield result


def wrote(bench: Bench, flags: int, *signs: Sign) -> None:
    bench.deliver(a_slice(frames(signs, bench.position, flags=flags), bench.position))


def now_of(bench: Bench, after_s: float) -> None:
    bench.clock.wall_us = NOW + round(after_s * SECOND)


def beat(after_s: int, session: int = 1, **changes: Any) -> Sign:
    kind = "heartbeat" if after_s else "play"
    at_us = NOW + after_s * SECOND
    return a_sign(kind, occurred_us=at_us, received_us=at_us, session=session, **changes)


def test_an_interval_is_of_the_class_that_is_as_long_or_the_next_longer() -> None:
    assert [class_of(None), class_of(1), class_of(10), class_of(30), class_of(31)] == [0, 1, 5, 10, 11]
    assert {class_of(interval_s) for interval_s in range(1, INTERVAL_MAX_S + 1)} == set(range(1, CLASSES))
    assert all(interval_s <= INTERVALS_S[class_of(interval_s)] for interval_s in range(1, INTERVAL_MAX_S + 1))
    assert RedisSettings(heartbeat_s=12).leases_us[0] == RedisSettings().leases_us[6] == 30 * SECOND


@pytest.mark.parametrize(("interval_s", "flags", "never_gone"), [(30, FLAGS[30], True), (30, SETTING, False)])
def test_who_sends_a_heartbeat_each_30_s_and_says_so_is_a_viewer_all_the_time(
    bench: Bench, interval_s: int, flags: int, never_gone: bool
) -> None:
    counts = []
    for after_s in range(0, 300, 5):
        now_of(bench, after_s)
        if after_s % interval_s == 0:
            wrote(bench, flags, beat(after_s))
        counts.append(bench.count())
    assert (set(counts) == {1}) == never_gone, counts
    now_of(bench, 270 + 74.9 if never_gone else 270 + 24.9)
    assert bench.count() == 1
    now_of(bench, 270 + 75.1)
    assert bench.count() == 0


def test_who_sends_one_each_5_s_has_left_sooner(bench: Bench) -> None:
    wrote(bench, FLAGS[5], beat(0, session=1))
    wrote(bench, SETTING, beat(0, session=2))
    for after_s, viewers in ((12.4, 2), (12.6, 1), (24.9, 1), (25.1, 0)):
        now_of(bench, after_s)
        assert bench.count() == viewers, after_s


def test_a_session_of_long_leases_is_remembered_for_four_of_them_and_others_for_four_of_the_settings(
    bench: Bench,
) -> None:
    for session, (flags, kept_s) in enumerate(((SETTING, 100), (FLAGS[5], 100), (FLAGS[30], 300), (FLAGS[300], 3_000))):
        wrote(bench, flags, beat(0, session=session))
        left_ms = bench.loop.run(bench.client.pttl(key.session(session_of(session))))
        assert kept_s * 1_000 - 5_000 < left_ms <= kept_s * 1_000
    left_ms = bench.loop.run(bench.client.pttl(key.viewers(content_of(1))))
    assert 740_000 < left_ms <= 753_000, "the set outlives its last lease"
    wrote(bench, FLAGS[5], beat(0, session=9))
    assert bench.loop.run(bench.client.pttl(key.viewers(content_of(1)))) > 740_000, "whoever comes behind"
    now_of(bench, 600)
    assert bench.viewers() == {content_of(1): {session_of(3)}}


def test_a_sign_that_comes_late_counts_as_long_as_its_lease_would_still_run(bench: Bench) -> None:
    now_of(bench, 400)
    wrote(bench, FLAGS[300], beat(0, session=1))
    wrote(bench, FLAGS[30], beat(0, session=2))
    assert bench.viewers() == {content_of(1): {session_of(1)}}


def test_who_pauses_is_a_viewer_for_a_lease_of_its_own_and_a_stream_says_how_long_that_is(bench: Bench) -> None:
    wrote(bench, FLAGS[30], beat(0, profile=1, sequence=0))
    wrote(bench, FLAGS[30], a_sign("pause", ago=0, sequence=1))
    now_of(bench, 74.9)
    assert bench.count() == 1
    (stream,) = bench.loop.run(streams.of(bench.client, [profile_of(1)], bench.clock.wall_us, LEASES)).streams
    assert (stream.until_us, stream.lease_us) == (NOW + 75 * SECOND, 75 * SECOND)
    now_of(bench, 75.1)
    assert bench.count() == 0


def test_what_an_earlier_release_remembers_of_a_session_is_of_the_settings_class(bench: Bench) -> None:
    """Its register's byte holds a rank alone, as those of class 0 do."""
    wrote(bench, SETTING, beat(0))
    found = bench.loop.run(bench.client.get(key.session(session_of(1))))
    assert found[0] & 3 == 0 and found[1 + 8] == 1, "the rank of a play, in its first register, which is by time"
    now_of(bench, 10)
    wrote(bench, FLAGS[30], beat(10))
    now_of(bench, 84.9)
    assert bench.count() == 1


def test_of_a_sample_the_sets_outlive_the_longest_lease(valkey_url: str, tmp_path: Path) -> None:
    with Bench(valkey_url, tmp_path, RedisSettings(viewers_exact_max=8)) as bench:
        wrote(bench, FLAGS[30], *(beat(0, session=session) for session in range(64)))
        wrote(bench, FLAGS[30], *(beat(1, session=session) for session in range(64, 128)))
        wrote(bench, FLAGS[5], *(beat(2, session=session) for session in range(128, 132)))
        (*_, level), before = bench.kept(), bench.count()
        assert level and before
        assert bench.loop.run(bench.client.pttl(key.viewers(content_of(1), level))) > 70_000
        assert bench.loop.run(bench.client.pttl(key.SAMPLES)) > 2_900_000


def test_watched_time_goes_on_between_heartbeats_that_are_30_s_apart() -> None:
    """And a session that says nothing of it was silent meanwhile."""

    def watched_s(heartbeat: int) -> float:
        signs = [
            a_quality_sign("play" if not at_s else "heartbeat", at_s, position_s=at_s, heartbeat=heartbeat)
            for at_s in range(0, 301, 30)
        ]
        return group_of(signs).watched_s

    assert watched_s(class_of(30)) == pytest.approx(300)
    assert watched_s(0) < 60


# ── the door ──────────────────────────────────────────────────────────────────────────────────────────────────────────

KEYS: Final = {interval_s: new_key(bytes([mark]).__mul__, secret=False) for mark, interval_s in enumerate((0, 5, 30))}
RING: Final = Keyring([
    Key(id_of(text), hash_of(text), "acme", bucket=id_of(text), heartbeat_s=interval_s or None)
    for interval_s, text in KEYS.items()
])  # fmt: skip


@pytest.mark.usefixtures("each_core")
def test_a_frame_is_of_the_players_of_one_interval(tmp_path: Path) -> None:
    async def scenario(door: Door) -> Counter[tuple[int, int]]:
        door.intake.gate.keyring = RING
        client = await door.client()
        for text in KEYS.values():
            line = f'sid="s-{text[-9:]}",sn=1,e=ps,sta=p,ts={door.intake.clock.now_us() // 1_000}'
            await client.ask(
                a_request(_body(event_type="play"), target=f"/v1/events?key={text}"),
                a_request(_body(event_type="heartbeat"), target=f"/v1/events?key={text}"),
                a_request(_body(event_type="play", nonsense=1), target=f"/v1/events?key={text}"),  # by the twin
                a_request(line.encode(), target=f"/v1/cmcd?key={text}", content_type="application/cmcd"),
            )
        return sum((Counter({(one.kind, one.flags): one.count}) for one in door.frames()), Counter())

    found = over_both(tmp_path, scenario, keys=KeysSettings(required=True))
    kept = {KIND_PLAYBACK: 2, KIND_SIGNAL: 1, KIND_CMCD: 1}
    assert found == {(kind, flags): kept[kind] for kind in kept for flags in (SETTING, FLAGS[5], FLAGS[30])}


def _body(**changes: Any) -> bytes:
    return orjson.dumps([an_event(**changes)])


def test_the_stage_hands_the_interval_on_to_the_events_that_it_makes(tmp_path: Path) -> None:
    """Also of a stall's row, whose line came before."""
    words = ["p", "r", "p", "a"]
    lines = [a_line(sequence, state=state, session_id="slow") for sequence, state in enumerate(words)]
    others = [a_line(sequence, state=state, session_id="usual") for sequence, state in enumerate(words)]

    async def scenario() -> None:
        collector = Collector(tmp_path)
        staged.appended_bodies(collector, body_of(lines)._replace(flags=FLAGS[30]), body_of(others))
        async with staged.at_work(tmp_path):
            await staged.until(lambda: staged.lines_judged(tmp_path) == 8)

    asyncio.run(scenario())
    made = staged.frames(tmp_path, KIND_PLAYBACK, KIND_SIGNAL)
    rows = Counter({(one.flags, one.kind): 0 for one in made})
    for one in made:
        rows[one.flags, one.kind] += one.count
    assert rows[SETTING, KIND_PLAYBACK] == rows[FLAGS[30], KIND_PLAYBACK] == 3, "play, buffering, pause"
    assert rows[SETTING, KIND_SIGNAL] == rows[FLAGS[30], KIND_SIGNAL] == 2, "the stall's begin, and it goes on"
    assert {flags for flags, _ in rows} == {SETTING, FLAGS[30]}


def test_a_profile_remembers_who_sends_rarely_as_long_as_that_one_is_a_viewer(bench: Bench) -> None:
    async def left_s() -> float:
        (name,) = [one async for one in bench.client.scan_iter(match=key.TAG + "streams:*")]
        left_ms: int = await bench.client.pttl(name)
        return left_ms / 1_000

    wrote(bench, SETTING, beat(0, session=1, profile=1))
    assert bench.loop.run(left_s()) <= 24 * 25
    wrote(bench, FLAGS[300], beat(0, session=2, profile=1))
    wrote(bench, SETTING, beat(0, session=3, profile=1))
    assert bench.loop.run(left_s()) > 24 * 750 - 60, "nobody else makes it shorter"
