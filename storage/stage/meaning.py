"""What a line means behind all those before it. Pure.

    state      row                                   only when                          else
    p          play                                  nothing plays yet                  a signal: it goes on
    a          pause                                 it plays, and no end follows at    nothing
                                                     once (END_SOON_US)
    k          seek                                  once, until p or a                 a signal
    r          buffering, once it is over            the last state was p               a signal, when it plays
    e          completed                             once a content                     nothing
    f, error   error                                 not within ERROR_ONE_US of one,    nothing
                                                     nor its code within ERROR_AGAIN_US
                                                     before it plays
    q          stop                                  once                               nothing
    s d w …    none                                                                     nothing

    event      row
    ps         by its state, as above
    e          error
    bc         quality_change, when it plays and this is another bitrate than the last one that was said
    c          play, when it is another content and that plays already
    any        none; a signal while it plays

A signal says that somebody watches. It is made of lines whose state is p, r or k behind a first play, and of no others:
players go on sending lines behind their end, and before anything moved.

A stall begins as a signal of `buffering`. It is over with the next state other than r and w, or with the content: then
its row is made, with the duration that the player tells (`bsd`) or else the time between the two lines. The row is the
first line's: its id, its time, its sequence. One that never ended, because the session fell silent, has no duration.

`startup_ms` is on the first play, if it was told by lines that are there by then, else on the next row or signal.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from config.limits import INT4_MAX
from storage.stage.line import AT, NONE, Line
from storage.stage.stream import Stream, completed_now
from storage.stage.verdict import (
    BUFFERING,
    COMPLETED,
    ERROR,
    HEARTBEAT,
    PAUSE,
    PLAY,
    QUALITY_CHANGE,
    SEEK,
    STOP,
    Verdict,
    Verdicts,
)

END_SOON_US: Final = 250_000
"""A pause is none when the end follows within so long: players say `a` and then `e`."""
ERROR_ONE_US: Final = 1_000_000
"""The state `f` and the event `e` of one error are no further apart."""
ERROR_AGAIN_US: Final = 60_000_000
"""The same code is told again and again of one trouble, but not for so long behind the row that it had: a player that
tries for hours and never plays has a row a minute, not one for ever."""
LIVELY: Final = frozenset((b"p", b"r", b"k"))
"""States in which somebody watches, once it plays."""
GOES_ON: Final = frozenset((b"p", b"r", b"k", b"w"))
"""States from which `p` is no new play."""
STILL_STALLED: Final = frozenset((b"r", b"w"))
_SEEKS_ON: Final = frozenset((b"k", b"r", b"w"))
_ERROR_CODE: Final = AT["error_code"]


class Following:
    """Lines behind the one at hand that are known already, in order."""

    __slots__ = ("ahead", "begin", "lines")

    def __init__(self, lines: Sequence[Line], ahead: Sequence[Line], begin: int = 0) -> None:
        self.lines = lines
        self.begin = begin
        """Of `lines`, where they begin."""
        self.ahead = ahead

    def each(self) -> Iterator[Line]:
        yield from self.lines[self.begin :]
        yield from self.ahead


def take(stream: Stream, line: Line, following: Following, verdicts: Verdicts) -> None:
    """The line behind all that were judged."""
    content, state = line.content, line.state
    is_other = content is not None and content != stream.content and _take_content(stream, line, content, verdicts)
    if line.startup_ms >= 0 and not stream.startup_told:
        stream.startup_told, stream.startup_ms = True, line.startup_ms
    if stream.stall:
        if line.stall_ms >= 0:
            stream.stall_ms = line.stall_ms
        if state is not None and state not in STILL_STALLED:
            end_stall(stream, line.occurred_us, verdicts)
    event = line.event
    kind = None
    if event == b"ps":
        change = _CHANGES.get(state or b"")
        kind = change(stream, line, following) if change is not None else None
    else:
        if event == b"e":
            kind = error_of(stream, line)
        elif event == b"bc":
            kind = _bitrate(stream, line)
        elif event == b"c" and is_other and state == b"p":
            kind = PLAY
        if state is not None and state != stream.state:
            _follow(stream, state)
    if state is not None:
        stream.state = state
        if stream.is_anew:
            stream.is_anew = state in _SEEKS_ON
    if kind is None:
        if stream.plays and stream.state in LIVELY:
            is_stall = bool(stream.stall) and stream.stall is line.raw
            verdicts.append(_verdict(stream, line, BUFFERING if is_stall else HEARTBEAT, True))
        else:
            verdicts.folded += 1
        return
    if kind == PLAY and not stream.startup_told:
        stream.startup_ms = _startup_ahead(following)
        stream.startup_told = stream.startup_ms >= 0
    verdicts.append(_verdict(stream, line, kind, False))


def _verdict(stream: Stream, line: Line, kind: bytes, is_signal: bool) -> Verdict:
    startup_ms, stream.startup_ms = stream.startup_ms, NONE
    return Verdict(line, kind, is_signal, stream.content, NONE, startup_ms)


def _take_content(stream: Stream, line: Line, content: bytes, verdicts: Verdicts) -> bool:
    """Another one than the stream's: whether there was one before."""
    is_other = bool(stream.content)
    if is_other:
        end_stall(stream, line.occurred_us, verdicts)
        forget(stream)
    stream.content = content
    return is_other


