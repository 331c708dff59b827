"""Accounts as the catalogue has them: whose profiles are whose, and how many streams a plan allows."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from storage.postgres.refusal import translated
from storage.postgres.statement import STATEMENTS

CONNECTIONS_MAX: Final = 2
IDLE_S: Final = 60.0
"""Then a connection is closed."""


class Account(NamedTuple):
    """Of one user."""

    plan: str | None
    """The user's subscription_tier."""
    streams_max: int | None
    """At once; None where the plan is none of subscription_plans."""
    profiles: list[UUID]


class Accounts:
    """Reads of one database. Connects when asked for the first time."""

    def __init__(self, url: str, deadline_s: float) -> None:
        """`deadline_s`: of a connect, and of a statement."""
        self._pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=CONNECTIONS_MAX,
            timeout=deadline_s,
            command_timeout=deadline_s,
            max_inactive_connection_lifetime=IDLE_S,
            server_settings={"application_name": "streamverse-ingest admin", "default_transaction_read_only": "on"},
        )

    async def find(self, user_id: UUID) -> Account | None:
        """None where there is no such user. Raises SinkUnavailable, SinkRefused."""
        with translated():
            await self._pool  # the first time it opens, and holds no connection yet
            row = await self._pool.fetchrow(STATEMENTS["account"], user_id)
        return None if row is None else Account(row["plan"], row["streams_max"], row["profiles"])

    async def of(self, profiles: Sequence[UUID], users: Iterable[UUID]) -> dict[UUID, Account]:
        """Those of these users, and whose these profiles are. Raises SinkUnavailable, SinkRefused."""
        with translated():
            await self._pool
            rows = await self._pool.fetch(STATEMENTS["accounts"], profiles, list(users))
        return {row["id"]: Account(row["plan"], row["streams_max"], row["profiles"]) for row in rows}

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.terminate()
