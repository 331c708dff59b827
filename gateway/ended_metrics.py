"""Numbers of processes that have ended: their counters stay in the sums, in one file a kind instead of one a process.

Otherwise every restart, and every turn of a child that does not come up, would leave half a megabyte to be read at each
scrape. The layout of the files is prometheus_client's (its mmap_dict), read by it, and written here by plain writes: a
store to a mapped page that a full disk lacks ends the process.
"""

import struct
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead

log: Any = structlog.get_logger()

KINDS = ("counter", "histogram")
ENDED = "ended"
"""Where the pid stands in a living process's file name."""
LOCK = threading.Lock()
"""Held while files are added up, and while all are read: a number is neither missing then nor there twice."""


def take_over(directory: Path, pid: int) -> None:
    """Add up what the process counted, forget what it said of the moment (up, lag, in flight). Never raises: what the
    disk refuses stays in files of its own.
    """
    with LOCK:
        mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]
        for kind in KINDS:
            own = directory / f"{kind}_{pid}.db"
            try:
                _add(own, directory / f"{kind}_{ENDED}.db")
            except FileNotFoundError:
                continue
            except (OSError, RuntimeError, struct.error) as error:  # the library's word for a damaged file
                log.warning("metrics_not_taken_over", file=own.name, error=str(error))


def _add(own: Path, sums: Path) -> None:
    values = _read(own)
    if sums.exists():
        for key, (value, at_s) in _read(sums).items():
            more, later_s = values.get(key, (0.0, 0.0))
            values[key] = (value + more, max(at_s, later_s))
    draft = sums.with_suffix(".draft")
    draft.write_bytes(encode(values))
    draft.rename(sums)
    own.unlink()


def _read(path: Path) -> dict[str, tuple[float, float]]:
    found = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
    return {key: (value, at_s) for key, value, at_s, _ in found}


def encode(values: Mapping[str, tuple[float, float]]) -> bytes:
    """The file's bytes: key → value and when it was set, in seconds since 1970. Pure."""
    entries = []
    for key, (value, at_s) in values.items():
        name = key.encode()
        name_bytes = len(name) + 8 - (len(name) + 4) % 8
        entries.append(struct.pack(f"i{name_bytes}sdd", len(name), name.ljust(name_bytes), value, at_s))
    body = b"".join(entries)
    return struct.pack("i4x", 8 + len(body)) + body
