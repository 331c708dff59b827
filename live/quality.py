"""Quality of experience between two processes: who holds the figures tells who serves them, by a socket in DATA/run.

    asked: a Question as JSON, a line     answered: the body of /v1/qoe, to the end of the connection; none: not yet

They are made when somebody asks, so they cost nothing while nobody does, and once a second at most however many do.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct

from ingest.clock import Clock
from live.source import Unavailable, time_text
from storage.qoe.answer import TOP_MAX, WINDOWS_MIN, Told, Window
from storage.reader_status import ReaderStatus

log: Any = structlog.get_logger()

DEADLINE_S: Final = 1.0
SHARED_S: Final = 1.0
"""Figures answer everybody who asks within this time."""
BEHIND_MAX_S: Final = 15.0
"""A reader further behind has no right figures."""
QUESTION_MAX_BYTES: Final = 1_024
UNAVAILABLE: Final = "qoe_unavailable"


class Question(Struct, frozen=True):
    """Which figures: `by` is one of storage.qoe.figures.DIMENSIONS, None for everything together."""

    by: str | None
    window: str
    top: int


class Body(Struct, frozen=True, omit_defaults=False):
    """What is answered."""

    by: str | None
    window: str
    as_of: str
    since: str
    stands_for: int
    groups: list[Told]


class Figures:
    """Answers questions. `ask`: storage.qoe.reader.Quality.figures."""

    def __init__(self, ask: Callable[[str | None, int, int], tuple[Window, int] | None], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._shared: dict[tuple[str | None, str], tuple[float, Window, int]] = {}

    def body(self, question: Question) -> bytes:
        """JSON; nothing while there are no figures yet."""
        key, now_s = (question.by, question.window), self._clock.monotonic_s()
        shared = self._shared.get(key)
        if shared is None or now_s - shared[0] >= SHARED_S:
            found = self._ask(question.by, WINDOWS_MIN[question.window], TOP_MAX)
            if found is None:
                return b""
            shared = self._shared[key] = now_s, *found
        _, window, stands_for = shared
        since, as_of = time_text(window.since_us), time_text(window.as_of_us)
        groups = window.groups[: question.top]
        return msgspec.json.encode(Body(question.by, question.window, as_of, since, stands_for, groups))


async def serve(path: Path, figures: Figures) -> None:
    """Answer at `path`, until cancelled. What cannot be is logged: the reader goes on without."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                question = msgspec.json.decode(await reader.readline(), type=Question)
                writer.write(figures.body(question))
                await writer.drain()
        except (OSError, TimeoutError, ValueError, msgspec.DecodeError) as error:
            log.warning("qoe_question_lost", error=str(error) or type(error).__name__)
        finally:
            writer.close()

    try:
        sock = _listening(path)
        server = await asyncio.start_unix_server(answer, sock=sock, limit=QUESTION_MAX_BYTES)
    except OSError as error:
        log.error("qoe_door_closed", error=str(error))
        return
    try:
        await asyncio.sleep(float("inf"))
    finally:
        server.close()


async def ask(path: Path, status: ReaderStatus | None, question: Question, now_us: int) -> bytes:
    """The body that answers `question`; `status` is that of the reader. Raises Unavailable."""
    if (why := doubt(status, now_us)) is not None:
        raise Unavailable(UNAVAILABLE, why)
    try:
        async with asyncio.timeout(DEADLINE_S):
            with _short(path) as short:
                reader, writer = await asyncio.open_unix_connection(short)
            try:
                writer.write(msgspec.json.encode(question) + b"\n")
                body = await reader.read(-1)
            finally:
                writer.close()
    except TimeoutError as error:
        raise Unavailable(UNAVAILABLE, f"The reader did not answer within {DEADLINE_S:g} s.") from error
    except OSError as error:
        raise Unavailable(UNAVAILABLE, f"The reader does not answer: {error.strerror}.") from error
    if not body:
        raise Unavailable(UNAVAILABLE, "The reader has not read anything yet.")
    return body


def doubt(status: ReaderStatus | None, now_us: int) -> str | None:
    """Why the reader's figures are not what is; None when they are. Pure."""
    if status is None:
        return "The reader has not begun."
    if status.state != "running":
        return f"The reader is {status.state}; /statusz says why."
    behind_s = status.behind_s(now_us)
    return f"The reader is {behind_s:.0f} s behind." if behind_s > BEHIND_MAX_S else None


def _listening(path: Path) -> socket.socket:
    """In the place of who listened there before. For our own user alone. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with _short(draft) as short:
        sock.bind(short)
    draft.chmod(0o600)
    draft.rename(path)
    sock.listen()
    return sock


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """The same place by a path that fits a socket's address (108 bytes). Raises OSError."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        proc = Path(f"/proc/self/fd/{descriptor}")
        yield str(proc / path.name if proc.exists() else path)
    finally:
        os.close(descriptor)
