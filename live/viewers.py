"""Live viewers: sessions whose lease has not run out (DESIGN §4).

Leases that have run out are left out here and removed by the counters: a reader whose clock is ahead must end nobody's.
"""

from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

from redis.exceptions import NoScriptError

from storage.redis import key
from storage.redis.connection import translated
from storage.sink import SinkUnavailable

COUNT: Final = Path(__file__).with_name("viewers.lua").read_bytes()
COUNT_SHA1: Final = sha1(COUNT, usedforsecurity=False).hexdigest()
CONTENTS_MAX: Final = 500
"""Counted in one call: Redis does nothing else meanwhile, for some 5 µs each."""


class NotCounted(SinkUnavailable):
    """Redis holds no counts: they were lost, or nobody has begun."""


class Now(NamedTuple):
    """Of one content."""

    viewers: int
    registration: bytes
    """What tells these counts from those after a loss or a rebuild."""


class Everywhere(NamedTuple):
    """Of all contents."""

    viewers: dict[str, int]
    """Content (uuid text) → how many."""
    registration: bytes


async def now(client: Any, content_id: UUID, now_us: int) -> Now:
    """Viewers of one content at `now_us`, in one round trip. Raises NotCounted, SinkUnavailable, SinkRefused."""
    registration, (viewers,) = await _counted(client, now_us, [str(content_id).encode("ascii")])
    return Now(viewers, registration)


async def of(client: Any, contents: Sequence[str], now_us: int) -> Everywhere:
    """Viewers of these contents (uuid texts) at `now_us`, 0 included. Raises as `now`."""
    counts: list[int] = []
    before: bytes | None = None
    for first in range(0, len(contents), CONTENTS_MAX):
        part = [content.encode("ascii") for content in contents[first : first + CONTENTS_MAX]]
        registration, many = await _counted(client, now_us, part)
        if before not in (None, registration):
            raise NotCounted
        before = registration
        counts += many
    return Everywhere(dict(zip(contents, counts, strict=True)), before or b"")


async def everywhere(client: Any, now_us: int) -> Everywhere:
    """Viewers of every content at `now_us`. Raises as `now`.

    Of one moment as far as leases go; a session that moves to another content while we count may be in both or none.
    """
    with translated():
        async with client.pipeline(transaction=True) as pipeline:
            pipeline.get(key.REGISTRATION)
            pipeline.zrange(key.LIVE, _after(now_us), "+inf", byscore=True)
            before, contents = await pipeline.execute()
    if before is None:
        raise NotCounted
    counts: list[int] = []
    for first in range(0, len(contents), CONTENTS_MAX):
        registration, part = await _counted(client, now_us, contents[first : first + CONTENTS_MAX])
        if registration != before:  # lost, or rebuilt, under our eyes
            raise NotCounted
        counts += part
    found = {content.decode("ascii"): many for content, many in zip(contents, counts, strict=True) if many}
    return Everywhere(found, before)


async def _counted(client: Any, now_us: int, contents: list[bytes]) -> tuple[bytes, list[int]]:
    arguments = (2, key.REGISTRATION, key.LIVE, _after(now_us), *contents)
    with translated():
        try:
            registration, *counts = await client.execute_command("EVALSHA_RO", COUNT_SHA1, *arguments)
        except NoScriptError:  # a restart or a failover forgot it
            registration, *counts = await client.execute_command("EVAL_RO", COUNT, *arguments)
    if registration is None:
        raise NotCounted
    return registration, counts


def _after(now_us: int) -> str:
    return f"({now_us / 1_000_000:.6f}"
