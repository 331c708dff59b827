"""The peers side by side, in what is pure: Telegraf's configuration, the comparison's figures and table, the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import re
import stat
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadtests.bench.client import Load, run_load
from loadtests.bench.request import RequestMint
from loadtests.peers import fastapi, telegraf
from loadtests.peers.__main__ import holds
from loadtests.peers.comparison import NAMES, figures_of
from loadtests.peers.fastapi import FastApi
from loadtests.peers.kill import EVENT_ID, Ledger
from loadtests.peers.peer import Run, Unavailable, stand_still
from loadtests.peers.process import PeerFailed, PeerProcess
from loadtests.peers.report import table
from loadtests.peers.telegraf import Telegraf, configuration
from loadtests.port import free_ports
from loadtests.procfs import alive

DSN = 'postgresql://streamverse:pass"word\\@127.0.0.1:5432/streamverse'


def test_telegraf_takes_bodies_as_they_are_and_keeps_every_field_of_them() -> None:
    written = tomllib.loads(configuration(8123, DSN, "telegraf"))
    [taken] = written["inputs"]["http_listener_v2"]
    [stored] = written["outputs"]["postgresql"]
    [converted] = written["processors"]["converter"]
    assert taken["service_address"] == "tcp://127.0.0.1:8123"
    assert (taken["json_query"], taken["name_override"]) == ("events", "telegraf")
    assert stored["connection"] == DSN
    request = RequestMint("127.0.0.1", 8123, 20).mint()
    sent = {name.decode() for name in re.findall(rb'[{,]"([a-z_]+)":', request)} - {"sent_at", "events"}
    kept = {*taken["json_string_fields"], *converted["fields"]["integer"], taken["json_time_key"]}
    assert sent <= kept


def test_telegraf_has_the_buffer_that_the_marks_name() -> None:
    agent = tomllib.loads(configuration(8123, DSN, "telegraf"))["agent"]
    assert agent["metric_batch_size"] == 5_000
    assert agent["metric_buffer_limit"] == 500_000
    assert agent["flush_interval"] == "200ms"


def test_telegrafs_configuration_is_for_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telegraf, "PROGRAM", Path("/bin/true"))
    Telegraf().launch(DSN, "telegraf", tmp_path).stop()
    assert stat.S_IMODE((tmp_path / "telegraf.toml").stat().st_mode) == 0o600


def test_without_go_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telegraf, "PROGRAM", tmp_path / "bin" / "telegraf")
    monkeypatch.setattr(telegraf, "CACHE", tmp_path)
    monkeypatch.setattr(telegraf, "GO_PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="no go on PATH"):
        Telegraf().prepare()


def test_a_build_that_fails_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telegraf, "PROGRAM", tmp_path / "bin" / "telegraf")
    monkeypatch.setattr(telegraf, "CACHE", tmp_path)
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\nmkdir -p $GOCACHE\necho no such module >&2\nexit 1\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Unavailable, match="could not be built: no such module"):
        Telegraf().prepare()
    assert not telegraf.PROGRAM.exists() and not (tmp_path / "telegraf").exists()


def test_fastapis_packages_are_pinned_and_name_no_registry() -> None:
    text = fastapi.LOCK.read_text("utf-8")
    assert "://" not in text
    pins = re.findall(r"^(\S+)==\S+.* \\$", text, re.MULTILINE)
    assert {"fastapi", "pydantic", "uvicorn", "asyncpg", "uvloop", "httptools"} <= set(pins)
    assert text.count("--hash=sha256:") >= len(pins)


async def answers_of(status: bytes) -> Load:
    """A load of twenty events a request upon a server that knows one answer, without a body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while await reader.read(65_536):
                writer.write(b"HTTP/1.1 " + status + b"\r\nDate: today\r\n\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    mint = RequestMint("127.0.0.1", port, 20).mint
    async with server:
        return await run_load("127.0.0.1", port, mint, events_count=20, connections=2, seconds=0.2)


def test_an_answer_without_a_body_is_one_for_all_events() -> None:
    taken, refused = asyncio.run(answers_of(b"204 No Content")), asyncio.run(answers_of(b"503 Unavailable"))
    assert taken.acknowledged == 20 * taken.posts > 0 and not taken.unsure
    assert refused.acknowledged == 0 and refused.posts > 0


def test_a_peer_that_ends_is_said_with_its_last_words(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo no such table; exit 3"]
    process = PeerProcess(command, port=free_ports(1)[0], log=tmp_path / "log", environment={})
    with pytest.raises(PeerFailed, match=r"ended with 3:\nno such table"):
        asyncio.run(process.answers())


def test_a_kill_takes_all_processes_of_a_peer(tmp_path: Path) -> None:
    process = PeerProcess(["sh", "-c", "sleep 60 & sleep 60"], port=1, log=tmp_path / "log", environment={})
    while len(family := process.processes()) < 3:
        time.sleep(0.01)
    process.kill()
    deadline_s = time.monotonic() + 10
    while any(map(alive, family)):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def a_run(stored: int, *, acknowledged: int | None = None, seconds: float = 2.0) -> Run:
    load = Load(seconds=seconds, acknowledged=stored if acknowledged is None else acknowledged, statuses={"204": 5})
    load.latencies_s = [0.001, 0.002, 0.003]
    return Run(load, stored, seconds, own_cpu_s=1.0, postgres_cpu_s=0.5, others_cpu_share=0.04)


def figures(**changes: int) -> dict[str, Any]:
    systems = {}
    for name, stored, means in (("gateway", 200_000, "on disk (fsync)"), ("telegraf", 50_000, "in memory")):
        systems[name] = {
            "answer_means": means,
            "remark": f"the remark about {name}",
            "20": figures_of([a_run(stored), a_run(stored)]),
            "1": figures_of([a_run(stored // 10)]),
            "killed_acknowledged": 30_000,
            "killed_lost": changes.get(name, 0),
        }
    return {
        "systems": systems,
        "left_out": {},
        "settings": {"seconds": 7.0, "rounds": 2, "kills": 3, "connections": 64, "kill_events_per_s": 5_000},
        "load_averages": [0.5, 2.0, 2.5, 1.0],
    }


def test_figures_are_means_of_rounds_and_cpu_is_of_what_was_stored() -> None:
    found = figures_of([a_run(100_000), a_run(300_000)])
    assert found["stored_per_s"] == 100_000
    assert found["stored_per_s_rounds"] == [50_000, 150_000]
    assert (found["cpu_us_per_event"], found["postgres_cpu_us_per_event"]) == (5.0, 2.5)
    assert (found["latency_ms_p50"], found["latency_ms_p99"], found["statuses"]) == (2.0, 3.0, {"204": 10})


def test_what_was_acknowledged_and_never_stored_is_missing() -> None:
    assert figures_of([a_run(90, acknowledged=100), a_run(101, acknowledged=100)])["missing"] == 10


def test_the_table_says_what_an_answer_means_the_share_and_what_a_kill_costs() -> None:
    text = table(figures(telegraf=900))
    [telegrafs] = [line for line in text.splitlines() if line.startswith("telegraf  ")]
    assert re.split(r"\s{2,}", telegrafs)[1:5] == ["in memory", "25,000", "0.25", "2,500"]
    assert telegrafs.endswith("900 of 30,000")
    assert "the remark about telegraf" in text
    assert "against telegraf, the fastest that answers from memory: × 4.00 (20 a request)." in text
    assert "QUIET" not in text
    assert "Load average 0.5 before, up to 2.5 during it" in text


def test_a_run_beside_others_is_said_to_compare_nothing() -> None:
    beside = figures()
    beside["systems"]["telegraf"]["1"]["others_cpu_share"] = 0.3
    assert "NOT A QUIET MACHINE" in table(beside)


def test_the_table_stands_without_the_gateway_and_names_who_was_left_out() -> None:
    alone = figures()
    del alone["systems"]["gateway"]
    alone["left_out"]["fastapi"] = "no network"
    text = table(alone)
    assert "fastapi: LEFT OUT: no network" in text and "–" in text and "against" not in text


@pytest.mark.parametrize("change, held", [({}, True), ({"telegraf": 5}, True), ({"gateway": 1}, False)])
def test_the_command_fails_when_the_gateway_lost_something(change: dict[str, int], held: bool) -> None:
    assert holds(figures(**change)) is held


def test_every_peer_has_a_name_of_its_own_that_a_table_can_have() -> None:
    assert len(set(NAMES)) == len(NAMES) == 4
    assert all(re.fullmatch(r"[a-z_]+", name) for name in NAMES)
    assert FastApi(commits_first=True).answer_means == "committed"


def test_the_ledger_books_the_ids_of_answered_requests_alone() -> None:
    ledger = Ledger(wanted=21)
    mint = RequestMint("127.0.0.1", 1, 20).mint
    first, second = mint(), mint()
    ledger.answered(first, 204, b"")
    assert ledger.acknowledged == {found.decode() for found in EVENT_ID.findall(first)}
    assert len(ledger.acknowledged) == 20 and not ledger.reached.is_set()
    ledger.answered(second, 200, b'{"accepted":20}')
    assert ledger.reached.is_set()


@pytest.mark.parametrize("status, body", [(503, b"{}"), (200, b'{"accepted":19}'), (500, b"")])
def test_the_ledger_takes_no_half_success(status: int, body: bytes) -> None:
    with pytest.raises(AssertionError):
        Ledger(wanted=1).answered(RequestMint("127.0.0.1", 1, 20).mint(), status, body)


def counts(*values: int) -> Callable[[], Any]:
    left = list(values)

    async def count() -> int:
        return left.pop(0) if len(left) > 1 else left[0]

    return count


def test_rows_are_counted_until_all_are_there_or_none_come_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtests.peers.peer.STILL_S", 0.2)
    monkeypatch.setattr("loadtests.peers.peer.POLL_S", 0.01)
    assert asyncio.run(stand_still(counts(1, 5, 9, 12), 10))[0] == 12
    assert asyncio.run(stand_still(counts(1, 5), 10))[0] == 5
