"""Which lines are judged together: a function of the lines and their receipts, whoever brought them."""

from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.stage import window as window_module
from storage.stage.line import Key, Line
from storage.stage.row import tuple_of
from storage.stage.session import judge
from storage.stage.stream import Stream, a_stream
from storage.stage.window import WINDOW_US, Origin, Progress, Window
from tests.cmcd_lines import NOW_US, line


def of_frame(lines, origin):
    """The same lines, as read from a frame."""
    return [Line(one.raw, origin) for one in lines]


def rows_of(requests, looks_us=()):
    """Tuples of all that comes of `requests`, lists of lines, judged when somebody looks; a last look at the end."""
    window, progress = Window(), Progress(0)
    streams: dict[Key, Stream] = {}
    rows: list[bytes] = []
    requests = sorted(requests, key=lambda lines: lines[0].received_us)
    at = 0
    for look_us in [*sorted(looks_us), 2**62]:
        while at < len(requests) and requests[at][0].received_us <= look_us:
            window.add(of_frame(requests[at], progress.add(at, len(requests[at]))))
            at += 1
        for ripe in window.ripe(look_us - WINDOW_US, 2**62):
            stream = streams.setdefault(ripe.key, a_stream())
            rows += [tuple_of(one) for one in judge(stream, ripe.lines, ripe.ahead)]
    assert window.lines == 0
    assert progress.judged()[1] == sum(map(len, requests))
    return sorted(rows)


STATES = st.sampled_from(["s", "p", "a", "k", "r", "w", "e", "f", "q", "d", None])
EVENTS = st.sampled_from(["ps", "ps", "ps", "t", "rr", "e", "bc", "c"])


@st.composite
def viewings(draw):
    """Lines of up to three streams, each received at some time not long behind it."""
    found = []
    for session in range(draw(st.integers(1, 3))):
        at_ms = 0
        for number in range(draw(st.integers(1, 12))):
            at_ms += draw(st.integers(0, 1_500))
            found.append({
                "sequence": number,
                "event": draw(EVENTS),
                "state": draw(STATES),
                "session_id": f"session {session}",
                "content_id": draw(st.sampled_from(["one", "one", "other", None])),
                "bitrate_kbps": draw(st.sampled_from([None, 100, 200])),
                "error_code": draw(st.sampled_from([None, "7"])),
                "at_ms": at_ms,
                "behind_ms": draw(st.integers(0, 4_000)),
            })  # fmt: skip
    return found


def as_requests(draw, viewing):
    """The same lines in some requests, on some collectors: those of one request are received at once."""
    by_receipt: dict[int, list[Line]] = {}
    for given_line in viewing:
        by_receipt.setdefault(line(**dict(given_line)).received_us, []).append(line(**dict(given_line)))
    requests = []
    for lines in by_receipt.values():
        rest = draw(st.permutations(lines))
        while rest:
            cut = draw(st.integers(1, len(rest)))
            requests.append(rest[:cut])
            rest = rest[cut:]
    return draw(st.permutations(requests))


@settings(max_examples=60, deadline=None)
@given(st.data(), viewings())
def test_requests_collectors_and_the_time_of_looking_change_no_row(data, viewing):
    looks_us = data.draw(st.lists(st.integers(0, 30_000).map(lambda ms: NOW_US + 1_000 * ms), max_size=5))
    expected = rows_of([[line(**dict(one))] for one in viewing])
    assert rows_of(as_requests(data.draw, viewing), looks_us) == expected


@settings(max_examples=60, deadline=None)
@given(st.data(), viewings())
def test_lines_received_within_the_window_are_judged_in_order_whatever_overtook_them(data, viewing):
    at_once = [one | {"at_ms": number, "behind_ms": 0} for number, one in enumerate(viewing)]
    latest_ms = len(viewing)
    overtaken = [one | {"behind_ms": latest_ms - one["at_ms"] + data.draw(st.integers(0, 1_900))} for one in at_once]

    def judged(lines):
        return {strip(row) for row in rows_of([[line(**dict(one))] for one in lines])}

    assert judged(overtaken) == judged(at_once)


def strip(row):
    """Without received_at."""
    return row[:78] + row[86:]


@settings(max_examples=60, deadline=None)
@given(st.data(), viewings())
def test_requests_sent_again_are_folded(data, viewing):
    once = [[line(**dict(one))] for one in viewing]
    later = [
        [line(**(one | {"behind_ms": one["behind_ms"] + data.draw(st.integers(0, 600_000))}))]
        for one in data.draw(st.lists(st.sampled_from(viewing), max_size=10))
    ]
    ids = sorted(row[6:22] + row[90:94] for row in rows_of(once))
    assert sorted(row[6:22] + row[90:94] for row in rows_of(once + later)) == ids


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_lines_that_came_in_their_order_are_found_as_those_are_that_did_not(data):
    at_ms = received_ms = 0
    requests, number = [], 0
    for _ in range(data.draw(st.integers(1, 12))):
        at_ms += data.draw(st.integers(0, 900))
        received_ms = max(0, received_ms + data.draw(st.sampled_from([0, 1, 300, 300, 2_000, 2_001, -700])))
        count = data.draw(st.integers(1, 3))
        requests.append([
            line(number + index, "t", "p", at_ms=at_ms, behind_ms=received_ms - at_ms) for index in range(count)
        ])  # fmt: skip
        number += count
        if data.draw(st.integers(0, 9)) == 0:
            number -= 2  # a resend, or it counts anew
    looks_ms = sorted(data.draw(st.lists(st.integers(0, received_ms + 2_000), max_size=5)))

    def found():
        window, at, told = Window(), 0, []
        for look_ms in [*looks_ms, 10**6]:
            while at < len(requests) and requests[at][0].received_us <= NOW_US + look_ms * 1_000:
                window.add(of_frame(requests[at], Origin(at, len(requests[at]))))
                at += 1
            told += [
                [[(one.sequence, one.received_us) for one in lines] for lines in (ripe.lines, ripe.ahead)]
                for ripe in window.ripe(NOW_US + look_ms * 1_000 - WINDOW_US, 2**62)
            ]
        return told

    as_it_is = found()
    with patch.object(window_module, "_is_behind", lambda *_: False):
        assert as_it_is == found()


