"""An instance that runs already, is somebody else's, and goes on running: only what it comes back from by itself."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any, Final

from loadtests.faults.fault import LeftOut
from loadtests.procfs import tree

STATUS_TIMEOUT_S: Final = 5.0
STORES: Final = ("postgres", "redis")


class Staging:
    """The gateway that runs in `data_dir`, as it tells of itself. Raises LeftOut when there is none on this machine."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        try:
            self.endpoints: dict[str, str] = json.loads((data_dir / "endpoints.json").read_text())
            self._supervisor = self._at_home()
        except (OSError, ValueError, KeyError) as missing:
            raise LeftOut(f"no gateway runs in {data_dir}: {missing}") from missing

    def statusz(self) -> dict[str, Any]:
        """What the admin port says, but for the processes that are not on this machine. Raises OSError."""
        status = self._told()
        ours = {seen.process.pid for seen in tree(self._supervisor)}
        status["processes"] = [process for process in status["processes"] if process["pid"] in ours]
        return status

    def roles(self) -> set[str]:
        """The roles of the processes that may be killed or stopped here."""
        return {process["role"] for process in self.statusz()["processes"]}

    def log_tail(self) -> str:
        """Its log is where its owner put it."""
        return f"(see the log of the gateway in {self.data_dir})"

    def _told(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.endpoints["admin"] + "/statusz", timeout=STATUS_TIMEOUT_S) as answer:  # noqa: S310
            status: dict[str, Any] = json.load(answer)
        return status

    def _at_home(self) -> int:
        """The supervisor's pid, if the process of that number here is the one that holds the directory's lock."""
        (pid,) = (process["pid"] for process in self._told()["processes"] if process["role"] == "supervisor")
        lock = os.stat(self.data_dir / "lock")
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                held = descriptor.stat()
            except OSError:
                continue
            if (held.st_dev, held.st_ino) == (lock.st_dev, lock.st_ino):
                return int(pid)
        raise ValueError(f"process {pid} of this machine does not hold its lock")


def agreed(staging: Staging, names: list[str]) -> bool:
    """Ask whoever sits at the terminal."""
    sys.stderr.write(
        f"{', '.join(names)} will be done to the gateway in {staging.data_dir} ({staging.endpoints['http']}).\n"
        "It is left running; a crowd's events stay in its stores. Type yes to go on: "
    )
    sys.stderr.flush()
    return sys.stdin.isatty() and sys.stdin.readline().strip() == "yes"
