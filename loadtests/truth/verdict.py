"""The comparison, number by number, and the table of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from loadtests.expectation import Bounds

EXAMPLES_MAX: Final = 5  # of each kind


@dataclass(slots=True)
class Kind:
    """Numbers of one kind: `exact` where the ledger knew one number only, `bounded` where it knew two ends."""

    exact: int = 0
    bounded: int = 0
    wrong: list[str] = field(default_factory=list)


class Verdict:
    """What was compared so far."""

    def __init__(self) -> None:
        self.kinds: dict[str, Kind] = {}

    @property
    def holds(self) -> bool:
        """Everything that was compared was right, and of every kind something was."""
        return all(not kind.wrong and kind.exact + kind.bounded for kind in self.kinds.values())

    def number(self, kind: str, what: object, said: int, bounds: Bounds, why: Callable[[], str] = str) -> None:
        """One number beside what it has to be. `why` is asked for more when it is one of the wrong ones told."""
        of = self.kinds.setdefault(kind, Kind())
        if not bounds.hold(said):
            more = why() if len(of.wrong) < EXAMPLES_MAX else ""
            of.wrong.append(f"{what}: {said}, expected {bounds.least} to {bounds.most}{more}")
        elif bounds.least == bounds.most:
            of.exact += 1
        else:
            of.bounded += 1

    def judge(self, kind: str, what: object, wrong: str, *, exactly: bool = True) -> None:
        """One thing that is right when `wrong` is empty."""
        of = self.kinds.setdefault(kind, Kind())
        if wrong:
            of.wrong.append(f"{what}: {wrong}")
        elif exactly:
            of.exact += 1
        else:
            of.bounded += 1

    def take(self, others: Mapping[str, Kind]) -> None:
        """What another one compared."""
        for name, kind in others.items():
            of = self.kinds.setdefault(name, Kind())
            of.exact += kind.exact
            of.bounded += kind.bounded
            of.wrong += kind.wrong

    def text(self) -> str:
        """The table, and some of what is wrong."""
        lines = [f"{'':<52}{'exact':>9}{'in bounds':>11}{'wrong':>8}"]
        for name, kind in self.kinds.items():
            lines.append(f"{name:<52}{kind.exact:>9,}{kind.bounded:>11,}{len(kind.wrong):>8,}")
        for name, kind in self.kinds.items():
            lines += [f"  {name}: {example}" for example in kind.wrong[:EXAMPLES_MAX]]
        return "\n".join(lines)
