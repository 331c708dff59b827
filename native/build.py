#!/usr/bin/env python3
"""Builds the Rust core: standard library and cargo, nothing else.

    build.py install         into the site-packages of the Python that runs this
    build.py wheel DIR       a wheel for every Python from 3.11 on; its tag names the glibc that it needs, so run it in
                             a manylinux_2_28 image for one that runs on every current Linux
    build.py pin             keep what cargo chose (after a change of Cargo.toml, and `cargo update`)

crates.lock is Cargo.lock without the lines that say where crates come from. They are put back as this cargo names its
registry; versions and checksums are ours, and cargo holds to them (--locked).
"""

import base64
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "streamverse_ingest_native"
MODULE = f"{NAME}.abi3.so"
PYTHON_MIN = "3.11"
PYTHON_TAG = "cp311-abi3"
GLIBC_VERSION = re.compile(rb"GLIBC_2\.([0-9]+)\0")


class Failed(Exception):
    """The text is for people."""


def cargo(*arguments: str, directory: Path = HERE) -> None:
    """Raises Failed with the end of what it said."""
    found = shutil.which("cargo")
    if found is None:
        raise Failed("cargo is not installed")
    environment = dict(os.environ, PYO3_NO_PYTHON="1", PYO3_BUILD_EXTENSION_MODULE="1")  # abi3: one for all of them
    done = subprocess.run(
        [found, *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise Failed("\n".join(done.stderr.strip().splitlines()[-12:]))


def without_sources(lock: str) -> str:
    """The lock file as it is kept."""
    return "".join(line for line in lock.splitlines(keepends=True) if not line.startswith("source = "))


def with_sources(kept: str, source: str) -> str:
    """The lock file as cargo takes it: every crate with a checksum came from the registry."""
    return re.sub(r'^(?=checksum = ")', source + "\n", kept, flags=re.MULTILINE)


def restore_lock() -> None:
    """Cargo.lock of crates.lock."""
    kept, lock = (HERE / "crates.lock").read_text("utf-8"), HERE / "Cargo.lock"
    if lock.exists() and without_sources(lock.read_text("utf-8")) == kept:
        return
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made)
        shutil.copy(HERE / "Cargo.toml", scratch)
        (scratch / "src").mkdir()
        (scratch / "src" / "lib.rs").touch()
        cargo("generate-lockfile", directory=scratch)
        source = re.search(r"^source = .*$", (scratch / "Cargo.lock").read_text("utf-8"), re.MULTILINE)
    assert source is not None
    lock.write_text(with_sources(kept, source.group()), "utf-8")


def built() -> Path:
    """The library, made of the sources as they are. Raises Failed."""
    if sys.platform != "linux":
        raise Failed(f"the Rust core is built on Linux only, not on {sys.platform}")
    restore_lock()
    target = HERE / "target"
    cargo("build", "--release", "--locked", "--quiet", "--target-dir", str(target))
    return target / "release" / f"lib{NAME}.so"


def install() -> None:
    """Seen whole or not at all: a gateway may be running on the old one."""
    place = Path(sysconfig.get_path("platlib")) / MODULE
    unfinished = place.with_suffix(".new")
    shutil.copy(built(), unfinished)
    unfinished.rename(place)


def wheel(directory: Path) -> Path:
    """Its path."""
    library = built().read_bytes()
    version = tomllib.loads((HERE / "Cargo.toml").read_text("utf-8"))["package"]["version"]
    minor = max(map(int, GLIBC_VERSION.findall(library)))
    tag = f"{PYTHON_TAG}-manylinux_2_{minor}_{platform.machine()}"
    about = f"{NAME}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\nRequires-Python: >={PYTHON_MIN}\n"
    contents = f"Wheel-Version: 1.0\nGenerator: build.py\nRoot-Is-Purelib: false\nTag: {tag}\n"
    files = {MODULE: library, f"{about}/METADATA": metadata.encode(), f"{about}/WHEEL": contents.encode()}
    record = ""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{NAME}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(data)}\n"
            archive.writestr(name, data)
        archive.writestr(f"{about}/RECORD", f"{record}{about}/RECORD,,\n")
    return path


def main(arguments: list[str]) -> None:
    """Raises Failed."""
    match arguments:
        case ["install"]:
            install()
        case ["wheel", directory]:
            sys.stdout.write(f"{wheel(Path(directory))}\n")
        case ["pin"]:
            (HERE / "crates.lock").write_text(without_sources((HERE / "Cargo.lock").read_text("utf-8")), "utf-8")
        case _:
            raise Failed("build.py install | wheel DIR | pin")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Failed as error:
        sys.exit(f"build.py: {error}")
