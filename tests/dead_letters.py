"""Dead letters with one thing changed, kept as a drain keeps them, and what is left of them."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from storage.dead_letter.box import read
from storage.dead_letter.handled import Handling, Outcome
from storage.dead_letter.letter import Letter
from storage.dead_letter.writer import DeadLetters

ROW = bytes(range(256))
INCARNATION = "ab" * 16


def a_letter(index: int = 0, sequence: int = 7, **changes: Any) -> Letter:
    """Of a refusal by a CHECK; its tuple is any bytes unless `row` is given."""
    row = changes.pop("row", ROW)
    fields: dict[str, Any] = {
        "reason": "sqlstate_23514",
        "sqlstate": "23514",
        "message": "refused",
        "event_id": "0190b5a0-5f0e-4b6f-9d0c-0a4a2f6f1a01",
        "occurred_at_us": 1,
        "received_at_us": 2,
        "incarnation": INCARNATION,
        "sequence": sequence,
        "index": index,
        "schema": 1,
        "flags": 0,
        "tuple": b64encode(row).decode(),
    }
    return Letter(**fields | changes)


def kept(data_dir: Path, *letters: Letter, reader: str = "postgres") -> None:
    """By a drain that has ended since, in a file of their own."""
    writer = DeadLetters(data_dir, reader, FileDisk(), SystemClock(), 10**9)
    assert writer.keep(letters) == 0
    writer.close()


def taken_away(data_dir: Path, *letters: Letter, outcome: Outcome = "dropped") -> None:
    """By a command that has ended since."""
    handling = Handling(data_dir, FileDisk(), SystemClock())
    handling.take_away([letter.identity for letter in letters], outcome)
    handling.close()


def left(data_dir: Path) -> list[int]:
    """Indices of the letters that are still there."""
    return [letter.index for letter in read(data_dir)]


def files_of(data_dir: Path) -> list[Path]:
    """Files of letters."""
    return sorted((data_dir / "dead").glob("*.jsonl"))
