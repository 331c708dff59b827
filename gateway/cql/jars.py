"""Cassandra's jars: fetched by Maven once, each checked against jars.sha256; and the Java that runs them.

Run as `python -m gateway.cql.jars` it fetches what pom.xml names and prints its sums, which are then the list's new
text. Nothing outside DIRECTORY is written: not Maven's own repository in the home directory either.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
DIRECTORY: Final = HERE.parents[1] / ".cache" / "cassandra"
VERSION: Final = "5.0.9"
JAVA_VERSION: Final = 17
"""Cassandra 5.0 runs on 11 and 17, and on none newer."""
COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
OTHER_PLATFORMS: Final = re.compile(r"-(osx|windows|linux-riscv64)")
FETCH_TIMEOUT_S: Final = 600.0


class CassandraMissing(Exception):
    """Cassandra cannot be had here; the text says what to do."""


def expected(text: str) -> dict[str, str]:
    """File name → SHA-256 in hexadecimal digits, from lines as of sha256sum."""
    return {name: digest for digest, name in (line.split() for line in text.splitlines())}


def is_installed(directory: Path = DIRECTORY) -> bool:
    """Whether the jars of the list as it is now are there, as they were when they were checked."""
    try:
        return (directory / "jars.sha256").read_bytes() == (HERE / "jars.sha256").read_bytes()
    except OSError:
        return False


def install(directory: Path = DIRECTORY) -> None:
    """Fetch the jars into DIRECTORY/lib: half a minute, 63 MB. Raises CassandraMissing; then nothing is installed.

    Of two at once, the second finds what the first fetched.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_installed(directory):
            return
        fetched = directory / "lib.new"
        try:
            fetch(directory, fetched)
            check(fetched, expected((HERE / "jars.sha256").read_text("ascii")))
            (directory / "jars.sha256").unlink(missing_ok=True)
            shutil.rmtree(directory / "lib", ignore_errors=True)
            fetched.rename(directory / "lib")
        finally:
            shutil.rmtree(fetched, ignore_errors=True)
        stamp = directory / "jars.sha256.new"
        shutil.copy(HERE / "jars.sha256", stamp)
        stamp.rename(directory / "jars.sha256")


def fetch(directory: Path, target: Path) -> None:
    """Have Maven copy everything that pom.xml needs to `target`. Raises CassandraMissing."""
    maven = shutil.which("mvn")
    if maven is None:
        raise CassandraMissing("Cassandra's jars come by Maven, which is not here (Debian: apt install maven)")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    repository = directory / "maven"
    options = ["-B", "-q", "--strict-checksums", f"-Dmaven.repo.local={repository}", "-f", str(HERE / "pom.xml")]
    command = [maven, *options, COPY, "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    environment = {**os.environ, "JAVA_HOME": str(java().parents[1])}
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=FETCH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CassandraMissing(f"Maven had not fetched Cassandra's jars after {FETCH_TIMEOUT_S:.0f} s") from None
    if done.returncode != 0:
        said = (done.stdout.strip() or done.stderr.strip() or f"exit code {done.returncode}").splitlines()
        raise CassandraMissing(f"Maven could not fetch Cassandra's jars: {said[0]}")
    shutil.rmtree(repository)  # 96 MB, of which only the jars are used again
    for jar in [jar for jar in target.iterdir() if OTHER_PLATFORMS.search(jar.name)]:
        jar.unlink()


def check(directory: Path, sums: dict[str, str]) -> None:
    """Raises CassandraMissing unless the directory holds these very files and no other."""
    found = {path.name: digest(path) for path in directory.iterdir()}
    odd = sorted(name for name in found.keys() | sums.keys() if found.get(name) != sums.get(name))
    if odd:
        raise CassandraMissing(f"not what gateway/cql/jars.sha256 lists, and removed: {', '.join(odd)}")


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def java() -> Path:
    """A Java of the right version: JAVA_HOME's, that on PATH, or one of those installed. Raises CassandraMissing."""
    home = os.environ.get("JAVA_HOME")
    on_path = shutil.which("java")
    candidates = [Path(home) / "bin" / "java"] if home else []
    candidates += [Path(on_path).resolve()] if on_path else []
    candidates += sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    for candidate in candidates:
        if candidate.is_file() and java_version(candidate) == JAVA_VERSION:
            return candidate
    raise CassandraMissing(
        f"Cassandra {VERSION} needs Java {JAVA_VERSION}, which is not here (Debian: apt install "
        f"openjdk-{JAVA_VERSION}-jre-headless; or JAVA_HOME names it)"
    )


def java_version(program: Path) -> int | None:
    """17 of a Java that calls itself 17.0.15; None of what is no Java."""
    try:
        said = subprocess.run(
            [str(program), "-version"], capture_output=True, text=True, check=False, timeout=60
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(\d+)', said)
    return int(match[1]) if match else None


def sums_of(files: Iterable[Path]) -> str:
    """Lines as of sha256sum, in order of the names."""
    return "".join(f"{digest(path)}  {path.name}\n" for path in sorted(files, key=lambda path: path.name))


if __name__ == "__main__":
    listed = DIRECTORY / "listed"
    fetch(DIRECTORY, listed)
    sys.stdout.write(sums_of(listed.iterdir()))
    shutil.rmtree(listed)
