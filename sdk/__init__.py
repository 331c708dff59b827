"""The browser module: `streamverse.js` tells a gateway what a <video> does, `streamverse.d.ts` is its types.

It has no dependencies and no build: what is served is the source without its comments and indentation, which are for
who reads it here. So one line is one statement or a part of it: no template text goes over two lines, and nothing but a
comment begins with two slashes that have a blank, or the line's beginning, before them.
"""

import re
from pathlib import Path
from typing import Final

DIRECTORY: Final = Path(__file__).parent
SERVED_MAX_BYTES: Final = 4_096
"""Of the module as browsers fetch it, gzipped."""
_COMMENT: Final = re.compile(rb"(?:^| )// .*$|^//$", re.MULTILINE)


def module() -> bytes:
    """The ES module, as it is served. Raises OSError."""
    lines = _COMMENT.sub(b"", (DIRECTORY / "streamverse.js").read_bytes()).splitlines()
    return b"\n".join(line.strip() for line in lines if line.strip()) + b"\n"


def types() -> bytes:
    """What TypeScript is told of it. Raises OSError."""
    return (DIRECTORY / "streamverse.d.ts").read_bytes()
