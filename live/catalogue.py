"""The catalogue as the read side needs it: accounts, remembered for a while."""

from collections import OrderedDict
from typing import Final
from uuid import UUID

from ingest.clock import Clock
from live.tables import Tables
from storage.postgres import accounts
from storage.postgres.accounts import Account

KEPT_S: Final = 60.0
"""A plan that was changed counts so much later at most."""
KEPT_MAX: Final = 10_000
"""Accounts, of some 700 bytes each."""


class Catalogue:
    """Accounts, of `tables`, which are closed by who made them."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock
        self._kept: OrderedDict[UUID, tuple[float, Account]] = OrderedDict()

    async def account(self, user_id: UUID) -> Account | None:
        """None where there is no such user, which is not remembered. Raises Unavailable."""
        known = self._kept.get(user_id)
        if known is not None and self._clock.monotonic_s() < known[0]:
            return known[1]
        found = (await accounts.of(self._tables, users=[user_id])).get(user_id)
        self._kept.pop(user_id, None)
        if found is not None:
            self._kept[user_id] = self._clock.monotonic_s() + KEPT_S, found
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        return found
