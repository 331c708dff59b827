"""Accounts as the catalogue has them: whose profiles are whose, and how many streams a plan allows."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from storage.postgres.statement import STATEMENTS


class Account(NamedTuple):
    """Of one user."""

    plan: str | None
    """The user's subscription_tier."""
    streams_max: int | None
    """At once; None where the plan is none of subscription_plans."""
    profiles: list[UUID]


class Asked(Protocol):
    """Whom rows are fetched of: storage.postgres.reads.Reads, or one whose errors are other ones."""

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]: ...


async def of(asked: Asked, profiles: Sequence[UUID] = (), users: Iterable[UUID] = ()) -> dict[UUID, Account]:
    """Accounts of these users, and of those whose these profiles are; whom there is not is left out."""
    rows = await asked.fetch(STATEMENTS["accounts"], profiles, list(users))
    return {row["id"]: Account(row["plan"], row["streams_max"], row["profiles"]) for row in rows}
