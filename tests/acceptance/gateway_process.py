"""The product as a process: every acceptance test meets it by its command line, its ports and its data directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from loadtests.port import free_ports
from loadtests.product import ROOT, Product


class Gateway(Product):
    """`serve --embedded` in a directory of its own: start, wait_ready, pids, kill_everything, stop (see Product).

    Its ports are chosen once, so that a restart is the very same command and clients find it again.
    """

    def __init__(
        self, data_dir: Path, *, arguments: tuple[str, ...] = (), environment: dict[str, str] | None = None
    ) -> None:
        port, admin_port = free_ports(2)
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(
            data_dir,
            port=port,
            admin_port=admin_port,
            arguments=arguments,
            environment=environment,
            log=data_dir.with_name(data_dir.name + ".serve.log"),
        )

    def command_line(self, *arguments: str) -> list[str]:
        """Of another command about this gateway."""
        return [sys.executable, "-P", "-m", "gateway.cli", *arguments, "--data-dir", str(self.data_dir)]

    def command(self, *arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run another command of the command line about this gateway."""
        return subprocess.run(
            self.command_line(*arguments),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def spool_begins(self) -> int:
        """The lowest sequence of which an incarnation still has all that follows; of several, the highest such."""
        begins = [0]
        for incarnation in (self.data_dir / "spool").iterdir():
            bases = [int(path.stem, 16) for path in incarnation.glob("*.*") if path.suffix in (".open", ".sealed")]
            begins.append(min(bases, default=0))
        return max(begins)

    def everything_logged(self) -> str:
        """Standard error and output, and every file under DIR/log that the gateway itself wrote."""
        files = [self.log, *sorted((self.data_dir / "log").rglob("*.log"))]
        return "\n".join(file.read_text(errors="replace") for file in files if file.exists())


def let_others_through(directory: Path) -> None:
    """pytest makes its directories for their owner alone; the embedded PostgreSQL may have to run as another user."""
    for parent in (directory, directory.parent, directory.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o011)
