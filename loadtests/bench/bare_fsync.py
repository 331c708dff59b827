"""What the disk alone can promise: fdatasync after an append, again and again, by one thread."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BareFsync:
    """Appends made durable a second, and how long the slower ones took."""

    per_s: float
    ms_p50: float
    ms_p99: float


def bare_fsync(directory: Path, size_bytes: int, seconds: float) -> BareFsync:
    """Append `size_bytes` and fdatasync, for `seconds`, to a file in `directory` that is gone afterwards."""
    data, took_s = os.urandom(size_bytes), []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        began_s = time.perf_counter()
        while time.perf_counter() - began_s < seconds:
            at_s = time.perf_counter()
            file.write(data)
            os.fdatasync(file.fileno())
            took_s.append(time.perf_counter() - at_s)
    took_s.sort()
    return BareFsync(len(took_s) / sum(took_s), took_s[len(took_s) // 2] * 1e3, took_s[int(len(took_s) * 0.99)] * 1e3)
