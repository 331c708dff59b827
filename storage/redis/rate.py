"""The pools that bound the rates of write keys, shared by all collectors of all gateways (rate.lua)."""

from collections.abc import Sequence
from hashlib import sha1
from typing import Any, Final

from redis.exceptions import NoScriptError

from ingest.rate import Report, Standing
from storage.redis import key
from storage.redis.connection import translated
from storage.redis.script import part

SETTLE: Final = part("rate")
SETTLE_SHA1: Final = sha1(SETTLE, usedforsecurity=False).hexdigest()
AT_ONCE: Final = 500
"""Pools of one call: some 5 ms of Redis."""


class Pools:
    """As one collector uses them."""

    def __init__(self, client: Any, collector: bytes) -> None:
        """`client` of storage.redis.connection; `collector`: 8 bytes that no other has."""
        self._client = client
        self._collector = collector

    async def settle(self, reports: Sequence[Report]) -> list[Standing]:
        """Of every report what may be spent now. Raises SinkUnavailable, SinkRefused; then it may have been heard."""
        standings: list[Standing] = []
        for first in range(0, len(reports), AT_ONCE):
            some = reports[first : first + AT_ONCE]
            names = [key.rate(report.bucket) for report in some]
            numbers = [number for report in some for number in (report.rate, report.burst, report.spent)]
            arguments = (len(names), *names, self._collector, *numbers)
            with translated():
                try:
                    answer = await self._client.execute_command("EVALSHA", SETTLE_SHA1, *arguments)
                except NoScriptError:  # a restart or a failover forgot it
                    answer = await self._client.execute_command("EVAL", SETTLE, *arguments)
            standings += [Standing(report.bucket, balance) for report, balance in zip(some, answer, strict=True)]
        return standings
