"""The preloaded shim: compiled where it is used, switched by two files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from loadtests.faults.fault import LeftOut

SOURCE: Final = Path(__file__).with_name("fsync_shim.c")


class FsyncShim:
    """fsync_shim.c, compiled into `directory`, for one gateway. Raises LeftOut where there is no C compiler."""

    def __init__(self, directory: Path, data_dir: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise LeftOut("there is no C compiler to make the fsync shim with")
        library = directory / "fsync_shim.so"
        command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise LeftOut(f"the fsync shim does not compile: {made.stderr.strip()}")
        self.fails = directory / "fsync.fails"
        """While this file is there, fsync says EIO."""
        self.skipped = directory / "fsync.skipped"
        """While this file is there, fsync does nothing."""
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAULT_SPOOL": str(data_dir.resolve() / "spool"),
            "FAULT_FSYNC_FAILS": str(self.fails),
            "FAULT_FSYNC_SKIPPED": str(self.skipped),
        }
