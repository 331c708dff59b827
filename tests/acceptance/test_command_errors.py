"""A start that cannot be, and a command that finds nothing to work on, say why in one line and leave nothing behind."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from tests.acceptance.commands import assert_one_clear_line, run


def test_an_unknown_setting_in_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("[http]\nprot = 8080\n")
    data_dir = str(tmp_path / "data")
    done = run("serve", "--embedded", "--config", str(tmp_path / "gateway.toml"), "--data-dir", data_dir)
    assert_one_clear_line(done, "prot", "http")
    assert not (tmp_path / "data").exists(), "nothing was begun"


@pytest.mark.parametrize("text, word", [("[http\n", "gateway.toml"), ("[http]\nport = 'x'\n", "port")])
def test_a_file_that_cannot_be_read_as_settings_says_where(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "gateway.toml").write_text(text)
    config, data_dir = str(tmp_path / "gateway.toml"), str(tmp_path / "data")
    assert_one_clear_line(run("serve", "--embedded", "--config", config, "--data-dir", data_dir), word)


@pytest.mark.parametrize("name, word", [("INGEST_HTTPS_PORT", "INGEST_HTTPS_PORT"), ("INGEST_HTTP_PROT", "prot")])
def test_a_misspelt_variable_of_the_environment_is_named(tmp_path: Path, name: str, word: str) -> None:
    done = run("serve", "--embedded", "--data-dir", str(tmp_path / "data"), environment={name: "8080"})
    assert_one_clear_line(done, word)


def test_a_port_in_use_is_named_and_an_earlier_run_s_endpoints_are_gone(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "endpoints.json").write_text('{"http": "http://127.0.0.1:1"}')
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))  # noqa: S104 (as the gateway will try)
        taken.listen()
        port = str(taken.getsockname()[1])
        for _ in range(2):  # the second try waits no longer: the first one left nothing to wait for
            begun_s = time.monotonic()
            done = run("serve", "--embedded", "--data-dir", str(data_dir), "--port", port)
            assert_one_clear_line(done, port, "in use")
            assert time.monotonic() - begun_s < 10
            assert not (data_dir / "endpoints.json").exists()


def test_without_stores_it_says_what_to_set(tmp_path: Path) -> None:
    done = run("serve", "--data-dir", str(tmp_path / "data"), "--port", "0", "--admin-port", "0")
    assert_one_clear_line(done, "INGEST_POSTGRES_URL", "INGEST_REDIS_URL", "--embedded")


@pytest.mark.parametrize("place", ["file/data", "/proc"])  # root, too, can make nothing below either
def test_a_data_directory_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("not a directory")
    data_dir = str(tmp_path / place)
    assert_one_clear_line(run("serve", "--embedded", "--data-dir", data_dir), data_dir)


@pytest.mark.parametrize("command", [("verify",), ("migrate", "status")])
def test_a_command_about_a_gateway_that_does_not_run_says_so(tmp_path: Path, command: tuple[str, ...]) -> None:
    assert_one_clear_line(run(*command, "--data-dir", str(tmp_path)), str(tmp_path))


@pytest.mark.parametrize("command", [("verify",), ("migrate", "status")])
def test_a_gateway_that_was_killed_does_not_run_whatever_it_left(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "endpoints.json").write_text('{"postgres": "postgresql://a:b@127.0.0.1:1/c"}')
    assert_one_clear_line(run(*command, "--data-dir", str(tmp_path)), f"no gateway is running in {tmp_path}")


@pytest.mark.parametrize("command", ["status", "verify", "dump"])
def test_a_directory_without_a_spool_is_named(tmp_path: Path, command: str) -> None:
    done = run("spool", command, "--data-dir", str(tmp_path))
    assert_one_clear_line(done, f"no spool in {tmp_path}")
    assert done.returncode == 1


def test_an_address_of_a_store_that_cannot_be_read_is_named_without_its_password(tmp_path: Path) -> None:
    done = run("verify", "--data-dir", str(tmp_path), environment={"INGEST_POSTGRES_URL": "postgresql://a:se/cret@b/c"})
    assert_one_clear_line(done, "postgres.url")
    assert "cret" not in done.stderr


@pytest.mark.parametrize("command", [("verify",), ("migrate", "up")])
def test_a_store_that_is_not_there_is_a_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    nowhere = "postgresql://a:b@127.0.0.1:1/c"
    assert_one_clear_line(run(*command, "--data-dir", str(tmp_path), environment={"INGEST_POSTGRES_URL": nowhere}))
