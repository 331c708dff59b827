"""What callgrind runs: every part, at one event a request and at twenty, for few requests and for many.

    python -m tests.instructions.counted CORE MARKS DIRECTORY

MARKS is marks.c, compiled. Each part comes once uncounted before, so that caches and the interpreter are warm. What
many requests take more than few is the steady state alone.
"""

import asyncio
import ctypes
import gc
import logging
import sys
from pathlib import Path

import structlog
import uvloop

from ingest.core import chosen
from tests.instructions.figure import REQUESTS, name_of
from tests.instructions.parts import PARTS
from tests.instructions.traffic import bodies


async def count(marks: ctypes.CDLL, room: Path) -> None:
    """All parts, one after the other."""
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop), "the gateway's"
    runs = 0
    for part_name, part in PARTS.items():
        for events_count, (few, many) in REQUESTS.items():
            for requests_count, is_counted in ((few, False), (few, True), (many, True)):
                runs += 1
                directory = room / f"{runs:02d}"
                directory.mkdir()
                name = f"{name_of(part_name, events_count)} {requests_count}".encode()
                async with part(directory, bodies(requests_count, events_count, seed=runs)) as work:
                    gc.collect()
                    if is_counted:
                        marks.mark_begin()
                    await work()
                    if is_counted:
                        marks.mark_end(name)


if __name__ == "__main__":
    gc.disable()  # when it comes round depends on what was allocated before
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    chosen.choose("rust" if sys.argv[1] == "rust" else "python")
    uvloop.run(count(ctypes.CDLL(sys.argv[2]), Path(sys.argv[3])))
