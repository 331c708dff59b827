"""What became of the lines that were read: lines + stalls = rows + signals + folded. Pure."""

from typing import NamedTuple

from storage.stage.verdict import Verdicts


class Books(NamedTuple):
    """Of one turn, or of all."""

    lines: int = 0
    """Judged. One of a frame that was judged in part when the stage was stopped is judged again, and folded."""
    rows: int = 0
    """In frames of playback events."""
    signals: int = 0
    """In frames of signals."""
    folded: int = 0
    """Lines that were neither."""
    stalls: int = 0
    """Rows of lines that had been signals when they were judged."""

    @property
    def balanced(self) -> bool:
        return self.lines + self.stalls == self.rows + self.signals + self.folded


def booked(lines: int, verdicts: Verdicts) -> Books:
    """Of `lines` that were judged; each number is counted by itself, so that they may be held against each other."""
    rows = signals = stalls = 0
    for one in verdicts:
        if one.is_signal:
            signals += 1
        else:
            rows += 1
            stalls += one.is_stall
    return Books(lines, rows, signals, verdicts.folded, stalls)
