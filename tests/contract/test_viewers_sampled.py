"""A content that more watch than are kept one by one: a sample stands for them, with little error and no bias."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

import pytest

from config.settings import RedisSettings
from live import viewers
from storage.redis import key
from storage.redis import sign as product
from storage.redis.rebuild import Rebuild
from storage.redis.sign import Signs
from storage.sink import SinkRefused
from tests.contract.counting import Bench
from tests.crowding import HEARTBEAT_S, Crowd
from tests.signs import (
    INCARNATION,
    LEASE,
    LEASES,
    NOW,
    SECOND,
    Sign,
    a_sign,
    a_slice,
    content_of,
    expected_viewers,
    frames,
    row,
    session_of,
)

BOUND = 128
CALL = 40
LEAST = 0.45
"""Of the bound, fewer are in no sample for long."""
SIGMAS = 3.29
"""A normal error is beyond these once in a thousand."""


@pytest.fixture
def bench(valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(product, "ENTRIES_MAX", CALL)
    with Bench(valkey_url, tmp_path, RedisSettings(viewers_exact_max=BOUND)) as result:
        begin_anew(result, 0)
        yield result


def begin_anew(bench: Bench, seed: int) -> None:
    bench.chance = lambda size: hashlib.sha256(b"%d" % seed).digest()[:size]
    bench.clock.wall_us = NOW
    bench.forget()


def watching(signs: Sequence[Sign], now_us: int, content: int = 1) -> int:
    """As the model has it."""
    return len(expected_viewers(signs, now_us).get(content_of(content), ()))


def is_sampled(session: bytes, level: int, seed: bytes) -> bool:
    return int(hashlib.sha1(seed + session, usedforsecurity=False).hexdigest()[-6:], 16) % (1 << level) == 0


def check_sets(bench: Bench, content: int = 1) -> None:
    """No more than the bound and a call are kept, each session once, and only those that the hash lets in."""
    kept = bench.kept(content)
    sessions = [session for of_level in kept.values() for session in of_level]
    assert len(sessions) == len(set(sessions)) <= BOUND + CALL + 20  # a frame more
    seed = bench.loop.run(bench.client.get(key.REGISTRATION))
    assert all(is_sampled(session, level, seed) for level, of_level in kept.items() for session in of_level)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_crowd_that_rises_to_fifty_times_the_bound_and_falls_to_nothing_is_counted_within_the_error(
    bench: Bench, seed: int
) -> None:
    begin_anew(bench, seed)
    crowd = Crowd(seed)
    errors: list[float] = []

    def seconds(many: int, comes: int = 0, ends: float = 0.0, falls_silent: float = 0.0) -> None:
        for second in range(many):
            bench.clock.wall_us = NOW + (crowd.second + 1) * SECOND + SECOND // 2
            bench.write(*crowd.step(comes, ends, falls_silent))
            check_sets(bench)
            if second in (many // 2, many - 1):
                true, told = watching(crowd.signs, crowd.now_us), bench.count()
                if crowd.most <= BOUND:
                    assert told == true, crowd.second
                else:
                    errors.append((told - true) / (crowd.most / sqrt(LEAST * BOUND)))
                    assert abs(errors[-1]) < SIGMAS, (crowd.second, true, told, sorted(bench.kept()))

    seconds(4, comes=30)
    assert not errors, "exact below the bound"
    seconds(4, comes=1_600)
    seconds(HEARTBEAT_S)
    assert watching(crowd.signs, crowd.now_us) > 40 * BOUND
    seconds(6, ends=0.3)
    seconds(6, falls_silent=0.2)
    seconds(HEARTBEAT_S, comes=20)
    seconds(8, comes=400)
    seconds(4, ends=0.5, falls_silent=0.3)
    seconds(30, ends=0.1)
    assert sqrt(mean(error**2 for error in errors)) < 1
    assert bench.loop.run(viewers.everywhere(bench.client, crowd.now_us)).viewers == {
        str(content_of(content)): many for content in (1, 2) if (many := bench.count(content))
    }
    bench.clock.wall_us += LEASE
    assert bench.count() == bench.count(2) == 0


def test_no_moment_of_a_rise_or_a_fall_is_counted_too_high_or_too_low_on_average(bench: Bench) -> None:
    """The same story under many seeds of the hash: in the midst of every transition the errors cancel out."""
    crowd, deliveries, moments = Crowd(7), [], []
    position = 0
    rise, fall = [(500, 0.0, 0.0)] * 4 + [(0, 0.0, 0.0)] * 3, [(0, 0.5, 0.0), (0, 0.3, 0.3)] + [(0, 0.02, 0.1)] * 4
    shape = [*rise, *fall, *[(0, 0.7, 0.1), *[(0, 0.0, 0.0)] * 3]]
    for comes, ends, silent in shape:
        part = a_slice(frames(crowd.step(comes, ends, silent), position, 100), position)
        position = part.state.sequence
        deliveries.append((crowd.now_us, part))
        moments.append(watching(crowd.signs, crowd.now_us))
    told: list[list[int]] = [[] for _ in moments]
    for seed in range(40):
        begin_anew(bench, seed)
        for moment, (now_us, part) in zip(told, deliveries, strict=True):
            bench.clock.wall_us = now_us
            bench.deliver(part)
            moment.append(bench.count())
    for second, (true, found) in enumerate(zip(moments, told, strict=True)):
        assert abs(mean(found) - true) <= 4 * stdev(found) / sqrt(len(found)), (second, true, found)


def plays(many: int, **changes: object) -> list[Sign]:
    return [a_sign("play", session=session, **changes) for session in range(many)]  # type: ignore[arg-type]


def test_as_many_as_the_bound_are_each_kept_and_one_more_begins_a_sample(bench: Bench) -> None:
    bench.write(*plays(BOUND))
    assert bench.viewers() == {content_of(1): {session_of(session) for session in range(BOUND)}}
    bench.clock.wall_us += 2 * SECOND
    bench.write(a_sign("play", session=BOUND, ago=-SECOND))
    assert bench.count() == BOUND + 1
    bench.write(a_sign("play", session=BOUND + 1, ago=-SECOND))
    assert set(bench.kept()) <= {0, 1}
    assert len(bench.kept()[0]) < BOUND


def test_when_a_crowd_has_gone_those_who_stay_are_counted_exactly_after_a_heartbeat(bench: Bench) -> None:
    bench.write(*plays(20 * BOUND, sequence=1))
    assert min(bench.kept()) > 2
    bench.write(*(a_sign("stop", session=session, sequence=2) for session in range(50, 20 * BOUND)))
    for sequence in (3, 4):
        bench.write(*(a_sign("heartbeat", session=session, sequence=sequence, ago=0) for session in range(50)))
    assert bench.viewers() == {content_of(1): {session_of(session) for session in range(50)}}
    assert not bench.loop.run(bench.client.exists(key.SAMPLES))


def test_a_content_that_was_silent_for_a_lease_begins_anew_and_exactly(bench: Bench) -> None:
    bench.write(*plays(20 * BOUND))
    bench.clock.wall_us += LEASE
    bench.write(*plays(30, ago=-LEASE))
    assert bench.count() == 30
    assert bench.kept() == {0: {session_of(session).bytes for session in range(30)}}


def test_signs_that_come_again_change_nothing(bench: Bench) -> None:
    signs = plays(5 * BOUND)
    bench.write(*signs)
    before, told = bench.kept(), bench.count()
    bench.write(*(replace(sign, received_us=sign.received_us + SECOND // 2) for sign in signs))
    assert (bench.kept(), bench.count()) == (before, told)


def test_nothing_of_a_sample_is_kept_for_ever(bench: Bench) -> None:
    bench.write(*plays(20 * BOUND))
    names = [name for name in bench.holds() if name.startswith(key.VIEWERS) or name == key.SAMPLES.encode()]
    lives_ms = {name: bench.loop.run(bench.client.pttl(name)) for name in names}
    assert len(lives_ms) > 1
    assert max(lives_ms.values()) == lives_ms[key.SAMPLES.encode()] <= 4 * max(LEASES) / 1_000
    assert min(lives_ms.values()) > 0


@pytest.mark.parametrize("many", [BOUND + 12, 5 * BOUND])
def test_a_set_of_another_kind_is_found_before_the_first_write(bench: Bench, many: int) -> None:
    """That of the level which comes next, or one that is in use."""
    bench.write(*plays(many))
    name = key.viewers(content_of(1), max(bench.kept()) or 1)
    bench.loop.run(bench.client.delete(name))
    bench.loop.run(bench.client.rpush(name, "not ours"))
    before = bench.holds()
    with pytest.raises(SinkRefused, match="is no sorted set"):
        bench.write(a_sign("play", session=many, ago=0), a_sign("play", session=10, content=2))
    assert bench.holds() == before


def test_a_rebuild_leaves_the_sample_in_force_and_unseats_who_ended(bench: Bench) -> None:
    many = 20 * BOUND
    bench.write(*plays(many))
    told, kept = bench.count(), bench.kept()
    bench.loop.run(bench.client.zadd(key.viewers(content_of(1), max(kept)), {b"a phantom....1.": 9e9}))
    rebuild = Rebuild(bench.url, bench.settings, NOW)
    bench.loop.run(rebuild.begin())
    bench.loop.run(rebuild.switch({INCARNATION: bench.position}, 0, 0, NOW))
    assert (bench.kept(), bench.count()) == (kept, told)
    ended = [row(a_sign("stop", session=session, ago=0)) for session in range(many // 2)]
    for first in range(0, len(ended), CALL):
        part = ended[first : first + CALL]
        bench.loop.run(rebuild.seat(Signs(b"".join(part), list(accumulate(map(len, part))), NOW), NOW))
    bench.loop.run(rebuild.close())
    gone = {session_of(session).bytes for session in range(many // 2)}
    assert not gone & {session for sessions in bench.kept().values() for session in sessions}
    bench.open()
    bench.write(*plays(many, ago=0))  # under another registration, by the seed that the sample has
    assert abs(bench.count() - many // 2) < SIGMAS * many / sqrt(LEAST * BOUND)
