"""./gw: what it makes of .venv, what it says, and what it becomes. Nothing is installed here."""

import ast
import fcntl
import importlib.machinery
import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "gw"
LANES = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]


@pytest.fixture(scope="module")
def gw() -> ModuleType:
    """The script, imported."""
    loader = importlib.machinery.SourceFileLoader("gw", str(SCRIPT))
    spec = importlib.util.spec_from_loader("gw", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in small."""
    (tmp_path / "requirements.lock").write_text("aiohttp==3.14.5 \\\n    --hash=sha256:00\nuvloop==0.23.0 \\\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    return tmp_path


def made(gw: ModuleType, checkout: Path) -> list[str]:
    """Ensure the environment with steps that only make the interpreter's link; the names of the steps taken."""
    environment = gw.Environment(checkout)
    taken: list[str] = []

    def steps() -> list[tuple[str, list[str]]]:
        taken.append("make")
        link = ["ln", "-s", sys.executable, str(environment.python)]
        return [("making", ["mkdir", "-p", str(environment.python.parent)]), ("linking", link)]

    environment.pip_steps = steps
    environment.uv_steps = lambda _: steps()
    environment.ensure()
    return taken


def test_an_environment_is_made_once(gw: ModuleType, checkout: Path) -> None:
    assert made(gw, checkout) == ["make"]
    assert made(gw, checkout) == []


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_recipe_makes_it_anew(gw: ModuleType, checkout: Path, name: str) -> None:
    made(gw, checkout)
    (checkout / name).write_text("changed\n")
    assert made(gw, checkout) == ["make"]


def test_a_checkout_that_moved_makes_it_anew(gw: ModuleType, checkout: Path) -> None:
    made(gw, checkout)
    moved = checkout.rename(checkout.with_name("moved"))
    assert made(gw, moved) == ["make"]


def test_a_python_that_is_gone_makes_it_anew(gw: ModuleType, checkout: Path) -> None:
    made(gw, checkout)
    python = checkout / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert made(gw, checkout) == ["make"]


def test_a_step_that_fails_leaves_no_stamp(gw: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gw.shutil, "which", lambda _: None)
    environment = gw.Environment(checkout)
    link = ["ln", "-s", sys.executable, str(environment.python)]
    environment.pip_steps = lambda: [
        ("making", ["mkdir", "-p", str(environment.python.parent)]),
        ("linking", link),
        ("installing", ["sh", "-c", "echo no such package >&2; exit 1"]),
    ]
    with pytest.raises(gw.Failed, match="installing failed:\nno such package"):
        environment.ensure()
    assert not environment.is_whole()
    assert made(gw, checkout) == ["make"]  # what is half there is taken away first


def test_of_two_at_once_one_installs_and_the_other_waits(gw: ModuleType, checkout: Path) -> None:
    with ThreadPoolExecutor(4) as runs:
        taken = list(runs.map(lambda _: made(gw, checkout), range(4)))
    assert sorted(taken) == [[], [], [], ["make"]]


def test_a_step_that_outlives_its_gw_keeps_the_next_one_waiting(gw: ModuleType, checkout: Path) -> None:
    environment = gw.Environment(checkout)
    with environment.open_lock() as environment.lock:
        fcntl.flock(environment.lock, fcntl.LOCK_EX)
        gw.run_step("installing", ["sh", "-c", "sleep 0.4 >&- 2>&- &"], environment.lock)
    with environment.open_lock() as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(lock, fcntl.LOCK_EX)


def test_pip_is_tried_where_uv_fails(gw: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gw.shutil, "which", lambda _: "/usr/bin/uv")
    environment = gw.Environment(checkout)
    link = ["ln", "-s", sys.executable, str(environment.python)]
    environment.uv_steps = lambda _: [("by uv", ["false"])]
    environment.pip_steps = lambda: [("by pip", ["mkdir", "-p", str(environment.python.parent)]), ("linking", link)]
    environment.ensure()
    assert environment.is_whole()


def test_a_python_without_venv_is_told_what_to_install(
    gw: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gw.shutil, "which", lambda _: None)
    monkeypatch.setattr(gw.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(gw.Failed, match="apt install python3-venv"):
        gw.Environment(checkout).ensure()


def test_a_checkout_that_cannot_be_written_to_is_named_with_its_owner(gw: ModuleType, checkout: Path) -> None:
    (checkout / ".venv.lock").mkdir()  # what stops root too
    with pytest.raises(gw.Failed, match=f"cannot be written to .* as {checkout.owner()} first"):
        gw.Environment(checkout).ensure()


def test_both_installers_check_every_hash_and_resolve_nothing(gw: ModuleType, checkout: Path) -> None:
    environment = gw.Environment(checkout)
    for steps in (environment.pip_steps(), environment.uv_steps("uv")):
        (pinned,) = [command for name, command in steps if "2 pinned packages" in name]
        assert {"--require-hashes", "--no-deps"} <= set(pinned)


def test_the_lock_file_names_no_registry() -> None:
    for lock in [
        *SCRIPT.parent.glob("requirements*.lock"),
        *SCRIPT.parent.glob("tests/*.lock"),
        *SCRIPT.parent.glob("native/crates.lock"),
    ]:
        for line in lock.read_text("utf-8").splitlines():
            assert "://" not in line, lock
            assert not line.startswith(("-", "source")), lock


def test_older_pythons_can_read_the_script() -> None:
    ast.parse(SCRIPT.read_text("utf-8"), feature_version=(3, 6))


def test_help_names_every_command_without_installing() -> None:
    printed = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True, cwd="/").stdout
    commands = (
        "demo",
        "test",
        "bench",
        "core",
        "load",
        "lint",
        "install",
        "help",
        "serve",
        "migrate",
        "spool",
        "verify",
    )
    for command in commands:
        assert f"\n  {command} " in printed


PATIENCE = ["--timeout=1500", "-o", "faulthandler_timeout=1800"]


@pytest.mark.parametrize(
    ("arguments", "becomes"),
    [
        (["demo", "--seconds", "5"], ["-P", "-m", "gateway.demo", "--seconds", "5"]),
        (["bench"], ["-P", "-m", "loadtests.bench"]),
        (["core"], ["-P", "-m", "native.bench"]),
        (["load", "final"], ["-P", "-m", "loadtests.load", "final"]),
        (["serve", "--embedded"], ["-P", "-m", "gateway.cli", "serve", "--embedded"]),
        (["test", "-x"], ["-m", "pytest", *LANES, "-x"]),
        (["test", "--core", "-x"], ["-m", "pytest", "tests/unit", "tests/simulation", *LANES, "-x"]),
        (["test", "--cluster"], ["-m", "pytest", "tests/acceptance/test_cluster.py", "-s", *PATIENCE, "--cluster"]),
        (["test", "-x", "tests/unit"], ["-m", "pytest", "-x", "tests/unit"]),
    ],
)
def test_a_command_becomes_its_program(
    gw: ModuleType, monkeypatch: pytest.MonkeyPatch, arguments: list[str], becomes: list[str]
) -> None:
    class Became(Exception):
        """Instead of the exec that a test would not survive."""

    def become(_: Path, *command: str) -> None:
        raise Became(list(command))

    monkeypatch.setattr(gw, "become", become)
    monkeypatch.setattr(gw.Environment, "ensure", lambda _, again: False)
    monkeypatch.setattr(gw.Path, "is_dir", lambda _: True)
    monkeypatch.setattr(gw.os, "chdir", lambda _: None)
    with pytest.raises(Became) as became:
        gw.main(arguments)
    assert became.value.args[0] == becomes
