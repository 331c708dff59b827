"""DATA/run/surplus: the sessions whose events the door refuses, 16 bytes each.

Written every second by who limits streams. When it was not for a while, nobody is refused: who does not know lets in.
"""

import os
import time
from pathlib import Path
from typing import Any, Final

import structlog

log: Any = structlog.get_logger()

NAME: Final = "surplus"
GOOD_S: Final = 10.0


def write(run: Path, refused: frozenset[bytes]) -> None:
    """Replace it. Never raises: a disk that is full of everything must not end a reader."""
    draft = run / f"{NAME}.{os.getpid()}.draft"
    try:
        draft.write_bytes(b"".join(sorted(refused)))
        draft.rename(run / NAME)
    except OSError as error:
        log.warning("surplus_not_written", error=str(error))


def read(run: Path) -> frozenset[bytes]:
    """Those that are refused now; never raises."""
    try:
        with (run / NAME).open("rb") as file:
            if abs(time.time() - os.fstat(file.fileno()).st_mtime) > GOOD_S:
                return frozenset()
            data = file.read()
    except OSError:
        return frozenset()
    return frozenset(data[at : at + 16] for at in range(0, len(data), 16))
