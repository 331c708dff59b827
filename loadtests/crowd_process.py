"""One crowd as a process of its own, for those who play several beside each other: started, listened to, ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import orjson

from loadtests.product import ROOT

INDICES_A_CROWD: Final = 1_000_000  # apart, so that two crowds of one seed never play the same viewing
HURRIED_S: Final = 5.0


@dataclass(slots=True)
class CrowdProcess:
    """A running `python -m loadtests.crowd`, its ledger, and the last figures it gave on stdout."""

    process: asyncio.subprocess.Process
    ledger: Path
    log: Path
    figures: dict[str, Any] = field(default_factory=dict)
    _listener: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, number: int, directory: Path, url: str, *, viewers: int, seed: int, **more: float) -> Self:
        """Start crowd `number` of several; ledger and log go to `directory`, `more` are further options by name."""
        ledger = directory / f"crowd-{seed}-{number}.ledger"
        ledger.touch()  # one that is ended before its first word has sent nothing
        log = directory / f"crowd-{number}.log"
        arguments: dict[str, object] = {
            "--url": url,
            "--viewers": viewers,
            "--seed": seed,
            "--first-index": number * INDICES_A_CROWD,
            "--ledger": ledger,
            **{"--" + name.replace("_", "-"): value for name, value in more.items()},
        }
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "loadtests.crowd"),
                *(str(word) for pair in arguments.items() for word in pair),
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C goes to the starter, who ends things in their order
            )
        crowd = cls(process, ledger, log)
        crowd._listener = asyncio.create_task(crowd._listen())
        return crowd

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.figures = orjson.loads(line)

    async def wait(self) -> int:
        """Wait for its own end and its last figures; the exit code."""
        code = await self.process.wait()
        if self._listener is not None:
            await self._listener
        return code

    async def end(self, patience_s: float) -> None:
        """End its viewings and wait for its last answers; then hurry it, then kill it."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    self.process.send_signal(number)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.process.wait(), patience_s)
                patience_s = HURRIED_S
        if self._listener is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._listener, HURRIED_S)
