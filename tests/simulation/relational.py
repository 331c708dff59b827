"""A relational server as the drain meets it: committed state, transactions over it, and its own bad days.

It keeps what PostgreSQL keeps (READ COMMITTED, the primary key, row locks, an aborted transaction stays aborted) of the
few tables the drain touches, and remembers every commit, so that it can fall back to an earlier moment.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from tests.simulation.rows import key_of

Key = tuple[str, bytes, int]
"""(table, id, number): what a row lock is on."""


class Position(NamedTuple):
    """A row of ingest_positions."""

    sequence: int
    totals: str


class Repair(NamedTuple):
    """A row of clock_repairs, without its key."""

    occurred_us: int
    repaired_us: int


@dataclass
class Change:
    """What a transaction did, or a commit."""

    rows: dict[bytes, list[bytes]] = field(default_factory=dict)
    """Primary key → tuples; a list, because a table without its key may hold several."""
    positions: dict[str, Position] = field(default_factory=dict)
    repairs: dict[tuple[bytes, int], Repair] = field(default_factory=dict)
    months: set[int] = field(default_factory=set)

    def copy(self) -> "Change":
        rows = {key: list(tuples) for key, tuples in self.rows.items()}
        return Change(rows, dict(self.positions), dict(self.repairs), set(self.months))

    def locks(self) -> set[Key]:
        return (
            {("row", key, 0) for key in self.rows}
            | {("position", name.encode(), 0) for name in self.positions}
            | {("repair", identity, raw_us) for identity, raw_us in self.repairs}
        )


@dataclass
class Commit:
    """A change, and what it replaced."""

    at_s: float
    change: Change
    positions_before: dict[str, Position | None]


class Transaction:
    """One under way. In doubt: its COMMIT is on its way, and nobody waits for the answer any more."""

    def __init__(self) -> None:
        self.change = Change()
        self.savepoint: Change | None = None
        self.staged: list[bytes] = []
        self.failed = False
        self.in_doubt = False
        self.touched_s = 0.0


class Relational:
    """The server. `now_s`: seconds that only grow; `wall_us`: its own clock, which is right.

    `breaks`: what it fails to be, and the worlds must notice: `key` (no primary key), `compare` (positions move
    wherever they are), `transaction` (positions move at once, whatever becomes of the rest).
    """

    def __init__(
        self, chance: Random, now_s: Callable[[], float], wall_us: Callable[[], int], breaks: frozenset[str]
    ) -> None:
        self.chance = chance
        self.now_s = now_s
        self.wall_us = wall_us
        self.breaks = breaks
        self.up = True
        self.fails = 0
        """Of 1,000 calls: how many break their connection, before or after they did something."""
        self.registered = True
        self.state = Change()
        self.transactions: list[Transaction] = []
        self.epoch = 0
        """Connections of an earlier one are gone."""
        self.fell_back = 0
        self.oldest_s = math.inf
        """The earliest moment that it ever fell back to."""
        self.depth_s = 0.0
        """How far back that was at most, from where it fell."""
        """Times it came back with less than it had committed."""
        self.diverged = False
        """Something was committed since it fell back: what it lost then cannot be brought back any more."""
        self._commits: list[Commit] = []
        self._lost: list[Commit] = []

    # ── what happens to it ──────────────────────────────────────────────────────────────────────────────────────

    def break_connections(self) -> None:
        """Every session ends; what was in doubt is decided."""
        self.epoch += 1
        for transaction in list(self.transactions):
            self.decide(transaction)

    def stop(self) -> None:
        self.break_connections()
        self.up = False

    def fall_back(self, to_s: float) -> None:
        """A lagging replica takes over, or a backup is restored: what was committed after `to_s` never was."""
        self.break_connections()
        self.oldest_s = min(self.oldest_s, to_s)  # of several falls the later ones may end where an earlier one did
        self.depth_s = max(self.depth_s, self.now_s() - self.oldest_s)
        kept = [commit for commit in self._commits if commit.at_s <= to_s]
        undone = self._commits[len(kept) :]
        for commit in reversed(undone):
            for key, tuples in commit.change.rows.items():
                del self.state.rows[key][-len(tuples) :]
                if not self.state.rows[key]:
                    del self.state.rows[key]
            for name, position in commit.positions_before.items():
                if position is None:
                    del self.state.positions[name]
                else:
                    self.state.positions[name] = position
            for repair in commit.change.repairs:
                del self.state.repairs[repair]
        self._commits = kept
        self._lost = undone + self._lost
        self.fell_back += bool(undone)

    def come_back_empty(self) -> None:
        """A new database, migrated by nobody."""
        self.fall_back(-1.0)
        self.registered = False

    def bring_back(self) -> bool:
        """An engineer finds the newest state again and puts it in place; False: it has gone another way since."""
        self.break_connections()
        self.registered = True
        if self.diverged:
            return False
        lost, self._lost = self._lost, []
        for commit in lost:
            self._apply(commit.change)
            self._commits.append(commit)
        return True

    # ── transactions ────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> Transaction:
        transaction = Transaction()
        self.transactions.append(transaction)
        return transaction

    def commit(self, transaction: Transaction) -> None:
        self.transactions.remove(transaction)
        change = transaction.change
        before = {name: self.state.positions.get(name) for name in change.positions}
        self._apply(change)
        self._commits.append(Commit(self.now_s(), change, before))
        self.diverged = self.diverged or bool(self._lost)

    def roll_back(self, transaction: Transaction) -> None:
        if transaction in self.transactions:
            self.transactions.remove(transaction)

    def decide(self, transaction: Transaction) -> None:
        """Its session has ended: it never was, unless its COMMIT was on its way, which may have come through."""
        if transaction in self.transactions:
            if transaction.in_doubt and not transaction.failed and self.chance.random() < 0.5:
                self.commit(transaction)
            else:
                self.roll_back(transaction)

    def holder(self, transaction: Transaction | None, wanted: set[Key]) -> Transaction | None:
        """Another transaction that holds a lock on one of these."""
        for other in self.transactions:
            if other is not transaction and not wanted.isdisjoint(other.change.locks()):
                return other
        return None

    # ── what a statement of a transaction sees and does ─────────────────────────────────────────────────────────

    def has_row(self, change: Change, key: bytes) -> bool:
        return key in self.state.rows or key in change.rows

    def has_month(self, change: Change, month: int) -> bool:
        return month in self.state.months or month in change.months

    def repair(self, change: Change, identity: bytes, raw_us: int) -> Repair | None:
        return change.repairs.get((identity, raw_us)) or self.state.repairs.get((identity, raw_us))

    def insert(self, change: Change, row: bytes) -> None:
        change.rows.setdefault(key_of(row), []).append(row)

    def begin_position(self, change: Change, name: str, position: Position) -> bool:
        """False: it was begun already."""
        if "compare" not in self.breaks and (name in self.state.positions or name in change.positions):
            return False
        self._move(change, name, position)
        return True

    def move_position(self, change: Change, name: str, before: int, position: Position) -> bool:
        """False: it is not where it was."""
        stands = change.positions.get(name) or self.state.positions.get(name)
        if "compare" not in self.breaks and (stands is None or stands.sequence != before):
            return False
        self._move(change, name, position)
        return True

    def _move(self, change: Change, name: str, position: Position) -> None:
        if "transaction" in self.breaks:
            self.state.positions[name] = position
        else:
            change.positions[name] = position

    def _apply(self, change: Change) -> None:
        for key, tuples in change.rows.items():
            self.state.rows.setdefault(key, []).extend(tuples)
        self.state.positions.update(change.positions)
        self.state.repairs.update(change.repairs)
        self.state.months |= change.months
