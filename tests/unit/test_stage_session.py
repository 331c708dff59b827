"""What a line of CMCD means behind its session's earlier lines: the table of players.md §4."""

import pytest

from storage.stage.books import booked
from storage.stage.line import Line
from storage.stage.numbers import GAPS_MAX, RUNS_MAX
from storage.stage.session import judge, silent
from storage.stage.stream import a_stream
from storage.stage.verdict import BUFFERING
from tests.cmcd_lines import line, lines_of


def told(lines, ahead=(), stream=None):
    """`play pause heartbeat?` …: kinds in order, signals with a question mark."""
    verdicts = judge(a_stream() if stream is None else stream, lines, ahead)
    return " ".join(one.kind.decode() + "?" * one.is_signal for one in verdicts)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("d s p a p k r p e", "play pause play seek heartbeat? heartbeat? completed"),
        ("s p a p k w p a e", "play pause play seek heartbeat? pause completed"),
        ("r p a p k r p e a e", "play pause play seek heartbeat? heartbeat? completed"),
        ("s p r p", "play buffering? buffering heartbeat?"),
        ("s p k r p", "play seek heartbeat? heartbeat?"),
        ("s a k p", "seek play"),
        ("s p e p e", "play completed play"),
        ("s p k k p", "play seek heartbeat? heartbeat?"),
        ("p q", "play stop"),
        ("q q", "stop"),
        ("r p k r k p", "play seek heartbeat? heartbeat? heartbeat?"),
        (
            "t= s r p a p k w p r p t=p a e",
            "play pause play seek heartbeat? buffering? buffering heartbeat? heartbeat? pause completed",
        ),
    ],
)
def test_a_viewing_is_told_by_its_states(states, expected):
    assert told(lines_of(states)) == expected


def test_a_pause_just_before_the_end_is_none():
    assert told(lines_of("s p a e", step_ms=100)) == "play completed"
    assert told(lines_of("s p a e", step_ms=300)) == "play pause completed"


def test_the_end_behind_a_pause_may_be_in_a_later_request():
    *lines, end = lines_of("s p a e", step_ms=100)
    assert told(lines, ahead=[end]) == "play"


def test_a_content_is_completed_once():
    assert told(lines_of("p e a e p e")) == "play completed play"


def test_a_fatal_state_and_its_event_are_one_error_and_the_one_with_the_code():
    lines = [line(0, "ps", "f"), line(1, "e", "f", at_ms=400, error_code="25"), line(2, "t", "f", error_code="25")]
    (verdict,) = judge(a_stream(), lines, ())
    assert (verdict.kind, verdict.line.sequence) == (b"error", 1)
    assert told(lines[:1]) == "error"
    assert told(lines[:1]) == told([line(0, "e", "f"), line(1, "ps", "f", at_ms=900)]) == "error"
    assert told([line(0, "e"), line(1, "e", at_ms=1_001, error_code="3")]) == "error error"


def test_an_error_that_is_told_again_and_again_is_one_until_it_plays():
    codes = [line(number, "e", "r", at_ms=3_070 * number, error_code="27") for number in range(1, 5)]
    stream = a_stream()
    assert told([*lines_of("s p"), *codes[1:]], stream=stream) == "play error heartbeat? heartbeat?"
    later = [line(5, "ps", "p", at_ms=20_000), line(6, "e", "p", at_ms=30_000, error_code="27")]
    assert told(later, stream=stream) == "heartbeat? error"


def test_a_player_that_tries_for_ever_and_never_plays_has_an_error_a_minute():
    stream = a_stream()
    tries = [line(number, "e", "f", at_ms=10_000 * number, error_code="27") for number in range(61)]
    assert told([line(0, "ps", "s"), *tries[1:]], stream=stream) == " ".join(["error"] * 10)
    assert told([line(61, "e", "f", at_ms=615_000, error_code="28")], stream=stream) == "error", "another one at once"


@pytest.mark.parametrize("holes", [GAPS_MAX - 1, GAPS_MAX, 3 * GAPS_MAX])
def test_all_lines_sent_again_behind_however_many_holes_make_nothing(holes):
    """Every fourth number never comes; the others play on, pause, and change their bitrate."""
    words = ["p", "bc=p", "t=p"]
    lines = []
    for number in range(4 * holes):
        if number % 4 < 3:
            event, _, state = words[number % 4].rpartition("=")
            lines.append(line(number, event or "ps", state, bitrate_kbps=900 + number))
    stream = a_stream()
    assert told(lines, stream=stream).startswith("play ")
    again = [Line(one.raw) for one in lines]
    for one in again:
        one.received_us += 30_000_000
    assert judge(stream, again, ()) == []
    late = line(4 * holes - 5, "ps", "a", at_ms=1_000 * (4 * holes - 5))
    assert told([late], stream=stream) == "pause", "one of the last holes is filled all the same"


