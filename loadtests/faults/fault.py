"""What a fault is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadtests.faults.stage import Stage


class LeftOut(Exception):
    """This fault cannot be caused here; the text says why."""


class Unexpected(Exception):
    """The gateway did not do under this fault what it promises; the text says what was waited for."""


Strike = Callable[["Stage", Random], Awaitable[float]]
"""Breaks something of a stage on which a crowd plays, and waits until it is whole; how many seconds that took, counted
from the moment when the cause was gone. Raises Unexpected, LeftOut."""


@dataclass(frozen=True, slots=True)
class Scenery:
    """What the gateway of a stage is started with. Faults of equal scenery share one gateway, one after the other."""

    environment: tuple[tuple[str, str], ...] = ()
    viewers: int = 150
    disk_size_bytes: int = 0
    """Of a disk of its own; 0: it lies where everything lies."""
    fsync_shim: bool = False


ROOMY = Scenery((("INGEST_SPOOL_KEPT_S", "86400"),))
"""The spool keeps everything, however long the trial takes."""
TWIN = Scenery(
    (
        ("INGEST_CORE", "python"),
        ("INGEST_HTTP_LEAN", "false"),
        ("INGEST_WORKERS", "2"),
        ("INGEST_SPOOL_QUOTA_BYTES", str(8 * 1024 * 1024)),
        ("INGEST_SPOOL_KEPT_S", "86400"),
    )
)
"""The other way through the product: aiohttp reads, the Python core decodes, two collectors share the door. Their
segments are full after a MiB, which is more than a round writes."""
FORGETFUL = Scenery((("INGEST_SPOOL_KEPT_S", "0"),))
"""The spool keeps nothing that it has delivered."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break a gateway. `is_kill`: one of those that share the rounds; the others strike once."""

    name: str
    means: str
    strike: Strike
    scenery: Scenery = ROOMY
    is_kill: bool = False
    on_staging: bool = False
    """May be done to an instance that is somebody else's: it comes back by itself."""