def test_a_line_waits_for_those_that_it_overtook():
    window, progress = Window(), Progress(5)
    late, early = line(0, "ps", "s", behind_ms=2_900), line(1, "ps", "p", behind_ms=0)
    window.add(of_frame([early], progress.add(5, 1)))
    progress.read_until = 6
    assert progress.judged() == (5, 0)
    window.add(of_frame([late], progress.add(6, 1)))
    progress.read_until = 7
    assert list(window.ripe(early.received_us - 1, 10)) == []
    (ripe,) = window.ripe(early.received_us, 10)
    assert [one.sequence for one in ripe.lines] == [0, 1]
    assert progress.judged() == (7, 2)


def test_what_comes_behind_the_window_is_not_waited_for():
    window, progress = Window(), Progress(0)
    early = line(1, "ps", "p", behind_ms=0)
    window.add(of_frame([early], progress.add(0, 1)))
    window.add(of_frame([line(0, "ps", "s", behind_ms=3_001)], progress.add(1, 1)))
    progress.read_until = 2
    (ripe,) = window.ripe(early.received_us, 10)
    assert [one.sequence for one in ripe.lines] == [1] and ripe.ahead == []
    assert progress.judged() == (1, 1)
    assert window.oldest_us == early.received_us + 2_001_000


def test_a_run_that_begins_within_the_window_does_not_overtake_the_one_before():
    begun = [(0, "t", None, 380, 930), (1, "ps", "r", 999, 400), (2, "bc", "r", 1_374, 480), (3, "ps", "p", 2_756, 390)]
    anew = [(0, "t", None, 3_158, 370), (1, "ps", "a", 4_070, 450), (2, "ps", "p", 4_798, 370)]
    lines = [
        line(sequence, event, state, at_ms=at_ms, behind_ms=behind_ms)
        for sequence, event, state, at_ms, behind_ms in begun + anew
    ]
    rows = rows_of([[one] for one in lines], range(NOW_US, NOW_US + 10_000_000, 250_000))
    kinds = [kind for kind in (b"pause", b"play") for row in rows if kind in row]
    assert kinds == [b"pause", b"play", b"play"], "Shaka Player, whose settings change in mid-play"


def test_a_stream_of_more_requests_than_a_player_sends_is_judged_at_once():
    window = Window()
    for number in range(4_000):
        window.add([Line(line(number, "t", "p", at_ms=number // 4, behind_ms=0).raw, Origin(number, 1))])
    (ripe,) = window.ripe(2**62, 2**62)
    assert len(ripe.lines) == 4_000 and window.lines == 0 and window.oldest_us is None


def test_a_stream_of_more_lines_than_a_player_sends_is_judged_at_once():
    window = Window()
    for begin in range(0, 4_000, 1_000):
        lines = [line(begin + number, "t", "p", at_ms=begin, behind_ms=0) for number in range(1_000)]
        window.add(of_frame(lines, Origin(begin, 1_000)))
    assert len(list(window.ripe(2**62, 2**62))) == 1


def test_of_a_stream_with_many_requests_only_what_is_ripe_is_judged_at_once():
    """The other collector's lines in between may not be read yet."""
    window, until_ms = Window(), 2_990
    numbers = [2 * number for number in range(150)]
    for number in numbers:
        window.add([Line(line(number, "t", "p", at_ms=20 * number, behind_ms=0).raw, Origin(number, 1))])
    (ripe,) = window.ripe(NOW_US + until_ms * 1_000, 2**62)
    ripe_numbers = [number for number in numbers if 20 * number <= until_ms]
    assert [one.sequence for one in ripe.lines] == ripe_numbers
    assert window.lines == 150 - len(ripe_numbers)
    for number in numbers:  # they are read now
        if 20 * (number + 1) > until_ms:
            window.add([Line(line(number + 1, "t", "p", at_ms=20 * (number + 1), behind_ms=0).raw, Origin(number, 1))])
    (rest,) = window.ripe(2**62, 2**62)
    assert [one.sequence for one in rest.lines] == list(range(150, 300))
    assert window.lines == 0


def test_a_line_that_is_read_behind_its_stream_is_judged_all_the_same():
    window = Window()
    for number in range(100):
        window.add([Line(line(number, "t", "p", at_ms=20 * number, behind_ms=0).raw, Origin(number, 1))])
    assert sum(len(ripe.lines) for ripe in window.ripe(NOW_US + 1_990_000, 2**62)) == 100
    for number in range(100, 200):
        window.add([Line(line(number, "t", "p", at_ms=20 * number, behind_ms=0).raw, Origin(number, 1))])
    assert sum(len(ripe.lines) for ripe in window.ripe(NOW_US + 3_000_000, 2**62)) == 51
    window.add([Line(line(7, "e", None, at_ms=140, behind_ms=0).raw, Origin(7, 1))])
    assert [len(ripe.lines) for ripe in window.ripe(NOW_US + 3_000_000, 2**62)] == [1]
    assert window.lines == 49
