"""The write keys, from the database to the doors: looked for every second, and published when they are others."""

import asyncio
from typing import Any, Final

import structlog

from gateway import keys_file
from gateway.layout import DataDir
from storage.postgres import write_keys
from storage.postgres.reads import Reads
from storage.sink import StoreError

log: Any = structlog.get_logger()

PERIOD_S: Final = 1.0
DEADLINE_S: Final = 5.0
"""Of one look at the database: nobody waits for it."""


async def run(data: DataDir, postgres_url: str) -> None:
    """For ever. While the database does not answer, what was published stays."""
    reads = Reads(postgres_url, DEADLINE_S)
    published = _read(data)
    failed = ""
    try:
        while True:
            try:
                async with asyncio.timeout(DEADLINE_S):
                    found = keys_file.encoded([one.key for one in await write_keys.every(reads)])
                if found != published or not (data.root / keys_file.NAME).exists():
                    await asyncio.to_thread(keys_file.write, data.root, found)
                    published = found
            except (StoreError, TimeoutError, OSError) as error:
                if (why := f"{type(error).__name__}: {error}") != failed:
                    log.warning("keys_not_published", error=why)
                failed = why
            except Exception:  # whose process it is goes on without
                log.exception("keys_not_published")
            else:
                failed = ""
            await asyncio.sleep(PERIOD_S)
    finally:
        reads.close()


def _read(data: DataDir) -> bytes | None:
    try:
        return keys_file.read(data.root)
    except OSError as error:
        log.error("keys_not_read", error=str(error))
        return None
