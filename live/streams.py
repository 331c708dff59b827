"""Streams: the sessions of some profiles whose lease has not run out, as viewers are (viewers.py)."""

from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

from redis.exceptions import NoScriptError

from live.viewers import NotCounted
from storage.redis import key
from storage.redis.connection import translated
from storage.redis.entry import LEASES
from storage.redis.script import part

FIND: Final = b"#!lua flags=no-writes\n" + part("session") + Path(__file__).with_name("streams.lua").read_bytes()
FIND_SHA1: Final = sha1(FIND, usedforsecurity=False).hexdigest()


class Stream(NamedTuple):
    """One session that plays."""

    since_us: int
    """Its earliest sign that we know of; microseconds since 1970, as all times."""
    session_id: UUID
    profile_id: UUID
    content_id: UUID
    until_us: int
    """The end of its lease."""
    lease_us: int = 0
    """How long that is, from its last sign on."""


class Streams(NamedTuple):
    """Of some profiles."""

    streams: list[Stream]
    """Those that began first first."""
    registration: bytes
    """As viewers.Now has it."""


async def of(client: Any, profiles: Sequence[UUID], now_us: int, leases_us: Sequence[int]) -> Streams:
    """What the profiles watch at `now_us`, in one round trip; of each its 64 latest sessions at most. `leases_us`: by
    class, as RedisSettings has them.

    Raises NotCounted, SinkUnavailable, SinkRefused.
    """
    leases = LEASES.pack(*leases_us)
    arguments = (1, key.REGISTRATION, now_us, leases, *(profile.bytes for profile in profiles))
    with translated():
        try:
            registration, *found = await client.execute_command("EVALSHA_RO", FIND_SHA1, *arguments)
        except NoScriptError:  # a restart or a failover forgot it
            registration, *found = await client.execute_command("EVAL_RO", FIND, *arguments)
    if registration is None:
        raise NotCounted
    streams = [
        Stream(int(since), UUID(bytes=session), UUID(bytes=profile), UUID(bytes=content), int(until), int(lease))
        for session, profile, content, since, until, lease in found
    ]
    return Streams(sorted(streams), registration)


async def begun(client: Any, since_s: int, most: int) -> list[UUID]:
    """Profiles of which a session began, or was still there after some minutes, since then; the latest `most`.

    Raises SinkUnavailable, SinkRefused.
    """
    with translated():
        found = await client.zrange(key.OWNERS, "+inf", since_s, desc=True, byscore=True, offset=0, num=most)
    return [UUID(bytes=profile) for profile in found]
