"""FastAPI as a peer: fastapi_service.py under uvicorn, as many workers as cores, in a venv of its own in .cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from loadtests.peers.peer import SCHEMA, Unavailable
from loadtests.peers.process import PeerProcess
from loadtests.port import free_ports
from loadtests.product import ROOT

LOCK: Final = Path(__file__).with_name("requirements.lock")
CACHE: Final = ROOT / ".cache"
VENV: Final = CACHE / "fastapi"
PYTHON: Final = VENV / "bin" / "python"
STAMP: Final = VENV / "stamp"  # there only when all of the rest is
INSTALL_TIMEOUT_S: Final = 600


class FastApi:
    """The Peer, in one of the service's two forms; see peer.py and fastapi_service.py."""

    def __init__(self, *, commits_first: bool) -> None:
        self.name = "fastapi_commit" if commits_first else "fastapi"
        self.answer_means = "committed" if commits_first else "in memory"
        self.remark = "pydantic, asyncpg, uvicorn with a worker a core, no access log"
        self._answers = "committed" if commits_first else "memory"

    def prepare(self) -> None:
        CACHE.mkdir(exist_ok=True)
        with (CACHE / "fastapi.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_whole():
                install()

    def table_sql(self, table: str) -> str:
        del table  # it is well as it is
        return ""

    def launch(self, dsn: str, table: str, directory: Path) -> PeerProcess:
        [port] = free_ports(1)
        # By its full name from the checkout: beside the service lies a fastapi.py, this one, which is not theirs.
        command = [str(PYTHON), "-m", "uvicorn", "loadtests.peers.fastapi_service:app", "--port", str(port)]
        command += ["--workers", str(os.cpu_count() or 1), "--no-access-log", "--log-level", "warning"]
        environment = {"SERVICE_DSN": dsn, "SERVICE_TABLE": f"{SCHEMA}.{table}", "SERVICE_ANSWERS": self._answers}
        return PeerProcess(command, port=port, log=directory / "log", environment=environment)


def recipe() -> str:
    """What the venv is made from: the pins, and the Python that it belongs to."""
    return f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()} {sys.version_info[:2]}"


def is_whole() -> bool:
    """Whether it was made to its end, from what is pinned now, with a Python that is still there."""
    return PYTHON.exists() and STAMP.exists() and STAMP.read_text("utf-8") == recipe()


def install() -> None:
    """From nothing, every file checked by its hash; raises Unavailable."""
    sys.stderr.write("installing FastAPI's packages, once …\n")
    shutil.rmtree(VENV, ignore_errors=True)
    pip = [str(PYTHON), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "-q", "install"]
    for command in (
        [sys.executable, "-I", "-m", "venv", str(VENV)],
        [*pip, "--no-deps", "--require-hashes", "-r", str(LOCK)],
    ):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", check=False, timeout=INSTALL_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"FastAPI's packages were not installed within {INSTALL_TIMEOUT_S} s") from None
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
            raise Unavailable("FastAPI's packages could not be installed: " + " ".join(said[-3:]))
    STAMP.write_text(recipe(), "utf-8")
