"""The product as a process: every acceptance test meets it by its command line, its ports and its data directory."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

from loadtests.product import ROOT, Product

PORTS: Final = range(10_240, 20_000)


class Gateway(Product):
    """`serve --embedded` in a directory of its own: start, wait_ready, pids, kill_everything, stop (see Product).

    Its ports are chosen once, so that a restart is the very same command and clients find it again.
    """

    def __init__(
        self, data_dir: Path, *, arguments: tuple[str, ...] = (), environment: dict[str, str] | None = None
    ) -> None:
        port, admin_port = free_ports(2)
        super().__init__(
            data_dir,
            port=port,
            admin_port=admin_port,
            arguments=arguments,
            environment=environment,
            log=data_dir.with_name(data_dir.name + ".serve.log"),
        )

    def command(self, *arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run another command of the command line about this gateway."""
        return subprocess.run(
            [sys.executable, "-m", "gateway.cli", *arguments, "--data-dir", str(self.data_dir)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def everything_logged(self) -> str:
        """Standard error and output, and every file under DIR/log that the gateway itself wrote."""
        files = [self.log, *sorted((self.data_dir / "log").rglob("*.log"))]
        return "\n".join(file.read_text(errors="replace") for file in files if file.exists())


def free_ports(count: int) -> list[int]:
    """Different ports that nobody has at the moment, outside the range from which the kernel serves clients: one that
    knocks while the gateway is down could otherwise be given the very port, and keep it."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(PORTS.start, PORTS.stop)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))
            if port not in ports:
                ports.append(port)
    return ports


def let_others_through(directory: Path) -> None:
    """pytest makes its directories for their owner alone; the embedded PostgreSQL may have to run as another user."""
    for parent in (directory, directory.parent, directory.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o011)