def test_players_tell_a_lost_segment_twice():
    assert told(lines_of("p f e=f r f e=f t=f t=f", step_ms=120)) == "play error"


def test_beats_say_that_somebody_watches_only_while_it_plays():
    assert told(lines_of("t= s t=s p t=p rr=p a t=a k t=k p e t=e t=e")) == (
        "play heartbeat? heartbeat? pause seek play completed"
    )
    assert told(lines_of("p f t=f t=f")) == "play error"


def test_a_player_that_says_no_state_is_no_viewer():
    assert told(lines_of("t= bc= rr= m= t=")) == ""


def test_a_stall_is_a_signal_when_it_begins_and_a_row_when_it_is_over():
    lines = [line(0, "ps", "p"), line(1, "ps", "r"), line(2, "t", "r"), line(3, "ps", "p", at_ms=4_500)]
    stream = a_stream()
    begun = judge(stream, lines[:3], ())
    assert [(one.kind, one.is_signal) for one in begun] == [(b"play", False), (BUFFERING, True), (b"heartbeat", True)]
    over, goes_on = judge(stream, lines[3:], ())
    assert (over.kind, over.is_signal, over.line.sequence, over.buffer_ms) == (BUFFERING, False, 1, 3_500)
    assert (goes_on.kind, goes_on.is_signal) == (b"heartbeat", True)


def test_the_player_knows_best_how_long_a_stall_was():
    lines = [line(0, "ps", "p"), line(1, "ps", "r"), line(2, "ps", "p", stall_ms=640)]
    assert judge(a_stream(), lines, ())[2].buffer_ms == 640


def test_a_stall_behind_which_nothing_came_has_no_duration():
    stream = a_stream()
    judge(stream, lines_of("p r"), ())
    (verdict,) = silent(stream)
    assert (verdict.kind, verdict.buffer_ms) == (BUFFERING, -1)
    assert silent(stream) == []


@pytest.mark.parametrize("end", ["a", "k", "e", "f", "q"])
def test_whatever_ends_a_stall_ends_it(end):
    verdicts = judge(a_stream(), lines_of(f"p r {end}"), ())
    assert [one.buffer_ms for one in verdicts if one.kind == BUFFERING and not one.is_signal] == [1_000]


def test_another_bitrate_is_a_change_and_the_same_is_none():
    lines = [
        line(0, "ps", "p"),
        line(1, "bc", "p", bitrate_kbps=368),
        line(2, "bc", "p", bitrate_kbps=966),
        line(3, "bc", "p", bitrate_kbps=966),
        line(4, "bc", "p"),
    ]
    assert told(lines) == "play quality_change quality_change heartbeat? heartbeat?"


def test_the_bitrate_to_begin_with_is_no_change():
    lines = [line(0, "bc", "d", bitrate_kbps=368), line(1, "ps", "p"), line(2, "bc", "p", bitrate_kbps=966)]
    assert told(lines) == "play quality_change"


def test_bitrates_of_what_does_not_play_are_no_rows_however_often_they_change():
    chosen = [line(0, "bc", "r", bitrate_kbps=168), line(1, "bc", "r", bitrate_kbps=448), line(2, "ps", "p")]
    assert told(chosen) == "play"
    without_states = [line(0, "bc", bitrate_kbps=168), line(1, "bc", bitrate_kbps=448), line(2, "t")]
    assert told(without_states) == "", "Shaka Player, minified"
    loaded_again = [line(0, "ps", "p"), line(1, "ps", "d"), line(2, "bc", "d", bitrate_kbps=450)]
    assert told(loaded_again) == "play"


def test_startup_time_is_told_with_the_first_play_if_it_is_known_by_then():
    lines = [*lines_of("s p"), line(2, "rr", "p", startup_ms=2_519), line(3, "ps", "a", startup_ms=1)]
    play, _, pause = judge(a_stream(), lines, ())
    assert (play.startup_ms, pause.startup_ms) == (2_519, -1)


def test_startup_time_that_is_told_later_is_on_the_next_row():
    stream = a_stream()
    judge(stream, lines_of("s p"), ())
    (pause,) = judge(stream, [line(2, "ps", "a", startup_ms=2_519)], ())
    assert pause.startup_ms == 2_519


