"""What players sent, read out of a front's record, and the rows that it must come to. Nothing of ours is asked.

A viewing's lines are read one after the other, by their times and, within a millisecond, by `sn`, which may begin anew;
what each must come to is said by the states before and behind it. The same line is the one of the same number, time
and event.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from tests.browser.recording_front import Sent

MEMBER: Final = re.compile(r'([a-z][\w.*-]*)(?:=("[^"]*"|\([^)]*\)|[^,"()]*))?(?:,|$)')
BITRATE: Final = re.compile(r"\(?(\d+)")
END_SOON_MS: Final = 250
ONE_ERROR_MS: Final = 1_000
LATE_S: Final = 1.5
"""Less than the two seconds for which a gateway waits for what was overtaken: no test is about the moment itself."""
SETTLING: Final = ("p", "a", "e")


class Line(NamedTuple):
    """One line of CMCD; times in milliseconds since 1970."""

    session: str
    number: int
    at_ms: int
    event: str
    state: str
    keys: dict[str, str]
    """As sent, quotes and brackets included; "" of a bare key."""

    @property
    def bitrate_kbps(self) -> int | None:
        """Of the first that is named: the video's."""
        found = BITRATE.match(self.keys.get("br", ""))
        return int(found[1]) if found else None

    @property
    def error_code(self) -> str | None:
        return self.keys["ec"].strip('()"').split()[0].strip('"') if "ec" in self.keys else None


class Row(NamedTuple):
    """What must be in playback_events."""

    event_type: str
    at_ms: int
    number: int
    bitrate_kbps: int | None
    buffer_ms: int | None = None
    error_code: str | None = None


def line_of(text: str) -> Line:
    """Fails when a member of the line cannot be read."""
    keys: dict[str, str] = {}
    at = 0
    while at < len(text):
        member = MEMBER.match(text, at)
        assert member is not None, text[at:]
        keys[member[1]] = member[2] or ""
        at = member.end()
    return Line(keys["sid"].strip('"'), int(keys["sn"]), int(keys["ts"]), keys["e"], keys.get("sta", ""), keys)


def lines(sent: Iterable[Sent]) -> dict[str, list[Line]]:
    """Session → its lines in order, each once, out of everything that a gateway was handed and said 204 to."""
    told: dict[str, list[Line]] = {}
    for line, _ in sorted(_arrived(sent), key=lambda pair: (pair[0].at_ms, pair[0].number)):
        told.setdefault(line.session, []).append(line)
    return told


def unsettled(sent: Iterable[Sent], session: str) -> set[tuple[int, int]]:
    """Time and number of lines that something came late to: what they mean was decided without it, and stays so.

    A line is late that was under way LATE_S longer than the fastest of its viewing. It and its neighbours up to the
    next line that says by itself what plays are unsettled; with any, so are all changes of bitrate.
    """
    arrived = [(line, at_s) for line, at_s in _arrived(sent) if line.session == session]
    arrived.sort(key=lambda pair: (pair[0].at_ms, pair[0].number))
    fastest_s = min((at_s - line.at_ms / 1_000 for line, at_s in arrived), default=0.0)
    found: set[tuple[int, int]] = set()
    for at, (line, at_s) in enumerate(arrived):
        if at_s - line.at_ms / 1_000 > fastest_s + LATE_S:
            before = [one for one, _ in arrived[:at]]
            behind = [one for one, _ in arrived[at + 1 :]]
            settled = [number for number, one in enumerate(before) if one.state in SETTLING and one.event == "ps"]
            again = [number for number, one in enumerate(behind) if one.state in SETTLING and one.event == "ps"]
            near = before[settled[-1] :] if settled else before
            near += [line, *(behind[: again[0] + 1] if again else behind)]
            found.update((one.at_ms, one.number) for one in near)
    if found:
        found.update((one.at_ms, one.number) for one, _ in arrived if one.event == "bc")
    return found


def _arrived(sent: Iterable[Sent]) -> list[tuple[Line, float]]:
    """Each line once, and when it was kept first."""
    first: dict[tuple[str, int, int, str], tuple[Line, float]] = {}
    for one in sent:
        if one.method == "POST" and one.status == 204:
            for line in map(line_of, filter(None, one.body.decode("ascii").split("\n"))):
                first.setdefault(line[:4], (line, one.at_s))
    return list(first.values())


def rows(told: Sequence[Line]) -> list[Row]:
    """By time: what a viewing's lines must come to."""
    found: list[Row] = []
    for at, line in enumerate(told):
        before, behind = [one for one in told[:at] if one.state], [one for one in told[at + 1 :] if one.state]
        if line.event == "bc" and _plays(before) and line.bitrate_kbps != _last_kbps(told[:at]):
            found.append(_row("quality_change", line))
        elif line.event != "ps":
            continue
        elif line.state == "p" and not _plays(before):
            found.append(_row("play", line))
        elif line.state == "a" and _plays(before) and not _ends(line, behind):
            found.append(_row("pause", line))
        elif line.state == "k" and "k" not in _back_to(before, "pa"):
            found.append(_row("seek", line))
        elif line.state == "r" and before and before[-1].state == "p":
            over = next((one for one in behind if one.state not in "rw"), None)
            if over is not None:
                found.append(_row("buffering", line, buffer_ms=over.at_ms - line.at_ms))
        elif line.state == "e" and all(one.state != "e" for one in before):
            found.append(_row("completed", line))
    return sorted(found + _errors(told), key=lambda row: (row.at_ms, row.number))


def _plays(before: Sequence[Line]) -> bool:
    """By the last line that says so: what is sought or waited for plays on."""
    return next((line.state for line in reversed(before) if line.state in "paefsqd"), "") == "p"


def _last_kbps(before: Sequence[Line]) -> int | None:
    return next((line.bitrate_kbps for line in reversed(before) if line.event == "bc"), None)


def _row(event_type: str, line: Line, buffer_ms: int | None = None, error_code: str | None = None) -> Row:
    return Row(event_type, line.at_ms, line.number, line.bitrate_kbps, buffer_ms, error_code)


def _ends(line: Line, behind: Sequence[Line]) -> bool:
    return bool(behind) and behind[0].state == "e" and behind[0].at_ms - line.at_ms <= END_SOON_MS


def _back_to(before: Sequence[Line], any_of: str) -> list[str]:
    """The states since the last one of these."""
    since = [at for at, line in enumerate(before) if line.state in any_of]
    return [line.state for line in before[since[-1] + 1 if since else 0 :]]


def _errors(told: Sequence[Line]) -> list[Row]:
    """One a failure: `f` and `e` are one, and so is the same code again, as it never plays behind an error here."""
    found: list[Row] = []
    for at, line in enumerate(told):
        if line.event != "e" and not (line.event == "ps" and line.state == "f"):
            continue
        named = [one for one in told[at + 1 :] if one.event == "e" and one.at_ms - line.at_ms <= ONE_ERROR_MS]
        if line.event == "ps" and named:
            continue
        again = found and (line.at_ms - found[-1].at_ms <= ONE_ERROR_MS or line.error_code == found[-1].error_code)
        if not again:
            found.append(_row("error", line, error_code=line.error_code))
    return found
