"""Commands of the command line, run as a script runs them, and the stores and second gateways they are tried with."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from loadtests.procfs import Process, alive, stat, tree
from loadtests.product import ROOT, Product
from tests.acceptance.client import eventually

BUSY_S: Final = 45.0  # a start waits 30 s for the remains of a killed run
STOP_S: Final = 15.0
CLEAN: Final = {name: value for name, value in os.environ.items() if not name.startswith("INGEST_")}


def run(
    *arguments: str, environment: Mapping[str, str] = MappingProxyType({}), timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """A command with this environment and no other settings."""
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", *arguments],
        cwd=ROOT,
        env={**CLEAN, **environment},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def assert_one_clear_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """It failed, and says why in one line, beside a hint about its usage at most."""
    assert done.returncode not in (0, None), done.stderr
    assert done.returncode > 0, f"ended by signal {-done.returncode}"
    assert "Traceback" not in done.stderr + done.stdout
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    (error,) = [line for line in lines if line.startswith("Error: ")]
    others = [line for line in lines if line != error and not line.startswith(("Usage: ", "Try ", "{"))]
    assert not others, others
    for word in words:
        assert word in error, error


class External(Product):
    """`serve` without --embedded: its stores are somebody else's, its ports any free ones."""

    def __init__(self, data_dir: Path, *, postgres: str, redis: str) -> None:
        stores = {"INGEST_POSTGRES_URL": postgres, "INGEST_REDIS_URL": redis, "INGEST_KEYS_REQUIRED": "false"}
        super().__init__(data_dir, environment=stores)
        self._command.remove("--embedded")


class Second:
    """Another gateway started on the same data directory. It waits for 30 s: begun early, looked at late."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._process: subprocess.Popen[str] | None = None

    def begin(self) -> None:
        if self._process is None:
            command = ["serve", "--embedded", "--port", "0", "--admin-port", "0", "--data-dir", str(self._data_dir)]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", *command],
                cwd=ROOT,
                env=CLEAN,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def end(self) -> subprocess.CompletedProcess[str]:
        """Its own end."""
        self.begin()
        assert self._process is not None
        stdout, stderr = self._process.communicate(timeout=BUSY_S)
        return subprocess.CompletedProcess(self._process.args, self._process.returncode, stdout, stderr)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Forwarder:
    """A port of 127.0.0.1 that refuses connections until `open`, then hands them on to a server."""

    def __init__(self, url: str) -> None:
        at = urlsplit(url)
        self._server = (at.hostname, at.port)
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else's
        self.url = url.replace(f":{at.port}/", f":{self._socket.getsockname()[1]}/")

    def open(self) -> None:
        self._socket.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._socket.accept()
            except OSError:
                return
            far = socket.create_connection(self._server)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def assert_ends_cleanly(product: Product, number: signal.Signals) -> None:
    """Told by this signal it ends within STOP_S with exit code 0 and nothing of it runs on."""
    product.pids()
    seen: set[Process] = {one.process for one in tree(product.pid)}
    os.kill(product.pid, number)
    eventually(product.ended, STOP_S, "ended")
    assert not (product.data_dir / "endpoints.json").exists()
    left = [stat(process.pid) for process in seen if alive(process)]
    assert not left, left
    assert product.stop() == 0
