"""The product's own `verify`, asked as a stranger asks it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Final

from loadtests.product import ROOT

COMMAND_TIMEOUT_S: Final = 120.0
POLL_S: Final = 0.5
NOT_COMPARED: Final = "counters: "  # how a note of `verify` begins that says it could not hold the counters to anything


async def command(data_dir: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a command of the product about the gateway in `data_dir`. Raises TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", *arguments, "--data-dir", str(data_dir)),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode() or errors.decode()


async def disagreement(data_dir: Path, deadline_s: float, *, with_counters: bool) -> str:
    """What `verify` has to say, asked again until it agrees, and if `with_counters` could compare those too, or until
    `deadline_s` (time.monotonic); empty when it agrees."""
    while True:
        code, said = await command(data_dir, "verify", "--json")
        report = json.loads(said) if code in (0, 1) and said.startswith("{") else {}
        compared = not any(note.startswith(NOT_COMPARED) for note in report.get("notes", ()))
        if code == 0 and (compared or not with_counters):
            return ""
        if time.monotonic() >= deadline_s:
            return said
        await asyncio.sleep(POLL_S)
