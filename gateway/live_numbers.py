"""Composition of what reads live numbers: the Redis of the moment, its reader's status, keys and names beside it."""

from collections.abc import Awaitable, Callable, Sequence

from config.settings import RedisSettings
from gateway import keys_file
from gateway.layout import DataDir
from ingest.clock import SystemClock
from live.source import Source, nameless
from storage import reader_status


def source_of(
    data: DataDir,
    redis_url: Callable[[], str],
    settings: Callable[[], RedisSettings],
    named: Callable[[Sequence[str]], Awaitable[dict[str, str]]] = nameless,
) -> Source:
    """Of the gateway whose data that is."""
    return Source(
        redis_url,
        lambda: reader_status.read(data.root, "redis"),
        settings,
        SystemClock(),
        keys_file.Published(data.root).shortest_heartbeat_s,
        named,
    )
