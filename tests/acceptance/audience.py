"""A crowd beside a test: a process that plays viewers and writes its own ledger, from the outside alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from loadtests.product import ROOT

RESEND_S: Final = 60.0
SEED: Final = 20_261_122
INDICES: Final = 1_000_000  # between two crowds of one seed, so that they never play the same viewing


class Audience:
    """`with Audience(directory, url, number=0) as crowd:` plays until the block ends and everything was answered."""

    def __init__(self, directory: Path, url: str, *, number: int, viewers: int = 40, pace: int = 60) -> None:
        self.ledger = directory / f"crowd-{number}.ledger"
        self._figures = directory / f"crowd-{number}.figures"
        self._log = directory / f"crowd-{number}.log"
        self._command = [sys.executable, "-m", "loadtests.crowd", "--url", url, "--ledger", str(self.ledger)]
        options = {"viewers": viewers, "pace": pace, "seed": SEED, "resend": RESEND_S, "every": 0.2}
        options["first-index"] = number * INDICES
        self._command += [word for name, value in options.items() for word in (f"--{name}", str(value))]

    def __enter__(self) -> Self:
        with self._figures.open("wb") as figures, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=figures, stderr=log, start_new_session=True
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._process.send_signal(signal.SIGTERM)
            code = self._process.wait(RESEND_S + 15)
        finally:
            self._process.kill()
            self._process.wait()
        assert error is not None or code == 0, self._log.read_text()

    @property
    def figures(self) -> dict[str, Any]:
        """The last line it said about itself; empty before the first."""
        lines = self._figures.read_text().rpartition("\n")[0].splitlines()
        told: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return told

    def acknowledged_more(self, seconds: float, within_s: float = 30.0) -> None:
        """Let `seconds` pass, and at least until something new was acknowledged."""
        before, deadline = self.figures.get("acknowledged", 0), time.monotonic() + within_s
        time.sleep(seconds)
        while self.figures.get("acknowledged", 0) <= before:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, f"nothing acknowledged: {self.figures}"
            time.sleep(0.1)
