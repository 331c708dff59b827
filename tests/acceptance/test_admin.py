"""The admin port tells the truth about all processes together, and tells it whatever the stores do."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadtests.procfs import tree
from tests import needs
from tests.acceptance.client import Answer, Book, an_event, ask, eventually, pid_of, stopped, stored_ids
from tests.acceptance.gateway_process import Gateway, let_others_through
from tests.conftest import left_out

QUOTA_BYTES: Final = 512 * 1024
HIGH_MARK: Final = 0.9  # the default: of the quota
SOON_S: Final = 10.0
SETTLED_S: Final = 40.0  # backing off for up to 10 s, upkeep every 5 s, on a machine with other things to do

Sample = tuple[str, tuple[tuple[str, str], ...]]


@pytest.fixture(scope="module")
def book() -> Book:
    """All that this module posts."""
    return Book()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("admin")
    let_others_through(directory)
    (directory / "data").mkdir()
    environment = {"INGEST_SPOOL_QUOTA_BYTES": str(QUOTA_BYTES)}
    with Gateway(directory / "data", arguments=("--workers", "2"), environment=environment) as served:
        served.start()
        served.wait_ready()
        # What a derivable reader lacks at its start it takes from the rows: those events never pass it.
        eventually(
            lambda: all(told["state"] == "running" for told in served.statusz()["readers"]), SETTLED_S, "reading"
        )
        yield served


def admin(gateway: Gateway, path: str) -> Answer:
    return ask(gateway.endpoints["admin"] + path)


def samples(gateway: Gateway) -> dict[Sample, float]:
    """Every sample of /metrics by name and labels; one that is told twice would not be read by Prometheus either."""
    found: dict[Sample, float] = {}
    for family in text_string_to_metric_families(admin(gateway, "/metrics").text):
        for sample in family.samples:
            name = (sample.name, tuple(sorted(sample.labels.items())))
            assert name not in found, f"twice: {name}"
            found[name] = sample.value
    return found


def value(told: dict[Sample, float], name: str, **labels: str) -> float:
    return told.get((name, tuple(sorted(labels.items()))), 0.0)


def grown_segments(gateway: Gateway) -> int:
    """How many collectors have put something into their open segment."""
    return sum(path.stat().st_size > 256 for path in (gateway.data_dir / "spool").glob("*/*.open"))


def test_counters_of_both_collectors_add_up_to_what_the_answers_said(gateway: Gateway, book: Book) -> None:
    url, before = gateway.endpoints["http"], samples(gateway)
    mine = Book()

    def mixed(_: int) -> Book:
        one, play = Book(), an_event()
        beat, bad = an_event(event_type="heartbeat"), [an_event(bitrate=-1), an_event(event_type="seance")]
        assert one.post(url, [play, beat, *bad, play, an_event()]).status == 200
        assert one.post(url, bad).status == 400
        assert one.send(url, b'{"events": [').status == 400
        assert one.send(url, b"x", headers={"Content-Type": "image/png"}).status == 415
        return one

    collectors = [process["pid"] for process in gateway.statusz()["processes"] if process["role"] == "collector"]
    assert len(collectors) == 2
    for held in collectors:  # whoever is free takes a connection, and may take them all
        with stopped(held), ThreadPoolExecutor(8) as pool:
            for one in pool.map(mixed, range(16)):
                for name in ("statuses", "said", "refused_events", "refused_requests", "rows"):
                    getattr(mine, name).update(getattr(one, name))
    assert grown_segments(gateway) == 2, "one collector took everything"
    assert ask(url + "/elsewhere").status == 404
    book.rows |= mine.rows

    def all_is_told() -> bool:
        after = samples(gateway)

        def grown(name: str, **labels: str) -> float:
            return value(after, name, **labels) - value(before, name, **labels)

        assert grown("ingest_events_accepted_total") == mine.said["accepted"]
        assert grown("ingest_events_duplicate_total") == mine.said["duplicates"]
        assert grown("ingest_events_received_total") == mine.said.total()
        for code, count in mine.refused_events.items():
            assert grown("ingest_events_rejected_total", code=code) == count, code
        for code, count in (mine.refused_requests + Counter({"not_found": 1})).items():
            assert grown("ingest_requests_refused_total", code=code) == count, code
        for status, count in mine.statuses.items():
            assert grown("ingest_requests_total", path="/v1/events", status=str(status)) == count, status
        assert grown("ingest_answer_seconds_count") == mine.statuses.total() + 1
        for reader in ("postgres", "redis", "derived"):
            assert grown("ingest_store_events_total", reader=reader) == mine.said["accepted"], reader
            assert value(after, "ingest_store_lag_frames", reader=reader) == 0, reader
        assert grown("ingest_store_rows_total") == len(mine.rows)
        return True

    assert mine.said["accepted"] > len(mine.rows) > 0, "signals are accepted, and no rows"
    eventually(all_is_told, SETTLED_S, "/metrics adds up")


def test_promtool_finds_nothing_in_metrics_and_every_name_is_ours(gateway: Gateway, book: Book) -> None:
    if not needs.PROMTOOL.is_file():
        left_out("promtool is not in .cache/bin (./gw test fetches it)")
    book.post(gateway.endpoints["http"], [an_event(), an_event(event_type="heartbeat"), an_event(bitrate=-1)])
    text = admin(gateway, "/metrics").text
    checked = subprocess.run(
        [needs.PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    families = [family.name for family in text_string_to_metric_families(text)]
    assert len(families) > 30
    assert not [name for name in families if not name.startswith("ingest_")]
    assert len(families) == len(set(families))


def test_statusz_lists_every_process_with_a_living_pid(gateway: Gateway) -> None:
    told = gateway.statusz()
    roles = Counter(process["role"] for process in told["processes"])
    assert roles == {
        "supervisor": 1,
        "collector": 2,
        "stage": 1,
        "postgres_drain": 1,
        "readers": 1,
        "postgres": 1,
        "redis": 1,
    }
    below = {seen.process.pid: seen for seen in tree(gateway.pid)}
    for process in told["processes"]:
        assert process["pid"] in below, process
    pids = {process["pid"] for process in told["processes"]}
    assert len(pids) == 8
    # and no process of ours is left out: whatever else runs below belongs to one of the servers
    for pid, seen in below.items():
        assert pid in pids or seen.parent_pid == pid_of(gateway, "postgres"), (pid, seen.name)
    assert {reader["reader"] for reader in told["readers"]} == {"postgres", "stage", "redis", "derived", "qoe"}
    assert told["ready"] is True
    has_rust = importlib.util.find_spec("streamverse_ingest_native") and os.environ.get("INGEST_CORE") != "python"
    assert told["core"] == ("rust" if has_rust else "python")
    assert told["spool"]["quota_bytes"] == QUOTA_BYTES


def test_livez_is_ok_and_readyz_is_ready(gateway: Gateway) -> None:
    assert admin(gateway, "/livez").status == 200
    assert (admin(gateway, "/readyz").status, admin(gateway, "/readyz").json["ready"]) == (200, True)


@pytest.mark.parametrize(
    "method, path, status", [("GET", "/pages", 404), ("GET", "/metricz", 404), ("POST", "/metrics", 405)]
)
def test_what_the_admin_port_does_not_serve_is_told_in_json(
    gateway: Gateway, method: str, path: str, status: int
) -> None:
    answer = ask(gateway.endpoints["admin"] + path, method, b"" if method == "POST" else None)
    assert answer.status == status
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json["error"] == {404: "not_found", 405: "method_not_allowed"}[status]
    assert status != 405 or "GET" in answer.headers["allow"]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer svs_told\rX: b\r\n\r\n",
        b"GET /svs_told HTTP/1.1\r\n\r\n",
        b"GET /" + b"svs_told" * 2_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01svs_told\r\n\r\n",
    ],
    ids=["a bare CR", "no host", "a long line", "TLS"],
)
def test_what_is_no_http_is_400_and_not_in_the_log(gateway: Gateway, sent: bytes) -> None:
    at = urlsplit(gateway.endpoints["admin"])
    with socket.create_connection((at.hostname, at.port), timeout=20) as connection:
        connection.sendall(sent)
        assert connection.recv(65_536).startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    logged = gateway.everything_logged()
    assert "svs_told" not in logged
    assert "Traceback" not in logged


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_that_does_not_inflate_is_not_in_the_log(gateway: Gateway, coding: str) -> None:
    at = urlsplit(gateway.endpoints["admin"])
    head = f"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Encoding: {coding}\r\nContent-Length: 8\r\n\r\n"
    with socket.create_connection((at.hostname, at.port), timeout=20) as connection:
        connection.sendall(head.encode() + b"svs_told")
        connection.settimeout(SOON_S)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while connection.recv(65_536):
                pass
    assert admin(gateway, "/livez").status == 200
    assert "Traceback" not in gateway.everything_logged()


def test_stores_that_do_not_answer_make_nothing_fail_or_hang(gateway: Gateway, book: Book) -> None:
    drain = pid_of(gateway, "postgres_drain")
    with stopped(pid_of(gateway, "postgres"), pid_of(gateway, "redis")):
        assert book.post(gateway.endpoints["http"], [an_event()]).status == 200
        eventually(
            lambda: all(
                value(samples(gateway), "ingest_store_lag_frames", reader=r) > 0 for r in ("postgres", "redis")
            ),
            SOON_S,
            "both lag",
        )
        for path in ("/metrics", "/statusz", "/livez", "/readyz"):
            assert ask(gateway.endpoints["admin"] + path, timeout_s=3).status == 200, path
        # what a dead process said of itself is true no more: its successor has not reached the store yet
        os.kill(drain, signal.SIGKILL)
        eventually(lambda: pid_of(gateway, "postgres_drain") != drain, SOON_S, "started again")

        def is_down() -> bool:
            told = samples(gateway)
            return not any(value(told, name, reader="postgres") for name in ("ingest_store_up", "ingest_reader_up"))

        eventually(is_down, SOON_S, "it is not up")
        assert value(samples(gateway), "ingest_child_restarts_total", role="postgres_drain", index="0") >= 1
    eventually(
        lambda: (
            value(samples(gateway), "ingest_store_up", reader="postgres") == 1
            and not any(reader["lag_frames"] for reader in gateway.statusz()["readers"])
        ),
        SETTLED_S,
        "up again, all delivered",
    )
    all_rows = Counter(book.rows)  # what a reader said of its lag may be a second old
    eventually(lambda: stored_ids(gateway.endpoints["postgres"]) == all_rows, SETTLED_S, "all are rows, once")


def test_a_spool_at_its_high_mark_is_not_ready_and_drains_when_the_store_is_back(gateway: Gateway, book: Book) -> None:
    url = gateway.endpoints["http"]
    with stopped(pid_of(gateway, "postgres")):

        def refused() -> bool:
            return "spool_full" in book.post(url, [an_event() for _ in range(200)]).text

        eventually(refused, SOON_S, "the high mark")
        eventually(lambda: all(book.post(url, [an_event()]).status == 503 for _ in range(12)), SOON_S, "both refuse")
        answers = [book.post(url, [an_event()]) for _ in range(12)]
        assert {answer.status for answer in answers} == {503}
        pauses_s = {int(answer.headers["retry-after"]) for answer in answers}
        assert min(pauses_s) >= 1 and max(pauses_s) <= 30
        assert len(pauses_s) > 1, "clients must not come back as one"
        ready = admin(gateway, "/readyz")
        assert (ready.status, ready.json) == (503, {"ready": False, "reasons": ["spool_full"]})
        assert value(samples(gateway), "ingest_ready") == 0
        told = gateway.statusz()
        assert told["ready"] is False
        assert told["spool"]["used_bytes"] >= HIGH_MARK * told["spool"]["quota_bytes"]
        assert admin(gateway, "/livez").status == 200, "a full spool is no reason to be killed"
    eventually(lambda: admin(gateway, "/readyz").status == 200, SETTLED_S, "ready again")
    eventually(lambda: book.post(url, [an_event()]).status == 200, SOON_S, "open again")
    url = gateway.endpoints["postgres"]  # a lag of nothing may have been told before the last event came
    eventually(lambda: stored_ids(url) == Counter(book.rows), SETTLED_S, "all delivered, once")
    assert gateway.statusz()["spool"]["used_bytes"] < HIGH_MARK * QUOTA_BYTES
