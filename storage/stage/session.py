"""Lines of one stream, judged: in their order, apart by the runs of their player, with what came late. Pure.

What a line means is in `storage.stage.meaning`, and of a late one in `storage.stage.late`.
"""

from collections.abc import Sequence

from storage.stage.late import Late
from storage.stage.line import NONE, Line
from storage.stage.meaning import Following, end_stall, forget, take
from storage.stage.numbers import RUNS_MAX, Run
from storage.stage.stream import Stream
from storage.stage.verdict import Verdicts


def judge(stream: Stream, lines: Sequence[Line], ahead: Sequence[Line]) -> Verdicts:
    """What becomes of `lines`, in the order of `sequence` and time; `stream` moves. `ahead`: later ones that are here
    already.

    At most one signal and one row a line.
    """
    verdicts = Verdicts()
    run = stream.runs[-1]
    last, seen_us, is_plain = run.highest, stream.seen_us, True
    for line in lines:
        seen_us = line.received_us if line.received_us > seen_us else seen_us
        if line.sequence <= last or line.occurred_us < run.begun_us:
            is_plain = False
        last = line.sequence
    stream.seen_us = seen_us
    if lines:
        stream.heartbeat = lines[-1].heartbeat
    if is_plain:  # in order, and nothing of it was there
        _judge_run(stream, lines, ahead, verdicts)
        return verdicts
    lines = _of_earlier_runs(stream, lines, verdicts)
    for _ in range(RUNS_MAX):  # a player that counts anew with every line is none: what is left are resends
        begun_us = _run_anew(stream, lines)
        if begun_us is None:
            break
        before = [line for line in lines if line.occurred_us < begun_us]
        lines = [line for line in lines if line.occurred_us >= begun_us]
        _judge_run(stream, before, (), verdicts)
        _begin_run(stream, begun_us, verdicts)
    _judge_run(stream, lines, ahead, verdicts)
    return verdicts


def _judge_run(stream: Stream, lines: Sequence[Line], ahead: Sequence[Line], verdicts: Verdicts) -> None:
    """Lines of the run that goes on."""
    late: Late | None = None
    run, following = stream.runs[-1], Following(lines, ahead)
    for at, line in enumerate(lines, 1):
        sequence = line.sequence
        if sequence > run.highest:
            run.pass_to(sequence)
            run.latest_us = max(run.latest_us, line.occurred_us)
            following.begin = at
            take(stream, line, following, verdicts)
        elif run.find(sequence):
            late = Late() if late is None else late
            late.judge(stream, line, verdicts)
            run.latest_us = max(run.latest_us, line.occurred_us)
        else:  # a resend
            verdicts.folded += 1


def _of_earlier_runs(stream: Stream, lines: Sequence[Line], verdicts: Verdicts) -> Sequence[Line]:
    """The others; those of earlier runs are late, or were there."""
    begun_us = stream.runs[-1].begun_us
    if all(line.occurred_us >= begun_us for line in lines):
        return lines
    late = Late()
    for line in lines:
        if line.occurred_us >= begun_us:
            continue
        run = next((one for one in reversed(stream.runs) if one.begun_us <= line.occurred_us), stream.runs[0])
        if line.sequence > run.highest:
            run.pass_to(line.sequence)
        elif not run.find(line.sequence):
            verdicts.folded += 1
            continue
        late.judge(stream, line, verdicts)
    return [line for line in lines if line.occurred_us >= begun_us]


def _run_anew(stream: Stream, lines: Sequence[Line]) -> int | None:
    """When the player began to count anew; None: it did not."""
    run, begun_us, before = stream.runs[-1], None, None
    for line in lines:
        is_again = before is not None and before.sequence == line.sequence and (before.occurred_us < line.occurred_us)
        if (is_again or run.has(line.sequence)) and line.occurred_us > run.latest_us:
            begun_us = line.occurred_us if begun_us is None else min(begun_us, line.occurred_us)
        before = line
    return begun_us


def _begin_run(stream: Stream, begun_us: int, verdicts: Verdicts) -> None:
    """What the player was doing may go on, or not: its next state says so."""
    before = stream.runs[-1]
    end_stall(stream, before.latest_us, verdicts)
    stream.runs = [*stream.runs, Run(begun_us, begun_us - 1)][-RUNS_MAX:]
    stream.state, stream.is_anew, stream.is_seeking, stream.kbps = b"", True, False, NONE
    stream.startup_told, stream.startup_ms = False, NONE


def silent(stream: Stream) -> Verdicts:
    """Nothing more is expected: a stall that is open has its row, without a duration."""
    verdicts = Verdicts()
    end_stall(stream, None, verdicts)
    forget(stream)
    stream.content, stream.is_anew, stream.startup_ms = b"", False, NONE  # what is kept for weeks is short
    return verdicts
