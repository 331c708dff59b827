"""Atheris, a coverage-guided fuzzer for Python (Apache-2.0), which is libFuzzer: its wheel is 34 MB, so it is fetched
when it is asked for and not with everything else, into .cache/fuzz, pinned by its hash.

`python -m tests.fuzz.engine TARGET [libFuzzer's arguments]` fuzzes one target in this process.
"""

import fcntl
import hashlib
import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

CHECKOUT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = CHECKOUT / ".cache"
SITE: Final = CACHE / "fuzz"
STAMP: Final = SITE / "stamp"
LOCK: Final = Path(__file__).with_name("requirements.lock")
INSTALL_TIMEOUT_S: Final = 600


class Unavailable(Exception):
    """It cannot be had here."""


def prepare() -> None:
    """Fetch it unless it is here. Raises Unavailable."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "fuzz.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        recipe = f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()} {sys.version_info[:2]}"
        if STAMP.exists() and STAMP.read_text("utf-8") == recipe:
            return
        sys.stderr.write("fetching the fuzzer, once …\n")
        shutil.rmtree(SITE, ignore_errors=True)
        command = [
            sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "-q", "install",
            "--only-binary=:all:", "--no-deps", "--require-hashes", "--target", str(SITE), "-r", str(LOCK),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"Atheris was not fetched within {INSTALL_TIMEOUT_S} s") from None
        if done.returncode != 0:
            said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()
            raise Unavailable("Atheris cannot be had here: " + " ".join(said[-2:]))
        STAMP.write_text(recipe, "utf-8")


def fuzz(target: str, arguments: list[str]) -> None:
    """Never returns."""
    sys.path.insert(0, str(SITE))
    engine: Any = importlib.import_module("atheris")  # it is where `prepare` has put it

    with engine.instrument_imports(include=["ingest"]):
        from tests.fuzz.targets import TARGETS
    engine.Setup([sys.argv[0], *arguments], TARGETS[target])
    engine.Fuzz()


if __name__ == "__main__":
    fuzz(sys.argv[1], sys.argv[2:])
