"""Lines that came when those behind them were judged. Pure."""

from storage.stage.line import NONE, Line
from storage.stage.meaning import GOES_ON, STILL_STALLED, error_of
from storage.stage.stream import Stream, a_stream, completed_now
from storage.stage.verdict import COMPLETED, PAUSE, PLAY, QUALITY_CHANGE, SEEK, STOP, Verdict, Verdicts


class Late:
    """Each is judged by the one before it, as long as that is late, too."""

    def __init__(self) -> None:
        self._before = a_stream()
        self._sequence = -2

    def judge(self, stream: Stream, line: Line, verdicts: Verdicts) -> None:
        """`stream` remembers only what must not be told twice."""
        content, state = line.content if line.content is not None else stream.content, line.state
        if line.sequence != self._sequence + 1:
            self._before = a_stream()
            self._before.plays = True
        before, self._sequence = self._before, line.sequence
        kind: bytes | None = None
        if line.event == b"ps":
            if state == b"p":
                kind = None if before.state in STILL_STALLED or before.state == b"k" else PLAY
            elif state == b"a":
                kind = PAUSE if before.plays else None
            elif state == b"k":
                kind = SEEK if before.state != b"k" else None
            elif state == b"e" and completed_now(stream, content):
                kind = COMPLETED
            elif state == b"q":
                kind = STOP
        if line.event == b"e" or (line.event == b"ps" and state == b"f"):
            kind = error_of(stream, line)
        elif line.event == b"bc" and state == b"p" and line.bitrate_kbps not in (NONE, before.kbps):
            before.kbps, kind = line.bitrate_kbps, QUALITY_CHANGE
        if state is not None:
            before.state, before.plays = state, state in GOES_ON
        if kind is None:
            verdicts.folded += 1
        else:
            verdicts.append(Verdict(line, kind, False, content))
