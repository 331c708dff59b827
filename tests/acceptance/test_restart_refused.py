"""A restart that cannot be says why in one line, and everything goes on as it was."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtests.product import ROOT
from tests.acceptance.client import Book, an_event, ask, eventually
from tests.acceptance.commands import assert_one_clear_line, run
from tests.acceptance.gateway_process import Gateway
from tests.acceptance.test_rolling_restart import pids

TEXT = "workers = {workers}\n[shutdown]\nrestart_grace_s = 1\n"


@pytest.mark.parametrize("option", [(), ("--supervisor",)])
def test_without_a_gateway_there_is_nothing_to_restart(tmp_path: Path, option: tuple[str, ...]) -> None:
    for data_dir in (tmp_path / "none", tmp_path):
        done = run("restart", "--data-dir", str(data_dir), *option)
        assert_one_clear_line(done, "no gateway is running", str(data_dir))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("held", [False, True], ids=["killed", "another process has the lock"])
@pytest.mark.parametrize("text", ["{pid}\n", "", "x\n", "-1\n"])
def test_a_pid_file_that_a_killed_run_left_ends_nobody(tmp_path: Path, text: str, held: bool) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "endpoints.json").write_text('{"http": "http://127.0.0.1:1"}')
    bystander = subprocess.Popen(["/bin/sleep", "600"])
    try:
        (tmp_path / "run" / "pid").write_text(text.format(pid=bystander.pid))
        with (tmp_path / "lock").open("w") as lock:
            if held:
                fcntl.flock(lock, fcntl.LOCK_EX)
            assert_one_clear_line(run("restart", "--data-dir", str(tmp_path)), "no gateway is running")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_bad_settings_are_refused_and_good_ones_taken(make_gateway: Callable[..., Gateway], tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(TEXT.format(workers=1))
    gateway = make_gateway(arguments=("--config", str(file)))
    gateway.start()
    at, book = gateway.wait_ready().endpoints, Book()
    before = pids(gateway)
    for text, words in (
        ("[http]\nprot = 1\n", ("refused", "prot")),
        ("[http\n", ("refused", "gateway.toml")),
        ("workers = 0\n", ("refused", "workers")),
        ("[shutdown]\ntimeout_s = 3\ndelay_s = 3\n", ("refused", "shutdown.timeout_s")),
        ('[http]\nhost = "127.0.0.1"\n', ("refused", "http.host")),
        ('[postgres]\nurl = "postgresql://u@127.0.0.1/d"\n', ("refused", "postgres.url")),
    ):
        file.write_text(text)
        for option in ((), ("--supervisor",)):
            done = gateway.command("restart", *option)
            assert_one_clear_line(done, *words)
            assert pids(gateway) == before
        assert "restart_refused" in gateway.everything_logged()
    assert book.post(at["http"], [an_event()]).status == 200

    for workers in (3, 1):  # places come and go
        file.write_text(TEXT.format(workers=workers))
        done = gateway.command("restart")
        assert done.returncode == 0, done.stderr
        collectors = [pid for (role, _), pid in pids(gateway).items() if role == "collector"]
        assert len(collectors) == workers
        assert not set(collectors) & set(before.values())
        for _ in range(20):
            assert book.post(at["http"], [an_event()]).status == 200
    assert done.stdout.count("→ -") == 2
    assert ask(at["admin"] + "/readyz").status == 200
    verified = eventually(lambda: (d := gateway.command("verify")).returncode == 0 and d, 30, "verify agrees")
    assert not isinstance(verified, bool)


def test_the_code_of_now_is_taken_if_it_loads_and_the_code_of_before_goes_on_if_not(
    make_gateway: Callable[..., Gateway], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "code"
    for package in ("config", "ingest", "storage", "live", "gateway"):
        shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("loadtests.product.ROOT", code)
    gateway = make_gateway(environment={"INGEST_SHUTDOWN_RESTART_GRACE_S": "1"})
    gateway.start()
    at = gateway.wait_ready().endpoints
    before = pids(gateway)

    def edit(name: str, old: str, new: str) -> None:
        text = (code / name).read_text()
        assert old in text
        (code / name).write_text(text.replace(old, new))

    edit("gateway/collecting.py", "import asyncio", "import no_such_module")
    assert_one_clear_line(gateway.command("restart"), "failed", "collector 0", "before it was ready")
    assert_one_clear_line(gateway.command("restart", "--supervisor"), "refused", "no_such_module")
    assert pids(gateway) == before
    assert ask(at["http"] + "/v1/events", "OPTIONS").headers["server"] == "streamverse-ingest"

    edit("gateway/collecting.py", "import no_such_module", "import asyncio")
    edit("ingest/connection.py", 'SERVER = "streamverse-ingest"', 'SERVER = "the-code-of-now"')
    done = gateway.command("restart")
    assert done.returncode == 0, done.stderr
    assert ask(at["http"] + "/v1/events", "OPTIONS").headers["server"] == "the-code-of-now"
    assert gateway.statusz()["uptime_s"] > 0

    edit("gateway/admin.py", '"uptime_s": round(', '"uptime_s": -round(')
    done = gateway.command("restart", "--supervisor")
    assert done.returncode == 0, done.stderr
    assert gateway.statusz()["uptime_s"] < 0, "the supervisor runs other code under its old pid"
    now = pids(gateway)
    assert now["supervisor", 0] == before["supervisor", 0]
    assert now["postgres", 0] == before["postgres", 0]
    os.kill(now["collector", 0], signal.SIGKILL)  # what it did not start itself it still looks after
    os.kill(now["redis", 0], signal.SIGKILL)
    eventually(lambda: {"collector", "redis"} <= changed(now, pids(gateway)), 30, "started again")
    assert Book().post(at["http"], [an_event()]).status == 200


def changed(before: dict[tuple[str, int], int], now: dict[tuple[str, int], int]) -> set[str]:
    """Roles whose processes are others."""
    return {role for (role, index), pid in now.items() if pid and before[role, index] != pid}


def test_a_check_loads_everything_and_begins_nothing(tmp_path: Path) -> None:
    done = run("serve", "--embedded", "--check", "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_two_who_ask_at_once_are_both_told(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway(environment={"INGEST_SHUTDOWN_RESTART_GRACE_S": "1"})
    gateway.start()
    gateway.wait_ready()
    before = pids(gateway)
    command = [*gateway.command_line("restart")]
    asking = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for one in asking:
        said, _ = one.communicate(timeout=120)
        assert one.returncode == 0
        assert said.endswith("restarted\n")
    now = pids(gateway)
    assert now["supervisor", 0] == before["supervisor", 0]
    assert now["collector", 0] != before["collector", 0]
