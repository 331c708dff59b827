"""What became of a load: the answers as its ledgers have them, the stores beside them, and the table of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from loadtests.ledger import Ledger, lines
from loadtests.reconcile import Report

COLUMNS: Final = (
    *("model", "users", "seconds", "requests", "posted", "acknowledged", "refused", "unanswered"),
    *("p50 ms", "p99 ms", "stored", "missing", "doubled", "miscounted", "verify"),
)


@dataclass(slots=True)
class Answers:
    """How requests ended, by status or by why there was none, and how long answers took, in ascending order."""

    endings: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Self:
        """Every try of these ledgers that ended."""
        answers = cls()
        for path in paths:
            begun_us: dict[int, int] = {}
            for line in lines(path):
                if line["k"] == "try":
                    begun_us[line["n"]] = line["t"]
                elif line["k"] == "answer":
                    answers.endings[str(line["status"])] += 1
                    answers.latencies_ms.append((line["t"] - begun_us[line["n"]]) / 1000)
                elif line["k"] == "lost":
                    answers.endings[line["why"]] += 1
        answers.latencies_ms.sort()
        return answers

    def latency_ms(self, share: float) -> float:
        """What this share of the answers took at most; 0 without any."""
        assert 0 <= share < 1
        return self.latencies_ms[int(len(self.latencies_ms) * share)] if self.latencies_ms else 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One load and its judgement; `verify` is what that command has against it, empty when it agrees."""

    model: str
    users: int
    seconds: int
    ledger: Ledger
    answers: Answers
    report: Report
    verify: str

    @property
    def holds(self) -> bool:
        """Something was acknowledged, everything was answered, and all books agree."""
        acknowledged = any(entry.acknowledged for entry in self.ledger.entries.values())
        return acknowledged and not self.ledger.unanswered() and self.report.equal and not self.verify

    def text(self) -> str:
        """For people: figures, answers, and what differs."""
        said = ", ".join(f"{count:,} × {ending}" for ending, count in self.answers.endings.most_common())
        parts = [_table([COLUMNS, self._row()]), f"\nanswers: {said or 'none'}"]
        if not self.report.equal:
            parts.append(self.report.text())
        if self.verify:
            parts.append(f"verify: {self.verify}")
        return "\n".join(parts)

    def _row(self) -> tuple[str, ...]:
        entries = self.ledger.entries.values()
        counts = (
            self.answers.endings.total(),
            len(entries),
            sum(entry.acknowledged for entry in entries),
            sum(bool(entry.refusals) for entry in entries),
            len(self.ledger.unanswered()),
        )
        report = self.report
        differences = (len(report.missing), len(report.doubled), len(report.miscounted))
        return (
            self.model,
            *(f"{count:,}" for count in (self.users, self.seconds, *counts)),
            *(f"{self.answers.latency_ms(share):.1f}" for share in (0.5, 0.99)),
            *(f"{count:,}" for count in (report.stored, *differences)),
            "DIFFERS" if self.verify else "agrees",
        )


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
