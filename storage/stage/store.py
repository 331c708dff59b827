"""What the stage holds of its own, opened together: a lock, the state file, the log. See the package's docstring."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import structlog

from config.limits import GIB, SEGMENT_SIZE_BYTES
from ingest.clock import Clock
from ingest.spool.disk import Disk, write_whole
from ingest.spool.ending import DamagedEnding
from ingest.spool.segment import UnknownVersion
from storage.sink import SinkLost, SinkUnavailable
from storage.stage import state_file
from storage.stage.aliases import Aliases
from storage.stage.beginning import beginnings
from storage.stage.frames import bodies_of
from storage.stage.output import LogLost, NotEnded, Output
from storage.stage.state_file import Damaged, Outbox, Position, StateFile, Turn
from storage.stage.streams import Streams
from storage.stage.verdict import Verdict

log: Any = structlog.get_logger()

DIRECTORY: Final = "stage"
BEGUN: Final = "begun"
"""Beside the state file, since there was the first one: without it a state file that is missing never was."""
ANEW: Final = "anew"
"""Written by an engineer's command: what is missing or damaged is given up."""
REMEDY: Final = (
    "`streamverse-ingest stage anew` begins anew with what the spool still holds; what is stored keeps its id."
)


class Store:
    """As Drain wants a sink, but for `write`. `file`, `streams` are there while it is open."""

    reader = "stage"

    def __init__(
        self,
        data_dir: Path,
        disk: Disk,
        clock: Clock,
        chance: Callable[[int], bytes] = os.urandom,
        segment_size_bytes: int = SEGMENT_SIZE_BYTES,
        state_max_bytes: int = GIB,
    ) -> None:
        self._state_max_bytes = state_max_bytes
        self._directory = data_dir / DIRECTORY
        self._path = self._directory / state_file.NAME
        self._root = data_dir / "spool"
        self._disk = disk
        self._clock = clock
        self._lock: int | None = None
        self._file: StateFile | None = None
        self._output = Output(self._root, disk, clock, chance, segment_size_bytes)
        self.streams: Streams
        self._aliases: Aliases

    async def open(self) -> dict[str, int]:
        """Where every incarnation is. Raises SinkUnavailable, SinkLost."""
        await self.close()
        return await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """Never raises."""
        await asyncio.to_thread(self._close)

    @property
    def file(self) -> StateFile:
        assert self._file is not None, "it is open"
        return self._file

    async def turn(self, turn: Turn, verdicts: list[Verdict]) -> None:
        """Keep what was decided, then write it to the log: all of it, whatever happens between. Raises SinkUnavailable,
        SinkLost: then open again, and ask the file where everything is.
        """
        with translated():
            if not verdicts:
                await asyncio.to_thread(self.file.write, turn)
                return
            bodies, at_us = bodies_of(verdicts), self._clock.now_us()
            incarnation, sequence = await asyncio.to_thread(self._output.place)
            aliases = self._aliases.met(verdicts)
            turn = turn._replace(outbox=Outbox(incarnation, sequence, bodies), aliases=aliases)
            group = self._output.encode(bodies, at_us)

            def keep() -> None:
                self.file.write(turn)
                self._output.commit(group)

            await asyncio.to_thread(keep)

    def make_room(self, number_max: int) -> None:
        """Forget ended streams, `number_max` at once, while the file holds more than it may: the oldest ones, whose
        resends are new rows then, with the ids of the old ones.
        """
        while self.file.used_bytes() > self._state_max_bytes and self.file.forget(2**62, number_max):
            pass

    def _open(self) -> dict[str, int]:
        with translated():
            self._disk.make_directory(self._directory)
            self._lock = self._disk.lock(self._directory / "lock")
            if self._lock is None:
                raise SinkUnavailable("Another stage is at work.")
            self._file = self._found()
            self._settle(self._file)
            self.streams, self._aliases = Streams(self._file), Aliases()
            return {name: position.sequence for name, position in self._file.positions().items()}

    def _close(self) -> None:
        try:
            self._output.end()
        except OSError as error:  # who opens it next ends it
            log.error("stage_log_not_ended", error=str(error))
        if self._file is not None:
            try:
                self._file.close()
            except sqlite3.Error as error:
                log.error("stage_state_not_closed", error=str(error))
            self._file = None
        if self._lock is not None:
            self._disk.close(self._lock)
            self._lock = None

    def _found(self) -> StateFile:
        """The state file; a new one where there never was one, or the one there was is given up."""
        given_up = ANEW in self._disk.list(self._directory)
        try:
            if not given_up:
                return StateFile(self._path)
        except FileNotFoundError:
            if BEGUN in self._disk.list(self._directory):
                raise SinkLost(f"{self._path} is gone. {REMEDY}") from None
        except Damaged as error:
            raise SinkLost(f"{error}. {REMEDY}") from error
        found = beginnings(self._disk, self._root)
        read = [name for name, (_, lines) in found.items() if lines]
        if read and not given_up:
            raise SinkLost(f"{self._path} is gone, and lines of {', '.join(read)} were read. {REMEDY}")
        self._put_aside()
        state_file.make(self._path, {name: Position(*beginning) for name, beginning in found.items()})
        self._disk.fsync_directory(self._directory)
        write_whole(self._disk, self._directory / BEGUN, b"")
        if given_up:
            log.warning("stage_begun_anew", incarnations=len(found))
            self._disk.unlink(self._directory / ANEW)
        return StateFile(self._path)

    def _put_aside(self) -> None:
        """A state file that is given up, for who wants to look at it; the one given up before goes."""
        for suffix in ("", "-wal", "-shm"):
            path = self._path.with_name(f"{state_file.NAME}{suffix}")
            if path.name in self._disk.list(self._directory):
                self._disk.rename(path, path.with_name(f"given-up.db{suffix}"))

    def _settle(self, file: StateFile) -> None:
        """What of the last turn is not in the log yet, goes there."""
        outbox = file.outbox()
        if outbox is None:
            return
        try:
            ended_at = self._output.ending(outbox.incarnation)
        except NotEnded as error:
            raise SinkUnavailable(f"The log {error} is not ended.") from error
        except (LogLost, DamagedEnding) as error:
            raise SinkLost(f"The stage's log {error} is gone. {REMEDY}") from error
        rest = outbox.bodies[max(0, ended_at - outbox.sequence) :]
        if rest:
            log.info("stage_turn_finished", frames=len(rest), of=len(outbox.bodies))
            incarnation, sequence = self._output.place()
            group = self._output.encode(rest, self._clock.now_us())
            unwritten = Outbox(outbox.incarnation, ended_at, rest)
            file.write(Turn({}, outbox=Outbox(incarnation, sequence, rest), unwritten=unwritten))
            self._output.commit(group)
        else:
            file.empty_outbox()


@contextmanager
def translated() -> Iterator[None]:
    """SQLite's errors, the disk's and the spool's become a store's."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise SinkUnavailable(f"The stage's state cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise SinkLost(f"The stage's state is damaged: {error}. {REMEDY}") from error
    except UnknownVersion as error:
        raise SinkLost(str(error)) from error
    except OSError as error:
        raise SinkUnavailable(f"The disk of the stage: {error}") from error
