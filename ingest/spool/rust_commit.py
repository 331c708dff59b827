"""Commits by the Rust core: its thread appends and fsyncs without the interpreter, which has the next requests to read.

The commit thread needs the interpreter after each of its calls to the kernel, and waits for it up to the interval at
which Python's threads give way: more than the fsync itself.
"""

import asyncio
import os
from collections import deque
from contextlib import suppress
from typing import Any

from ingest import core
from ingest.spool.incarnation import Group, Incarnation


class RustCommit:
    """A Committer on real files; its thread begins with the first commit."""

    def __init__(self, rust: core.RustCore) -> None:
        self._rust = rust
        self._committing: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[tuple[asyncio.Future[None], Incarnation, Group, int]] = deque()

    def commit(self, incarnation: Incarnation, group: Group) -> "asyncio.Future[None]":
        """See Committer. From the event loop; not after `shutdown`."""
        if self._loop is None:
            self._committing = self._rust.Committing()  # OSError where there is no descriptor or thread left for it
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._committing.fileno(), self._told)
        data = group.chunks[0] if len(group.chunks) == 1 else b"".join(group.chunks)
        outcome: asyncio.Future[None] = self._loop.create_future()
        self._committing.submit(str(incarnation.segment), data)
        self._waiting.append((outcome, incarnation, group, len(data)))
        return outcome

    def shutdown(self) -> None:
        """Returns when all that was committed is on disk, or failed."""
        if self._loop is not None:
            self._committing.end()
            with suppress(RuntimeError):  # the loop is closed, and nobody waits
                self._loop.remove_reader(self._committing.fileno())
            self._told()

    def _told(self) -> None:
        while (errno := self._committing.take()) is not None:
            outcome, incarnation, group, size_bytes = self._waiting.popleft()
            if not errno:
                incarnation.committed(group, size_bytes)
            if outcome.done():  # cancelled
                continue
            with suppress(RuntimeError):  # as above
                if errno:
                    outcome.set_exception(OSError(errno, os.strerror(errno)))
                else:
                    outcome.set_result(None)


def committer() -> RustCommit | None:
    """By the core of this process; None where it is Python."""
    rust = core.chosen.rust
    return None if rust is None else RustCommit(rust)
