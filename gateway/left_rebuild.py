"""DATA/rebuild: what the next rebuild of the counters needs to go on with one that was ended, where rows are in CQL.

    begun.json       when, under which generation, behind which positions and by which rules it counts
    <piece>.states   of a piece of all rows: those that said something of a viewer just before they were read

Which pieces are counted whole Redis itself says, beside the counts (storage/redis/rebuild.py): one that comes back
without its last second has forgotten both. Each file is whole and fsynced before its piece is said to be.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import Struct

from ingest.spool.disk import Disk, remove_if_there, write_whole
from storage.redis.rebuild import LEFT_S

BEGUN: Final = "begun.json"
STATES: Final = ".states"
CHUNK_BYTES: Final = 1024 * 1024


def framed(row: bytes) -> bytes:
    """A row as it lies in a file of states."""
    return len(row).to_bytes(4, "big") + row


class Rules(Struct, frozen=True):
    """What decides which rows are counted, and how."""

    rows: str
    """Whose they are; empty: of a store whose reading cannot go on."""
    view_memory_s: int
    pieces: int
    release: str


class Begun(Struct, frozen=True):
    """A rebuild, as it began."""

    generation: str
    """Of its views in Redis."""
    now_us: int
    positions: dict[str, int]
    """Where the store stood, incarnation → next sequence; `rows` and `signals` lie below them."""
    rows: int
    signals: int
    rules: Rules

    @property
    def until_us(self) -> int:
        """Then Redis forgets it."""
        return self.now_us + LEFT_S * 1_000_000

    def cannot_go_on(self, rules: Rules, now_us: int) -> str:
        """Why; empty when it can, as far as this is known without a look at spool and Redis. Pure."""
        if rules != self.rules:
            return "the settings, the release or the store were others"
        if not self.now_us <= now_us < self.until_us:
            return f"it did not begin within the last {LEFT_S // 3_600} hours"
        return ""


class Unreadable(Exception):
    """The file is damaged, or of another release."""


class LeftRebuild:
    """The directory. Everything may raise OSError."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._directory = directory
        self._disk = disk

    def read(self) -> Begun | None:
        """The rebuild that began last and did not come to its end. Raises Unreadable."""
        path = self._directory / BEGUN
        try:
            return msgspec.json.decode(self._disk.read(path, 0, self._disk.size(path)), type=Begun)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreadable(f"{path} cannot be read: {error}") from error

    def begin(self, begun: Begun) -> None:
        """There is nothing to go on with but this one."""
        self.forget()
        self._disk.make_directory(self._directory)
        write_whole(self._disk, self._directory / BEGUN, msgspec.json.encode(begun))

    def forget(self) -> None:
        """There is nothing to go on with."""
        remove_if_there(self._disk, self._directory / BEGUN)  # first: without it nobody reads the others
        for name in self._disk.list(self._directory):
            self._disk.unlink(self._directory / name)

    def keep_states(self, piece: int, states: IO[bytes]) -> None:
        """In the place of those of this piece; each row as `framed` made it."""
        states.seek(0)
        write_whole(self._disk, self._directory / f"{piece}{STATES}", iter(lambda: states.read(CHUNK_BYTES), b""))

    def states(self) -> Iterator[bytes]:
        """Of all pieces."""
        for name in self._disk.list(self._directory):
            if name.endswith(STATES):
                with (self._directory / name).open("rb") as file:
                    while size := file.read(4):
                        yield file.read(int.from_bytes(size, "big"))
