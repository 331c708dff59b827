"""Coalescing: what a batch of frames says about views and sessions."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.batch import KIND_AD, KIND_SIGNAL
from storage.redis import entry
from storage.redis import sign as signs
from storage.redis.sign import ALIVE, BY_SEQUENCE, BY_TIME, STATE, STATES_BACK_S, Gathering, UnknownSchema, batches
from tests.signs import (
    DAY,
    HOUR,
    LEASE,
    NOW,
    SECOND,
    a_frame,
    a_sign,
    a_slice,
    content_of,
    frames,
    row,
    session_of,
)

pytestmark = pytest.mark.usefixtures("each_core")

MEMORY = 4 * LEASE
A_VIEW = session_of(1).bytes + content_of(1).bytes


def gathered(*given_signs):
    result = Gathering(NOW, MEMORY)
    for frame in frames(given_signs):
        result.add(frame)
    return result


def slot(gathering, which, session=1):
    return gathering.sessions[session_of(session).bytes][which]


def test_twenty_signs_of_a_session_are_one_entry():
    beats = [a_sign("heartbeat", ago=SECOND * second, sequence=20 - second) for second in range(19)]
    gathering = gathered(a_sign("play", ago=20 * SECOND, sequence=0), *beats)
    assert len(gathering.views) == len(gathering.sessions) == 1
    assert slot(gathering, BY_SEQUENCE + ALIVE)[0] == 20
    assert slot(gathering, BY_SEQUENCE + STATE)[0] == 0


def test_a_view_is_in_the_hour_of_its_earliest_play_whatever_came_first():
    plays = [a_sign(ago=hours * HOUR) for hours in (3, 5, 1)]
    assert gathered(*plays).views == {A_VIEW: NOW // HOUR - 5}


@pytest.mark.parametrize(
    "kind", ["heartbeat", "pause", "seek", "buffering", "error", "completed", "stop", "quality_change"]
)
def test_nothing_but_a_play_is_a_view(kind):
    assert gathered(a_sign(kind)).views == {}


def test_test_traffic_is_counted_as_such_and_in_nothing_else():
    gathering = gathered(a_sign(test=True), a_sign("heartbeat", test=True))
    assert (gathering.views, gathering.sessions) == ({}, {})
    assert (gathering.rows, gathering.signals, gathering.tests) == (1, 1, 2)


def test_an_error_says_nothing_about_who_watches():
    assert gathered(a_sign("error")).entries == 0


@pytest.mark.parametrize("sent_behind", [None, 0, 299 * SECOND, -299 * SECOND])
def test_a_sane_clock_is_taken_at_its_word(sent_behind):
    play = a_sign(ago=2 * HOUR, received_us=NOW, sent_us=None if sent_behind is None else NOW - sent_behind)
    assert gathered(play).views == {A_VIEW: NOW // HOUR - 2}


@pytest.mark.parametrize("skew", [-56 * 365 * DAY, -301 * SECOND, 301 * SECOND, 12 * 365 * DAY])
def test_a_broken_clock_is_counted_back_from_the_receipt(skew):
    play = a_sign(occurred_us=NOW - 2 * HOUR + skew, sent_us=NOW + skew, received_us=NOW)
    assert gathered(play).views == {A_VIEW: NOW // HOUR - 2}


def test_a_broken_clock_puts_no_view_further_ahead_than_a_day():
    play = a_sign(occurred_us=120 * 365 * DAY, sent_us=DAY, received_us=NOW)
    assert gathered(play).views == {A_VIEW: (NOW + DAY) // HOUR}


def test_no_lease_begins_later_than_its_receipt():
    ahead = a_sign(occurred_us=NOW + 200 * SECOND, received_us=NOW - 3 * SECOND, sequence=1)
    assert slot(gathered(ahead), BY_SEQUENCE + ALIVE)[3] == -(NOW - 3 * SECOND)


def test_no_lease_begins_later_than_now():
    assert slot(gathered(a_sign(occurred_us=NOW + HOUR, received_us=NOW + HOUR, sequence=1)), 1)[3] == -NOW


def test_of_a_resend_the_first_receipt_stands():
    first = a_sign(occurred_us=NOW + 200 * SECOND, received_us=NOW - 9 * SECOND, sequence=4)
    again = replace(first, received_us=NOW)
    assert gathered(first, again).sessions == gathered(again, first).sessions == gathered(first).sessions


def test_a_sign_of_life_beyond_a_sessions_memory_moves_no_session():
    assert not gathered(a_sign("heartbeat", ago=MEMORY + SECOND), a_sign("seek", ago=MEMORY + SECOND)).entries


@pytest.mark.parametrize("kind", ["play", "pause", "stop", "completed"])
def test_a_state_is_minded_for_a_quarter_of_an_hour_however_late_it_comes(kind):
    assert slot(gathered(a_sign(kind, ago=MEMORY + SECOND, sequence=3)), BY_SEQUENCE + STATE)[0] == 3
    assert gathered(a_sign(kind, ago=STATES_BACK_S * SECOND + 1, sequence=3)).sessions == {}


def test_a_play_of_hours_ago_moves_no_session_yet_is_a_view():
    gathering = gathered(a_sign("play", ago=9 * HOUR))
    assert (len(gathering.views), gathering.sessions) == (1, {})


def test_a_broken_clock_without_a_sequence_is_left_to_redis_which_knows_what_was_seen():
    broken = a_sign("stop", occurred_us=SECOND, sent_us=2 * SECOND, received_us=NOW)
    gathering = gathered(broken, replace(broken, received_us=NOW + 5))
    assert gathering.sessions == {}
    assert len(gathering.single) == 2


@given(st.permutations([
    a_sign(kind, ago=ago * SECOND, session=session, content=content, sequence=sequence)
    for kind, ago, session, content, sequence in [
        ("play", 30, 1, 1, 0), ("heartbeat", 20, 1, 1, 1), ("pause", 10, 1, 1, 2), ("heartbeat", 9, 1, 1, 3),
        ("play", 25, 2, 1, None), ("stop", 5, 2, 1, None), ("play", 5, 2, 2, None), ("seek", 4, 2, 2, 9),
    ]
]))  # fmt: skip
def test_no_order_of_arrival_gives_other_entries(some_order):
    gathering = gathered(*some_order)
    assert gathering.views == gathered(*sorted(some_order, key=lambda sign: sign.event)).views
    first = slot(gathering, BY_SEQUENCE + STATE), slot(gathering, BY_SEQUENCE + ALIVE)
    assert [register[:3] for register in first] == [(2, 2, content_of(1).bytes), (3, 0, content_of(1).bytes)]
    state, alive = (slot(gathering, BY_TIME + which, session=2) for which in (STATE, ALIVE))
    assert state[1:3] == (signs.END, content_of(1).bytes)  # of one moment, the end is the last word
    assert alive[1:3] == (signs.PLAY, content_of(2).bytes)
    assert slot(gathering, BY_SEQUENCE + ALIVE, session=2)[0] == 9


def test_a_newer_gateways_frames_are_not_read():
    with pytest.raises(UnknownSchema):
        Gathering(NOW, MEMORY).add(a_frame([row(a_sign())], 0, schema=2))


def test_ad_frames_are_passed_over():
    gathering = Gathering(NOW, MEMORY)
    gathering.add(a_frame([row(a_sign())], 0, kind=KIND_AD, schema=7))
    assert (gathering.entries, gathering.rows, gathering.signals) == (0, 0, 0)


def positions(batch):
    return list(entry.POSITION.iter_unpack(batch.positions))


def test_batches_are_cut_between_frames_and_their_positions_join(monkeypatch):
    monkeypatch.setattr(signs, "ENTRIES_MAX", 7)
    some = [a_sign(kind, session=session) for session in range(20) for kind in ("play", "heartbeat")]
    first, second = "aa" * 16, "bb" * 16
    parts = list(batches([a_slice(frames(some, size=2), 0, first), a_slice(frames(some, 5), 5, second)], NOW, MEMORY))
    assert len(parts) > 4
    at = {first: 0, second: 5}
    for part in parts:
        for name, before, behind in positions(part):
            assert at[name.decode()] == before < behind
            at[name.decode()] = behind
    assert at == {first: 40, second: 5 + 4}
    assert sum(part.rows for part in parts) == sum(part.signals for part in parts) == 40


def test_a_slice_that_damage_emptied_still_moves_its_position():
    (batch,) = batches([a_slice([], 3)._replace(state=a_slice(frames([a_sign()], 8)).state)], NOW, MEMORY)
    assert positions(batch) == [(b"5b" * 16, 3, 9)]
    assert not batch.views


def test_nothing_new_is_no_batch():
    assert list(batches([a_slice([], 3)], NOW, MEMORY)) == []


@pytest.mark.parametrize("sequence", [None, 0, 2**53 - 1])
@pytest.mark.parametrize("sent_us", [None, NOW])
def test_every_shape_of_a_tuple_is_read(sequence, sent_us):
    for kind in signs.RANKS:
        sign = a_sign(kind.decode(), sequence=sequence, sent_us=sent_us)
        gathering = Gathering(NOW, MEMORY)
        gathering.add(a_frame([row(sign), row(sign)], 0, kind=KIND_SIGNAL))
        registers = [register for register in gathering.sessions[session_of(1).bytes] if register is not None]
        assert {register[0] for register in registers} == {sign.occurred_us if sequence is None else sequence}
        assert {register[4] for register in registers} == {sign.occurred_us}
