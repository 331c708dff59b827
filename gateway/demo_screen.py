"""Where the demonstration's figures go."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Screen:
    """Redrawn in place on a terminal, a line a second elsewhere; nothing when nobody reads."""

    terminal: bool
    closed: bool = False
    _drawn_lines: int = 0

    def say(self, text: str) -> None:
        """Print for good."""
        self._drawn_lines = 0
        self._write(text + "\n")

    def draw(self, lines: Sequence[str]) -> None:
        """Show the figures of this second."""
        if not self.terminal:
            self._write("  ".join(" ".join(line.split()) for line in lines) + "\n")
            return
        back = f"\x1b[{self._drawn_lines}F\x1b[J" if self._drawn_lines else ""
        self._write(back + "\n".join(lines) + "\n")
        self._drawn_lines = len(lines)

    def _write(self, text: str) -> None:
        if self.closed:
            return
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except (OSError, ValueError):  # a closed pipe; a terminal that is gone
            self.closed = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the buffered would raise again at exit
