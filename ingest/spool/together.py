"""Rows that came alone, or few of them: those that come until the next commit share frames, which is what readers pay
for.
"""

from collections.abc import Iterator
from typing import Final

from ingest.batch import FrameBody

ROWS_TOGETHER_MAX: Final = 1_000
"""In a frame: as many as a request may bring."""


class Together:
    """Of one kind, with one schema, in what counts as one month; of each class of heartbeats in frames of their own."""

    __slots__ = ("_at_us", "_kind", "_month", "_rows", "_schema")

    def __init__(self, kind: int, month: int, schema: int) -> None:
        self._kind = kind
        self._month = month
        self._schema = schema
        self._rows: dict[int, list[bytes]] = {}
        """By flags."""
        self._at_us = 0

    def add(self, rows: list[bytes], received_at_us: int, flags: int = 0) -> None:
        """At least one."""
        if not self._rows:
            self._at_us = received_at_us
        self._rows.setdefault(flags, []).extend(rows)

    def bodies(self) -> Iterator[tuple[FrameBody, int]]:
        """Frames of all rows so far, and when the first of these was received; then there are none."""
        found, self._rows = self._rows, {}
        for flags, rows in found.items():
            for begin in range(0, len(rows), ROWS_TOGETHER_MAX):
                piece = rows[begin : begin + ROWS_TOGETHER_MAX]
                yield FrameBody.of(self._kind, flags, self._month, piece, self._schema), self._at_us

    def clear(self) -> None:
        """They are given up."""
        self._rows = {}