def test_a_content_follows_another_within_a_session():
    lines = [
        line(0, "ps", "p"),
        line(1, "ps", "r"),
        line(2, "c", "p", content_id="next"),
        line(3, "t", "p", content_id="next"),
        line(4, "ps", "e", content_id="next"),
    ]
    verdicts = judge(a_stream(), lines, ())
    assert [(one.kind, one.content) for one in verdicts] == [
        (b"play", b"streamverse-movie-1"),
        (b"buffering", b"streamverse-movie-1"),
        (b"buffering", b"streamverse-movie-1"),
        (b"play", b"next"),
        (b"heartbeat", b"next"),
        (b"completed", b"next"),
    ]


def test_a_line_without_a_content_is_of_the_last_one():
    verdicts = judge(a_stream(), [line(0, "ps", "p"), line(1, "ps", "a", content_id=None)], ())
    assert verdicts[1].content == b"streamverse-movie-1"


def test_lines_sent_again_change_nothing():
    stream = a_stream()
    lines = lines_of("s p r p a p k p e q")
    judge(stream, lines, ())
    before = str(stream)
    assert judge(stream, lines, ()) == judge(stream, lines[3:5], ()) == []
    assert str(stream) == before


def test_a_line_that_was_overtaken_for_too_long_makes_its_own_row():
    stream = a_stream()
    s, p, a, again, end = lines_of("s p a p e")
    assert told([s, p, again, end], stream=stream) == "play heartbeat? completed"
    assert told([a], stream=stream) == "pause"
    assert told([a], stream=stream) == ""
    assert told([line(5, "ps", "p")], stream=stream) == "play"


def test_late_lines_are_judged_by_the_one_before_them():
    stream = a_stream()
    lines = lines_of("s p k p a p e")
    judge(stream, [lines[0], lines[6]], ())
    assert told(lines[1:6], stream=stream) == "play seek pause play"
    assert told(lines_of("s p k p a p e e")[7:], stream=stream) == ""


def a_run(words, at_ms):
    """A player that counts from 0 at `at_ms`, a line every 100 ms."""
    return [line(number, "ps", word, at_ms=at_ms + 100 * number) for number, word in enumerate(words.split())]


def test_a_player_that_counts_anew_is_a_run_of_its_own():
    stream = a_stream()
    first, second = a_run("s r d", 0), a_run("d p a p", 243)
    assert told(first, stream=stream) == ""
    assert told(second, stream=stream) == "play pause play"
    assert told(second, stream=stream) == told(first, stream=stream) == ""


def test_two_runs_are_told_apart_when_they_are_judged_together():
    lines = sorted([*a_run("s p r p a", 0), *a_run("r p e", 800)], key=lambda one: (one.sequence, one.occurred_us))
    stream = a_stream()
    assert told(lines, stream=stream) == "play buffering? buffering heartbeat? pause play completed"
    assert told(lines, stream=stream) == ""


def test_what_plays_may_be_paused_by_the_next_run():
    stream = a_stream()
    told(a_run("s p", 0), stream=stream)
    assert told([line(0, "t", at_ms=1_000), line(1, "ps", "a", at_ms=2_000)], stream=stream) == "pause"


def test_a_page_that_is_loaded_again_plays_again_and_its_stall_is_over_when_it_was_heard_of_last():
    stream = a_stream()
    told([*a_run("s p r", 0), line(3, "t", "r", at_ms=700)], stream=stream)
    stall, _, play = judge(stream, a_run("r p", 60_000), ())
    assert (stall.kind, stall.buffer_ms, play.kind) == (b"buffering", 500, b"play")


def test_a_line_of_an_earlier_run_is_late_and_no_other_run():
    stream = a_stream()
    first = a_run("s p a p k", 0)
    told([*first[:2], first[4]], stream=stream)
    told(a_run("s p", 900), stream=stream)
    assert told(first, stream=stream) == "pause play"
    assert told(first, stream=stream) == ""
    assert told(a_run("s p q", 900), stream=stream) == "stop"


def test_a_player_that_never_counts_on_is_judged_in_a_few_runs():
    stream = a_stream()
    lines = [line(0, "ps", "p" if number % 2 else "a", at_ms=number) for number in range(1_000)]
    verdicts = judge(stream, lines, ())
    assert len(stream.runs) == RUNS_MAX
    assert len(verdicts) + verdicts.folded == 1_000 and verdicts.folded > 900


def test_what_is_folded_is_counted_by_itself():
    stream = a_stream()
    lines = lines_of("s p t=p w p e t=e")
    verdicts = judge(stream, lines, ())
    assert (len(verdicts), verdicts.folded) == (4, 3)
    assert booked(7, verdicts).balanced and not booked(8, verdicts).balanced
    assert judge(stream, lines, ()).folded == 7