def forget(stream: Stream) -> None:
    """What it was doing."""
    stream.state, stream.plays, stream.is_seeking, stream.kbps = b"", False, False, NONE
    stream.error_us, stream.error_code = 0, None


def _follow(stream: Stream, state: bytes) -> None:
    """The state changed, and the line that said so is not here."""
    if state == b"p":
        stream.plays = True
    elif state not in GOES_ON:
        stream.plays = False
    if state not in _SEEKS_ON:
        stream.is_seeking = False


def _play(stream: Stream, line: Line, following: Following) -> bytes | None:
    goes_on = stream.plays and stream.state in GOES_ON and not stream.is_anew
    stream.plays, stream.is_seeking, stream.error_code = True, False, None
    return None if goes_on else PLAY


def _pause(stream: Stream, line: Line, following: Following) -> bytes | None:
    was, stream.plays, stream.is_seeking = stream.plays, False, False
    return PAUSE if was and not _ends_soon(line, following) else None


def _seek(stream: Stream, line: Line, following: Following) -> bytes | None:
    was, stream.is_seeking = stream.is_seeking, True
    return None if was else SEEK


def _rebuffer(stream: Stream, line: Line, following: Following) -> None:
    if stream.plays and stream.state == b"p":
        stream.stall, stream.stall_ms = line.raw, NONE


def _complete(stream: Stream, line: Line, following: Following) -> bytes | None:
    stream.plays = False
    return COMPLETED if completed_now(stream, stream.content) else None


def _fail(stream: Stream, line: Line, following: Following) -> bytes | None:
    stream.plays = False
    return None if _error_follows(line, following) else error_of(stream, line)


def error_of(stream: Stream, line: Line) -> bytes | None:
    code = line.value(_ERROR_CODE) or b""
    apart_us = abs(line.occurred_us - stream.error_us)
    if apart_us <= ERROR_ONE_US or (code == stream.error_code and apart_us < ERROR_AGAIN_US):
        return None
    stream.error_us, stream.error_code = line.occurred_us, code
    return ERROR


def _stop(stream: Stream, line: Line, following: Following) -> bytes | None:
    stream.plays = False
    return STOP if stream.state != b"q" else None


def _start(stream: Stream, line: Line, following: Following) -> None:
    stream.plays = False


def _bitrate(stream: Stream, line: Line) -> bytes | None:
    if line.bitrate_kbps in (NONE, stream.kbps):
        return None
    stream.kbps = line.bitrate_kbps
    plays = stream.plays and (line.state is None or line.state in GOES_ON)
    return QUALITY_CHANGE if plays else None  # else it is the choice of where to begin, and a sign of no viewer


_CHANGES: Final[dict[bytes, Callable[[Stream, Line, Following], bytes | None]]] = {
    b"p": _play,
    b"a": _pause,
    b"k": _seek,
    b"r": _rebuffer,
    b"e": _complete,
    b"f": _fail,
    b"q": _stop,
    b"s": _start,
}


def end_stall(stream: Stream, ended_us: int | None, verdicts: Verdicts) -> None:
    """None: nobody knows when it ended."""
    if not stream.stall:
        return
    began, told_ms = Line(stream.stall), stream.stall_ms
    began.heartbeat = stream.heartbeat
    stream.stall, stream.stall_ms = b"", NONE
    if told_ms < 0 and ended_us is not None and ended_us > began.occurred_us:
        told_ms = (ended_us - began.occurred_us) // 1_000
    verdicts.append(Verdict(began, BUFFERING, False, stream.content, min(told_ms, INT4_MAX), is_stall=True))


def _ends_soon(line: Line, following: Following) -> bool:
    """Whether the next state is the end, and comes at once."""
    for one in following.each():
        if one.event == b"ps" and one.state is not None:
            return one.state == b"e" and abs(one.occurred_us - line.occurred_us) <= END_SOON_US
    return False


def _error_follows(line: Line, following: Following) -> bool:
    """Whether the event that knows the code is here, too."""
    return any(
        one.event == b"e" and abs(one.occurred_us - line.occurred_us) <= ERROR_ONE_US for one in following.each()
    )


def _startup_ahead(following: Following) -> int:
    return next((one.startup_ms for one in following.each() if one.startup_ms >= 0), NONE)
