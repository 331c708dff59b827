"""DATA/keys.json: the write keys in force, as the database last said; their hashes, and not the keys.

The process of the store's drain writes it when it changes, durably: whatever becomes of the database or of this
gateway, the last keys stay in force. Collectors look at it every second.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct

from ingest.keyring import Key

log: Any = structlog.get_logger()

NAME: Final = "keys.json"
VERSION: Final = 1


class Damaged(Exception):
    """The file of write keys cannot be read."""


class _Published(Struct, frozen=True):
    version: int
    keys: list[Key]


def encoded(keys: Sequence[Key]) -> bytes:
    """What the file holds."""
    return msgspec.json.format(msgspec.json.encode(_Published(VERSION, list(keys))), indent=1) + b"\n"


def write(root: Path, data: bytes) -> None:
    """Replace it by `encoded` keys, whole or not at all, for its owner alone. Raises OSError."""
    draft = root / f"{NAME}.{os.getpid()}.draft"
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(root / NAME)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read(root: Path) -> bytes | None:
    """What is in it; None when nothing was ever published. Raises OSError."""
    try:
        return (root / NAME).read_bytes()
    except FileNotFoundError:
        return None


def decoded(data: bytes) -> list[Key]:
    """The keys. Raises Damaged."""
    try:
        published = msgspec.json.decode(data, type=_Published)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"{NAME}: {error}") from error
    if published.version != VERSION:
        raise Damaged(f"{NAME}: version {published.version} is of another release")
    return published.keys


class Published:
    """What a collector knows of it: read again when another was renamed into its place."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: tuple[int, int, int] | None = None
        self.keys: list[Key] | None = None
        """None: nothing was ever published that can be read."""

    def shortest_heartbeat_s(self) -> int | None:
        """Of the keys that are on now; None: no one names an interval. Looks at the file first."""
        self.look()
        return min((key.heartbeat_s for key in self.keys or () if key.heartbeat_s and not key.off), default=None)

    def look(self) -> bool:
        """Whether `keys` are others now. Never raises: what cannot be read leaves the last keys in force."""
        try:
            stat = (self._root / NAME).stat()
            seen = stat.st_ino, stat.st_mtime_ns, stat.st_size
            if seen == self._seen:
                return False
            data = (self._root / NAME).read_bytes()
            self._seen = seen  # not before: what could not be read is tried again
            self.keys = decoded(data)
        except FileNotFoundError:
            return False
        except (OSError, Damaged) as error:
            log.error("keys_not_read", error=str(error))
            return False
        return True
