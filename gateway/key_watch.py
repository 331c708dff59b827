"""A collector's look at the write keys that were published, and at the clock by which some of them end."""

import asyncio
from typing import Final

from gateway import keys_file
from gateway.layout import DataDir
from ingest.clock import Clock
from ingest.gate import Gate
from ingest.keyring import Keyring

PERIOD_S: Final = 0.5
"""With what publishing takes, a change is in force within two seconds."""


class KeyWatch:
    """Keeps `gate.keyring`."""

    def __init__(self, gate: Gate, data: DataDir, clock: Clock) -> None:
        self._gate = gate
        self._published = keys_file.Published(data.root)
        self._clock = clock

    async def look(self) -> None:
        """Once. Never raises."""
        changed = await asyncio.to_thread(self._published.look)
        now_us, ends_us = self._clock.now_us(), self._gate.keyring.good_until_us
        if (changed or (ends_us is not None and ends_us <= now_us)) and self._published.keys is not None:
            self._gate.keyring = Keyring(self._published.keys, now_us)
            self._gate.rates.keep(self._published.keys)

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.look()
            await asyncio.sleep(PERIOD_S)
