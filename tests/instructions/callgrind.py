"""Counts instructions: tests.instructions.counted in valgrind's callgrind, which sees every one and no noise.

Valgrind shows every program the same processor, wherever the real one has AVX2, so which of its variants a library
chooses does not depend on the machine. Addresses are valgrind's own choice, the same in every run, and the hash seed is
ours.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.instructions.figure import Kept, interpreter, per_event

PROGRAM: Final = "tests.instructions.counted"
MARKS: Final = Path(__file__).with_name("marks.c")
TIMEOUT_S: Final = 900
"""A run takes a minute where two cores are free."""
_DUMPED: Final = re.compile(r"^desc: Trigger: Client Request: ([^\n]+)$.*^totals: (\d+)$", re.MULTILINE | re.DOTALL)


class NotCounted(Exception):
    """Nothing can be counted here; the text says why."""


def measured(core: str) -> Kept:
    """Figures of the core `python` or `rust`. Raises NotCounted."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise NotCounted("valgrind is not installed: apt install valgrind, or ./gw test as root")
    with tempfile.TemporaryDirectory(prefix="instructions-") as name:
        room = Path(name)
        _compile(room / "marks.so")
        (room / "data").mkdir()
        # Nothing of this is of another length in another run, and all modules are compiled before it: else the heap is
        # laid out otherwise, which is half a percent.
        environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
        subprocess.run([sys.executable, "-P", "-c", f"import {PROGRAM}"], cwd=room, env=environment, check=False)
        command = [valgrind, "--tool=callgrind", "--instr-atstart=no", "--dump-line=no", "--callgrind-out-file=out"]
        command += [sys.executable, "-P", "-m", PROGRAM, core, "./marks.so", "data"]
        done = subprocess.run(
            command, cwd=room, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
        if done.returncode:
            raise NotCounted(f"the run ended with {done.returncode}:\n{done.stderr[-3_000:]}")
        dumped = [_DUMPED.search(path.read_text("utf-8")) for path in _in_order(room)]
    totals = {one[1]: int(one[2]) for one in dumped if one is not None}
    return Kept(interpreter(), core, _rustc() if core == "rust" else "", per_event(totals))


def _in_order(room: Path) -> list[Path]:
    """The dumps, first to last."""
    return sorted(room.glob("out.*"), key=lambda path: int(path.suffix[1:]))


def _compile(library: Path) -> None:
    """marks.c."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NotCounted("there is no C compiler to make the marks with")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(MARKS)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise NotCounted(f"marks.c does not compile: {made.stderr.strip()}")


def _rustc() -> str:
    """Its version; empty where it is not there."""
    found = shutil.which("rustc")
    if found is None:
        return ""
    printed = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    return " ".join(printed.split()[:2])
