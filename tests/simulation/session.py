"""A session with the relational server: what the gateway uses of asyncpg's connection, statement by statement."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from storage.postgres.ad_statement import STATEMENTS as AD_STATEMENTS
from storage.postgres.playback_store import OURS, READER
from storage.postgres.statement import STATEMENTS
from tests.simulation.process import Process
from tests.simulation.relational import Key, Position, Relational, Repair, Transaction
from tests.simulation.rows import key_of, read, tuples_of

LOCK_TIMEOUT_S = 2.0
IDLE_IN_TRANSACTION_S = 3.0
"""Both a tenth of the real ones: worlds are short."""
IN_DOUBT_MAX_S = 0.5
"""Until a COMMIT that was on its way is decided."""
POISON = b"poison"
"""Of `platform`: what an engineer's CHECK refuses."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
POSTGRES_EPOCH_US = 946_684_800_000_000
SECOND_US = 1_000_000
ROLLED_BACK_TO = "ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part"


class Session:
    """One process's. Answers may take a moment; the connection may break before or after anything."""

    def __init__(self, server: Relational, process: Process) -> None:
        self._server = server
        self._process = process
        self._epoch = server.epoch
        self._open = True
        self._transaction: Transaction | None = None
        process.on_death.append(self._died)
        self._statements: dict[str, Callable[..., Awaitable[str]]] = {
            STATEMENTS["make_staging"]: self._nothing,
            AD_STATEMENTS["make_staged_ads"]: self._nothing,  # worlds have no ads
            STATEMENTS["clear_staging"]: self._clear_staging,
            STATEMENTS["begin_positions"]: self._begin_positions,
            STATEMENTS["move_positions"]: self._move_positions,
            STATEMENTS["remember_repairs"]: self._remember_repairs,
            "SELECT 1": self._nothing,
            "BEGIN": self._begin,
            "SAVEPOINT part": self._savepoint,
            "RELEASE SAVEPOINT part": self._nothing,
            ROLLED_BACK_TO: self._roll_back_to,
            "ROLLBACK": self._roll_back,
        }

    # ── the driver's calls ──────────────────────────────────────────────────────────────────────────────────────

    async def execute(self, statement: str, *arguments: Any) -> str:
        if statement == "COMMIT":
            return await self._commit()
        await self._arrive(statement in ("ROLLBACK", ROLLED_BACK_TO))
        answer = await self._statements[statement](*arguments)
        await self._travel()
        return answer

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        await self._arrive()
        if statement == STATEMENTS["positions"]:
            found: list[Any] = [
                {"incarnation": UUID(hex=name), "sequence": position.sequence, "totals": position.totals}
                for name, position in sorted(self._server.state.positions.items())
            ]
        elif statement == STATEMENTS["recall_repairs"]:
            found = self._recall(*arguments)
        else:
            assert "pg_inherits" in statement
            months = sorted(self._server.state.months)
            found = [
                {"relname": f"playback_events_{month // 12:04d}_{month % 12 + 1:02d}", "inhdetachpending": False}
                for month in months
            ]
        await self._travel()
        return found

    async def fetchrow(self, statement: str, *arguments: Any) -> Any:
        assert statement == STATEMENTS["repaired_lately"]
        await self._arrive()
        return await self._answer(self._repaired_lately(*arguments))

    async def fetchval(self, statement: str, *arguments: Any) -> Any:
        if statement == STATEMENTS["registration"] and arguments != (READER,):
            return OURS  # whose the rows are: chosen in all worlds; it takes no turn, so that seeds stay what they are
        await self._arrive()
        if statement == STATEMENTS["registration"]:
            return await self._answer(1 if self._server.registered else None)
        if statement.startswith("SELECT ensure_month_partition"):
            return await self._answer(self._ensure_month(arguments[1]))
        assert statement.startswith("WITH adopted AS")
        return await self._answer(await self._adopt())

    async def copy_to_table(self, table: str, *, source: AsyncIterator[bytes], columns: Any, format: str) -> str:  # noqa: A002
        rows = tuples_of(b"".join([part async for part in source]))
        await self._arrive()
        transaction = self._in_transaction()
        if table == "staged_events":
            transaction.staged += rows
        else:
            await self._wait_for({("row", key_of(row), 0) for row in rows})
            for row in rows:
                self._insert(transaction, row)
        await self._travel()
        return f"COPY {len(rows)}"

    def is_in_transaction(self) -> bool:
        return self._transaction is not None

    def terminate(self) -> None:
        self._open = False
        if self._transaction is not None:
            transaction, self._transaction = self._transaction, None
            self._server.decide(transaction)

    async def close(self, timeout: float) -> None:
        await self._process.not_paused()
        self.terminate()

    # ── the way there and back ──────────────────────────────────────────────────────────────────────────────────

    async def _arrive(self, even_if_failed: bool = False) -> None:
        """The statement is at the server. Raises the driver's errors."""
        await self._travel()
        transaction, now_s = self._transaction, self._server.now_s()
        if transaction is not None:
            if now_s > transaction.touched_s + IDLE_IN_TRANSACTION_S:
                self._gone()
            if transaction.failed and not even_if_failed:
                raise asyncpg.InFailedSQLTransactionError("current transaction is aborted")
            transaction.touched_s = now_s

    async def _answer(self, answer: Any) -> Any:
        await self._travel()
        return answer

    async def _travel(self) -> None:
        server, luck = self._server, self._server.chance.random()
        if luck < 0.2:
            await asyncio.sleep(luck / 50)
        await self._process.not_paused()
        if not self._open or self._epoch != server.epoch or not server.up:
            self._gone()
        if server.fails and server.chance.randrange(1_000) < server.fails:
            self._gone()

    def _gone(self) -> None:
        self.terminate()
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    def _died(self) -> None:
        self.terminate()

    async def _wait_for(self, wanted: set[Key]) -> None:
        """Until nobody else has a lock on these. Raises LockNotAvailableError, as the real one does after a while."""
        server, until_s = self._server, self._server.now_s() + LOCK_TIMEOUT_S
        while (other := server.holder(self._transaction, wanted)) is not None:
            if server.now_s() > other.touched_s + IDLE_IN_TRANSACTION_S:
                server.decide(other)
                continue
            if server.now_s() >= until_s:
                self._fail()
                raise asyncpg.LockNotAvailableError("canceling statement due to lock timeout")
            await asyncio.sleep(0.05)
            if not self._open or self._epoch != server.epoch:
                self._gone()

    def _in_transaction(self) -> Transaction:
        assert self._transaction is not None
        return self._transaction

    def _fail(self) -> None:
        if self._transaction is not None:
            self._transaction.failed = True

    # ── statements ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _nothing(self) -> str:
        return "SELECT 1"

    async def _begin(self) -> str:
        assert self._transaction is None
        self._transaction = self._server.begin()
        self._transaction.touched_s = self._server.now_s()
        return "BEGIN"

    async def _commit(self) -> str:
        await self._arrive()
        server, transaction, luck = self._server, self._in_transaction(), self._server.chance.random()
        if server.fails and luck < 0.1:  # its answer is lost, and it may be decided long after that
            transaction.in_doubt, self._transaction = True, None
            loop = asyncio.get_running_loop()
            loop.call_later(server.chance.random() * IN_DOUBT_MAX_S, server.decide, transaction)
            self._gone()
        self._transaction = None
        server.commit(transaction)
        await self._travel()
        return "COMMIT"

    async def _roll_back(self) -> str:
        self._server.roll_back(self._in_transaction())
        self._transaction = None
        return "ROLLBACK"

    async def _savepoint(self) -> str:
        transaction = self._in_transaction()
        transaction.savepoint = transaction.change.copy()
        return "SAVEPOINT"

    async def _roll_back_to(self) -> str:
        transaction = self._in_transaction()
        assert transaction.savepoint is not None
        transaction.change, transaction.failed = transaction.savepoint, False
        return "ROLLBACK"

    async def _clear_staging(self) -> str:
        self._in_transaction().staged.clear()
        return "TRUNCATE"

    def _insert(self, transaction: Transaction, row: bytes) -> None:
        server, change, stored = self._server, transaction.change, read(row)
        moment = EPOCH + timedelta(microseconds=stored.occurred_us)
        if not server.has_month(change, moment.year * 12 + moment.month - 1):
            self._fail()
            raise asyncpg.CheckViolationError("no partition of relation found for row")
        if stored.platform == POISON:
            self._fail()
            refused = asyncpg.CheckViolationError("new row violates check constraint")
            refused.constraint_name = "no_poison"
            raise refused
        if server.has_row(change, key_of(row)) and "key" not in server.breaks:
            self._fail()
            raise asyncpg.UniqueViolationError("duplicate key value")
        server.insert(change, row)

    async def _adopt(self) -> bytes:
        server, transaction, adopted = self._server, self._in_transaction(), []
        await self._wait_for({("row", key_of(row), 0) for row in transaction.staged})
        for row in transaction.staged:
            stored = read(row)
            repair = server.repair(transaction.change, stored.event_id, stored.occurred_us)
            if repair is not None and repair.occurred_us != stored.occurred_us:
                continue
            if "key" in server.breaks or not server.has_row(transaction.change, key_of(row)):
                self._insert(transaction, row)
                adopted.append(key_of(row))
        return b"".join(adopted)

    async def _begin_positions(self, _: str, names: Sequence[UUID], sequences: Any, totals: Any) -> str:
        await self._wait_for({("position", name.hex.encode(), 0) for name in names})
        change = self._in_transaction().change
        begun = [
            self._server.begin_position(change, name.hex, Position(sequence, text))
            for name, sequence, text in zip(names, sequences, totals, strict=True)
        ]
        return f"INSERT 0 {sum(begun)}"

    async def _move_positions(self, _: str, names: Sequence[UUID], before: Any, sequences: Any, totals: Any) -> str:
        await self._wait_for({("position", name.hex.encode(), 0) for name in names})
        change = self._in_transaction().change
        moved = [
            self._server.move_position(change, name.hex, at, Position(sequence, text))
            for name, at, sequence, text in zip(names, before, sequences, totals, strict=True)
        ]
        return f"UPDATE {sum(moved)}"

    def _ensure_month(self, first_day: date) -> bool:
        month = first_day.year * 12 + first_day.month - 1
        transaction = self._transaction
        months = transaction.change.months if transaction is not None else self._server.state.months
        is_new = month not in self._server.state.months and month not in months
        months.add(month)
        return is_new

    # ── clock repairs ───────────────────────────────────────────────────────────────────────────────────────────

    async def _remember_repairs(self, ids: Sequence[UUID], raw: Sequence[datetime], first: Sequence[datetime]) -> str:
        server, change = self._server, self._in_transaction().change
        sent = [(identity.bytes, _us(at)) for identity, at in zip(ids, raw, strict=True)]
        await self._wait_for({("repair", identity, raw_us) for identity, raw_us in sent})
        for (identity, raw_us), at in zip(sent, first, strict=True):
            key = (raw_us - POSTGRES_EPOCH_US).to_bytes(8, "big", signed=True) + identity
            if not server.has_row(change, key) and server.repair(change, identity, raw_us) is None:
                change.repairs[identity, raw_us] = Repair(_us(at), server.wall_us())
        return "INSERT 0 1"

    def _recall(self, ids: Sequence[UUID], raw: Sequence[datetime]) -> list[Any]:
        change, found = self._in_transaction().change, []
        for number, (identity, at) in enumerate(zip(ids, raw, strict=True)):
            repair = self._server.repair(change, identity.bytes, _us(at))
            if repair is not None:
                found.append((number, (repair.occurred_us - POSTGRES_EPOCH_US).to_bytes(8, "big", signed=True)))
        return found

    def _repaired_lately(self, begin: datetime, end: datetime, most: int, since: datetime, overlap_s: int) -> Any:
        ids = sorted({
            identity for (identity, raw_us), repair in self._server.state.repairs.items()
            if repair.repaired_us > _us(since) and _us(begin) <= raw_us <= _us(end)
        })  # fmt: skip
        overlapping_us = self._server.wall_us() - overlap_s * SECOND_US
        return {"since": EPOCH + timedelta(microseconds=overlapping_us), "ids": b"".join(ids[:most])}


def _us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)
