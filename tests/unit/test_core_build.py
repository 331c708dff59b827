"""The Rust core: built where cargo is, done without where it is not, never left over from other sources; and chosen."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from config.settings import Settings
from gateway.cli import main
from ingest.core import INTERFACE, Chosen, CoreMissing, chosen
from native import build
from tests.unit.test_gw import checkout, gw, made

__all__ = ["checkout", "gw"]


@pytest.fixture
def core(gw: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An environment that is whole, with a core whose build is a command of the test's; `cargo` says if it is there."""
    made(gw, checkout)
    (checkout / "native" / "src").mkdir(parents=True)
    for name in ("build.py", "Cargo.toml", "src/lib.rs"):
        (checkout / "native" / name).touch()
    environment = gw.Environment(checkout)
    place = environment.directory / "lib/python3.11/site-packages"
    place.mkdir(parents=True)
    module = place / "streamverse_ingest_native.abi3.so"
    told = SimpleNamespace(environment=environment, module=module, cargo="/usr/bin/cargo", command=["touch", module])
    monkeypatch.setattr(gw.Environment, "core_step", lambda _: ("building", [str(part) for part in told.command]))
    monkeypatch.setattr(gw.shutil, "which", lambda name: told.cargo if name == "cargo" else None)
    monkeypatch.delenv("CI", raising=False)
    return told


def test_the_core_is_built_once_and_anew_when_a_source_changed(core: Any, checkout: Path) -> None:
    assert core.environment.ensure() is True and core.module.exists()
    assert core.environment.ensure() is False
    for name in ("src/lib.rs", "Cargo.toml", "build.py"):
        (checkout / "native" / name).write_text("changed")
        assert core.environment.ensure() is True, name
        assert core.environment.ensure() is False, name


def test_without_cargo_nothing_is_built_and_no_core_of_other_sources_stays(core: Any, checkout: Path) -> None:
    core.cargo = None
    assert core.environment.ensure() is False and not core.module.exists()
    core.cargo = "/usr/bin/cargo"
    assert core.environment.ensure() is True
    core.cargo = None
    assert core.environment.ensure() is False and core.module.exists()
    (checkout / "native/src/lib.rs").write_text("changed")
    assert core.environment.ensure() is True and not core.module.exists()
    assert core.environment.ensure() is False


def test_a_core_that_cannot_be_built_is_said_and_tried_again_when_asked(
    core: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    core.command = ["sh", "-c", "echo no linker >&2; exit 1"]
    assert core.environment.ensure() is True
    assert "no linker" in (said := capsys.readouterr().err) and "in Python" in said
    assert core.environment.ensure() is False
    core.command = ["touch", core.module]
    assert core.environment.ensure(again=True) is True and core.module.exists()


def test_with_ci_a_core_that_cannot_be_built_fails(core: Any, gw: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    core.command = ["false"]
    for _ in range(2):
        with pytest.raises(gw.Failed):
            core.environment.ensure()


def test_the_lock_is_kept_without_and_restored_with_the_place_of_crates() -> None:
    kept = Path(build.HERE / "crates.lock").read_text("utf-8")
    restored = build.with_sources(kept, 'source = "somewhere"')
    assert build.without_sources(restored) == kept
    packages = restored.split("[[package]]")[1:]
    sources = ["source = " in package for package in packages]
    assert sources == ["checksum = " in package for package in packages]
    assert sum(sources) == len(packages) - 1, "all but our own"


def test_every_crate_that_is_named_is_pinned() -> None:
    named = tomllib.loads((build.HERE / "Cargo.toml").read_text("utf-8"))["dependencies"].values()
    assert named and all((crate if isinstance(crate, str) else crate["version"]).startswith("=") for crate in named)


def test_a_wheel_names_the_glibc_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "lib.so"
    library.write_bytes(b"\x7fELF GLIBC_2.3.4\0GLIBC_2.17\0GLIBC_2.28\0GLIBC_2.5\0")
    monkeypatch.setattr(build, "built", lambda: library)
    path = build.wheel(tmp_path / "dist")
    assert re.fullmatch(r"streamverse_ingest_native-[0-9.]+-cp311-abi3-manylinux_2_28_\w+\.whl", path.name)
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps", "--no-index",
         "--target", tmp_path / "into", path], check=True, timeout=120,
    )  # fmt: skip
    assert (tmp_path / "into" / build.MODULE).read_bytes() == library.read_bytes()
    assert zipfile.ZipFile(path).testzip() is None


def test_a_core_of_another_interface_is_none() -> None:
    for built in (None, SimpleNamespace(INTERFACE=INTERFACE + 1), SimpleNamespace()):
        choice = Chosen(built)
        assert choice.name == "python"
        choice.choose(Settings().core)
        assert choice.name == "python"
        with pytest.raises(CoreMissing, match="install"):
            choice.choose("rust")


def test_the_choice_is_obeyed() -> None:
    choice = Chosen(SimpleNamespace(INTERFACE=INTERFACE))
    assert choice.name == "rust"
    choice.choose("python")
    assert choice.name == "python" and choice.rust is None
    choice.choose("auto")
    assert choice.name == "rust"


def test_serving_with_a_core_that_is_not_there_is_an_error_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chosen, "_built", None)
    monkeypatch.setenv("INGEST_CORE", "rust")
    result = CliRunner().invoke(main, ["serve", "--embedded", "--data-dir", str(tmp_path / "data")])
    assert result.exit_code == 2 and "./gw install" in result.output
    assert not (tmp_path / "data").exists()
