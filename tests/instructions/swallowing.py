"""What stands where the network, PostgreSQL, Redis and the commit thread would be: they take all, cheaply."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from storage.postgres.playback_store import CHOICE, OURS
from storage.postgres.statement import STATEMENTS

T = TypeVar("T")
COPIED = "COPY {}"
ANSWERS = {
    STATEMENTS["begin_positions"]: "INSERT 0 1",
    STATEMENTS["move_positions"]: "UPDATE 1",
}


class SameThread:
    """Does the work where it is asked for: who of two threads waits for the other is chance."""

    def call(self, work: Callable[[], T]) -> asyncio.Future[T]:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        done.set_result(work())
        return done

    def shutdown(self) -> None: ...


async def at_once(work: Callable[..., T], *arguments: Any) -> T:
    """The same in place of asyncio.to_thread."""
    return work(*arguments)


class SwallowingTransport(asyncio.Transport):
    """A client that reads every answer; `answered` gets each."""

    def __init__(self, answered: Callable[[bytes], None]) -> None:
        super().__init__()
        self.write = answered  # type: ignore[assignment,method-assign]  # its interface takes more than bytes

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...


class SwallowingPostgres:
    """An asyncpg.Connection as far as the writer uses one. `copied`: rows of each COPY to come, which it tells."""

    def __init__(self, copied: list[int]) -> None:
        self._answers = [COPIED.format(count) for count in reversed(copied)]

    async def execute(self, statement: str, *_: Any) -> str:
        return ANSWERS.get(statement, "")

    async def fetch(self, *_: Any) -> list[Any]:
        return []

    async def fetchval(self, _: str, *arguments: Any) -> Any:
        return OURS if arguments == (CHOICE,) else True

    async def fetchrow(self, *_: Any) -> dict[str, Any]:
        return {"ids": b"", "since": datetime(2026, 11, 18, tzinfo=UTC)}

    async def copy_to_table(self, _: str, *, source: AsyncIterator[bytes], **__: Any) -> str:
        async for _chunk in source:
            pass
        return self._answers.pop()

    def is_in_transaction(self) -> bool:
        return False

    async def close(self, **_: Any) -> None:
        assert not self._answers, "less was copied than there was"


class SwallowingRedis:
    """A client of redis-py as far as the counters use one."""

    async def info(self) -> dict[str, Any]:
        return {}

    async def get(self, _: str) -> bytes:
        return b"registration"

    async def script_load(self, _: bytes) -> None: ...

    async def execute_command(self, name: str, *_: Any) -> Any:
        return {} if name == "HGETALL" else [1, 0, 0]

    async def aclose(self) -> None: ...
