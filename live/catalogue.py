"""The catalogue as the read side needs it: accounts, asked for within a deadline and remembered for a while."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from uuid import UUID

from ingest.clock import Clock
from live.source import Unavailable
from storage.postgres.accounts import Account, Accounts
from storage.sink import StoreError

DEADLINE_S: Final = 1.0
KEPT_S: Final = 60.0
"""A plan that was changed counts so much later at most."""
KEPT_MAX: Final = 10_000
"""Accounts, of some 700 bytes each."""


class Catalogue:
    """Accounts of the PostgreSQL of the moment."""

    def __init__(self, url: Callable[[], str], clock: Clock) -> None:
        """`url`: that of PostgreSQL now, empty while it has none."""
        self._url = url
        self._clock = clock
        self._accounts: Accounts | None = None
        self._accounts_url = ""
        self._kept: OrderedDict[UUID, tuple[float, Account]] = OrderedDict()

    async def account(self, user_id: UUID) -> Account | None:
        """None where there is no such user, which is not remembered. Raises Unavailable."""
        known = self._kept.get(user_id)
        if known is not None and self._clock.monotonic_s() < known[0]:
            return known[1]
        try:
            async with asyncio.timeout(DEADLINE_S):
                found = await self._connected().find(user_id)
        except TimeoutError as error:
            raise Unavailable("catalogue_unavailable", f"PostgreSQL did not answer within {DEADLINE_S:g} s.") from error
        except StoreError as error:
            raise Unavailable("catalogue_unavailable", f"PostgreSQL does not answer: {error}") from error
        self._kept.pop(user_id, None)
        if found is not None:
            self._kept[user_id] = self._clock.monotonic_s() + KEPT_S, found
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        return found

    def close(self) -> None:
        """Let go of the connections."""
        if self._accounts is not None:
            self._accounts.close()

    def _connected(self) -> Accounts:
        url = self._url()
        if not url:
            raise Unavailable("catalogue_unavailable", "PostgreSQL has not started yet.")
        if self._accounts is None or url != self._accounts_url:
            self.close()
            self._accounts, self._accounts_url = Accounts(url, DEADLINE_S), url
        return self._accounts
