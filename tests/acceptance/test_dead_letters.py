"""What the store refuses can be looked at, sent again and dropped, and never becomes two rows or none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests.product import ROOT
from tests.acceptance.client import Book, eventually, sql, stored_ids
from tests.acceptance.commands import assert_one_clear_line, run
from tests.acceptance.gateway_process import Gateway, let_others_through
from tests.acceptance.holding_front import HoldingFront
from tests.acceptance.refusing import SOON_S, counted, dead, letters, refuse, refused_events, take_everything
from tests.acceptance.scene import settled
from tests.acceptance.test_admin import samples, value
from tests.acceptance.verified import described, verify

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("dead-letters")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data") as made:
        made.start()
        yield made.wait_ready()


@pytest.fixture(scope="module")
def book() -> Book:
    """Ids of all that was ever accepted; dropped ones are taken out by their tests."""
    return Book()


@pytest.fixture
def gateway(served: Gateway) -> Iterator[Gateway]:
    """It, running, with a store that refuses; no letters are left by the test before."""
    assert not served.ended() and counted(served) == 0
    refuse(served)
    yield served
    take_everything(served)


def all_are_rows(gateway: Gateway, book: Book) -> None:
    """Every accepted event is one row, and nothing differs in the books."""
    url = gateway.endpoints["postgres"]
    eventually(lambda: stored_ids(url) == Counter(book.rows), SOON_S, "each is one row")
    settled(gateway)
    code, report = verify(gateway)
    assert (code, report["differences"]) == (0, [])


def test_letters_are_listed_filtered_shown_and_counted(gateway: Gateway, book: Book) -> None:
    events = refused_events(gateway, book, 5, metadata={"a": [1, 2.5, "ü"]}, test=True, quality="4k", app_version="1")
    ids = [event["event_id"] for event in events]
    found = letters(gateway)
    assert [letter["event_id"] for letter in found] == ids
    assert {letter["sqlstate"] for letter in found} == {"23514"}
    assert [letters(gateway, "--event-id", ids[2])[0]["event_id"], *letters(gateway, "--sqlstate", "22001")] == [ids[2]]
    assert letters(gateway, "--limit", "2", "--reason", "sqlstate_23514") == found[:2]
    assert letters(gateway, "--since", found[-1]["written_at"], "--until", "2100-01-01") != []
    assert letters(gateway, "--until", found[0]["written_at"]) == []
    assert letters(gateway, "--incarnation", found[0]["id"][:7]) == found
    table = dead(gateway, "list").stdout
    assert all(letter["id"] in table and letter["event_id"] in table for letter in found)
    assert table.splitlines()[-1] == "5 dead letters (sqlstate_23514 5)"

    shown = json.loads(dead(gateway, "show", found[3]["id"]).stdout)
    event = shown["event"]
    for name in events[3].keys() - {"occurred_at"}:
        assert event[name] == events[3][name], name
    assert event.keys() == events[3].keys()
    assert ask_dry(gateway, event)["accepted"] == 1, "what is shown can be posted"

    told = samples(gateway)
    assert value(told, "ingest_dead_letters", reason="sqlstate_23514") == 5
    files = list((gateway.data_dir / "dead").glob("*.jsonl"))
    size_bytes = sum(path.stat().st_size for path in files)
    assert value(told, "ingest_dead_letters_bytes", reason="sqlstate_23514") == size_bytes
    assert value(told, "ingest_dead_letters_used_bytes") == size_bytes

    take_everything(gateway)
    asked = dead(gateway, "replay", "--all", "--dry-run")
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.count("would be accepted") == 6 and counted(gateway) == 5
    replayed = dead(gateway, "replay", "--all")
    assert replayed.returncode == 0, replayed.stderr
    assert replayed.stdout.splitlines()[-1] == "5 replayed"
    assert letters(gateway) == [] and counted(gateway) == 0
    all_are_rows(gateway, book)
    gone = dead(gateway, "show", found[3]["id"])
    assert_one_clear_line(gone, found[3]["id"], "it was replayed at")
    (row,) = sql(
        gateway.endpoints["postgres"],
        "SELECT metadata::text AS metadata, test, quality, bitrate, occurred_at FROM playback_events"
        f" WHERE event_id = '{ids[3]}'",
    )
    assert json.loads(row["metadata"]) == events[3]["metadata"] and row["test"] and row["bitrate"] == 5_003
    assert round(row["occurred_at"].timestamp() * 1000) == events[3]["occurred_at"]


def ask_dry(gateway: Gateway, event: dict[str, Any]) -> Any:
    body = json.dumps([event]).encode()
    done = subprocess.run(  # client.ask leaves the query out
        ["curl", "-s", "--data-binary", "@-", "-H", "Content-Type: application/json",
         gateway.endpoints["http"] + "/v1/events?dry_run=1"],
        input=body, capture_output=True, timeout=30, check=True,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    assert answer["unknown_fields"] == []
    return answer


def test_what_the_store_refuses_again_is_a_new_letter_and_an_edit_mends_it(
    gateway: Gateway, book: Book, tmp_path: Path
) -> None:
    refused_events(gateway, book, 3)
    before = [letter["id"] for letter in letters(gateway)]
    assert dead(gateway, "replay", "--all").returncode == 0

    def again() -> bool:
        now = letters(gateway)
        return len(now) == 3 and not {letter["id"] for letter in now} & set(before)

    eventually(again, SOON_S, "dead again, under other ids")
    one, two, three = letters(gateway)
    done = dead(gateway, "replay", one["id"], "--edit", "bitrate=900", "--edit", "quality=1080p")
    assert done.returncode == 0, done.stderr
    corrected = tmp_path / "corrected.json"
    corrected.write_text(dead(gateway, "show", two["id"]).stdout.replace('"bitrate": 500', '"bitrate": 50'))
    done = dead(gateway, "replay", two["id"], "--edit-file", str(corrected))
    assert done.returncode == 0, done.stderr
    refused = dead(gateway, "replay", three["id"], "--edit", "bitrate=-1")
    assert refused.returncode == 1 and "refused: out_of_range $.bitrate" in refused.stdout
    assert_one_clear_line(refused, "1 of 1 refused; they stay")
    assert [letter["id"] for letter in letters(gateway)] == [three["id"]]
    assert dead(gateway, "replay", "--event-id", three["event_id"], "--edit", "bitrate=null").returncode == 0
    all_are_rows(gateway, book)
    query = "SELECT event_id::text, bitrate, quality FROM playback_events WHERE event_id = ANY($1::uuid[])"
    rows = sql(gateway.endpoints["postgres"], query, [one["event_id"], two["event_id"], three["event_id"]])
    assert {row["event_id"]: (row["bitrate"], row["quality"]) for row in rows} == {
        one["event_id"]: (900, "1080p"),
        two["event_id"]: (501, None),
        three["event_id"]: (None, None),
    }


def test_a_replay_that_is_killed_between_the_answer_and_the_note_is_one_row_each_after_the_next(
    gateway: Gateway, book: Book
) -> None:
    refused_events(gateway, book, 250)
    take_everything(gateway)
    command = [sys.executable, "-m", "gateway.cli", "dead-letters", "replay", "--all"]
    with HoldingFront(gateway.endpoints["http"], hold=1) as front:
        command += ["--url", front.url, "--data-dir", str(gateway.data_dir)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert front.held.wait(SOON_S)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    assert len(letters(gateway)) == 150, "the second request was acknowledged, and nobody was told"
    done = dead(gateway, "replay", "--all")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "150 replayed"), done.stderr
    assert counted(gateway) == 0
    all_are_rows(gateway, book)


def test_a_player_that_resends_beside_the_replay_is_the_same_row(gateway: Gateway, book: Book) -> None:
    sent_at = time.time_ns() // 1_000_000
    (event,) = refused_events(gateway, book, 1, sent_at=sent_at)
    (letter,) = letters(gateway)
    take_everything(gateway)
    book.post(gateway.endpoints["http"], [event])
    assert dead(gateway, "replay", letter["id"]).returncode == 0
    all_are_rows(gateway, book)


def test_an_event_that_has_left_the_window_stays_a_letter_and_is_told(gateway: Gateway, book: Book) -> None:
    earliest_ms = time.time_ns() // 1_000_000 - 35 * DAY_MS + 8_000
    old, _ = refused_events(gateway, book, 1, occurred_at=earliest_ms)[0], refused_events(gateway, book, 1)
    take_everything(gateway)

    def too_old() -> subprocess.CompletedProcess[str]:
        return dead(gateway, "replay", "--dry-run", "--event-id", old["event_id"])

    eventually(lambda: "too_old" in too_old().stdout, SOON_S, "it has left the window")
    done = dead(gateway, "replay", "--all")
    assert_one_clear_line(done, "1 of 2 refused; they stay")
    assert "refused: too_old $.occurred_at" in done.stdout and done.stdout.count("  replayed") == 1
    (letter,) = letters(gateway)
    assert letter["event_id"] == old["event_id"]
    dropped = dead(gateway, "drop", letter["id"], "--yes")
    assert (dropped.returncode, dropped.stdout) == (0, "1 dropped\n"), dropped.stderr
    book.rows.remove(old["event_id"])
    all_are_rows(gateway, book)


def test_a_broken_clock_is_broken_by_as_much_when_it_is_replayed(gateway: Gateway, book: Book) -> None:
    """Its occurred_at lies in 1970: the row is stored under the first receive time, once."""
    changes = {"occurred_at": 3_600_000, "sent_at": 3_605_000}
    (event,) = refused_events(gateway, book, 1, **changes)
    (letter,) = letters(gateway)
    assert letter["clock_broken"] and letter["occurred_at"].startswith("1970-01-01T01:00:00")
    take_everything(gateway)
    assert dead(gateway, "replay", letter["id"]).returncode == 0
    book.post(gateway.endpoints["http"], [event])  # the player, once more
    all_are_rows(gateway, book)
    query = "SELECT occurred_at, received_at, sent_at FROM playback_events WHERE event_id = $1"
    (row,) = sql(gateway.endpoints["postgres"], query, event["event_id"])
    assert abs(row["occurred_at"].timestamp() - time.time()) < 120
    behind_s = (row["received_at"] - row["sent_at"]).total_seconds()
    assert abs(behind_s - (time.time() - 3_605)) < 120


def test_letters_are_dropped_once_somebody_says_so_and_the_books_still_agree(gateway: Gateway, book: Book) -> None:
    events = refused_events(gateway, book, 3)
    ids = [letter["id"] for letter in letters(gateway)]
    asked = dead(gateway, "drop", "--all", "--dry-run")
    assert (asked.returncode, asked.stdout) == (0, "3 dead letters (sqlstate_23514 3) would be dropped\n")
    unsure = dead(gateway, "drop", "--all")
    assert unsure.returncode == 1 and "Aborted" in unsure.stderr and counted(gateway) == 3
    assert dead(gateway, "drop", ids[0], ids[2], "--yes").stdout == "2 dropped\n"
    assert [letter["id"] for letter in letters(gateway)] == [ids[1]]
    assert dead(gateway, "drop", "--sqlstate", "23514", "--yes").stdout == "1 dropped\n"
    assert dead(gateway, "drop", "--all", "--yes").stdout == "no dead letter to drop\n"
    assert value(samples(gateway), "ingest_dead_letters", reason="sqlstate_23514") == 0
    assert_one_clear_line(dead(gateway, "drop", ids[0], "--yes"), ids[0], "it was dropped at")
    book.rows -= {event["event_id"] for event in events}
    all_are_rows(gateway, book)


def test_a_row_that_differs_is_named_alone_after_letters_were_replayed_and_dropped(
    gateway: Gateway, book: Book
) -> None:
    replayed, dropped, other = refused_events(gateway, book, 3)
    url = gateway.endpoints["postgres"]
    take_everything(gateway)
    for event, command in ((replayed, ("replay",)), (dropped, ("drop", "--yes")), (other, ("replay",))):
        assert dead(gateway, *command, "--event-id", event["event_id"]).returncode == 0
    book.rows.remove(dropped["event_id"])
    all_are_rows(gateway, book)
    change = "UPDATE playback_events SET bitrate = bitrate + $2::int WHERE event_id = $1"
    sql(url, change, replayed["event_id"], 1)
    try:
        code, report = verify(gateway)
    finally:
        sql(url, change, replayed["event_id"], -1)
    assert code == 1
    (where,) = described(report, "row_altered", "row_missing", "row_unknown", "row_doubled")
    assert replayed["event_id"] in where
    all_are_rows(gateway, book)


def test_what_cannot_be_done_is_a_line(gateway: Gateway, book: Book, tmp_path: Path) -> None:
    events = refused_events(gateway, book, 2)
    one, two = [letter["id"] for letter in letters(gateway)]
    bad = tmp_path / "bad.json"
    shown = json.loads(dead(gateway, "show", one).stdout)["event"]
    for text, word in (
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        (json.dumps(shown | {"bitrte": 1}), "bitrte"),
        (json.dumps(shown | {"event_id": events[1]["event_id"]}), "event_id is not the letter's"),
        (json.dumps(shown | {"occurred_at": "2026-01-01T00:00:00Z"}), "occurred_at is not the letter's"),
    ):
        bad.write_text(text)
        assert_one_clear_line(dead(gateway, "replay", one, "--edit-file", str(bad)), word)
    unknown = "0" * 32 + "-1-1"
    for arguments, words in (
        (("show", unknown), (unknown, "no dead letter")),
        (("show", "nonsense"), ("nonsense", "no id")),
        (("replay",), ("--all",)),
        (("drop", "--limit", "1"), ("--all",)),
        (("drop", unknown, "--yes"), (unknown,)),
        (("replay", one, unknown), (unknown,)),
        (("replay", "--all", "--edit", "bitrate"), ("FIELD=VALUE",)),
        (("replay", "--all", "--edit", "bitrte=7"), ("bitrte",)),
        (("replay", "--all", "--edit", "bitrate=x"), ("bitrate", "no JSON")),
        (("replay", "--all", "--edit", "event_id=" + events[0]["event_id"]), ("event_id", "second replay")),
        (("replay", "--all", "--edit-file", str(bad)), ("id of one letter",)),
        (("replay", one, "--edit", "bitrate=7", "--edit-file", str(bad)), ("exclude",)),
        (("replay", one, "--edit-file", str(tmp_path / "none.json")), ("none.json",)),
        (("replay", "--all", "--url", "ftp://127.0.0.1"), ("ftp://127.0.0.1",)),
        (("replay", "--all", "--url", gateway.endpoints["admin"]), ("answers 404",)),
        (("replay", "--all", "--url", "http://127.0.0.1:1"), ("127.0.0.1:1", "refused")),
        (("list", "--since", "yesterday"), ("yesterday",)),
        (("list", "--event-id", "7"), ("7",)),
        (("list", "--limit", "0"), ("0",)),
    ):
        assert_one_clear_line(dead(gateway, *arguments), *words)
    assert [letter["id"] for letter in letters(gateway)] == [one, two], "none of it changed anything"
    take_everything(gateway)
    assert dead(gateway, "replay", one, two).returncode == 0
    all_are_rows(gateway, book)


def test_without_a_gateway_letters_are_read_and_dropped_but_not_replayed(served: Gateway, book: Book) -> None:
    refuse(served)
    events = refused_events(served, book, 3)
    served.stop()
    ids = [letter["id"] for letter in letters(served)]
    assert_one_clear_line(dead(served, "replay", "--all"), "no gateway is running in", str(served.data_dir))
    assert dead(served, "drop", ids[0], "--yes").stdout == "1 dropped\n"
    file = next((served.data_dir / "dead").glob("*.jsonl"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-30] + b"#" + whole[-29:])
    for arguments in (("list",), ("drop", "--reason", "none", "--yes")):
        assert_one_clear_line(dead(served, *arguments), "1 damaged lines were passed over", f"{file} line 2")
    assert [line.split()[0] for line in dead(served, "list").stdout.splitlines()[1:-1]] == [ids[1]]
    assert dead(served, "drop", "--damaged", "--yes").stdout == "0 dropped and 1 damaged lines\n"
    served.start()
    take_everything(served.wait_ready())
    assert dead(served, "replay", "--all").returncode == 0
    assert list((served.data_dir / "dead").glob("*.jsonl")) == [], "nothing is left of them"
    book.rows -= {events[0]["event_id"], events[2]["event_id"]}
    all_are_rows(served, book)


@pytest.mark.parametrize("command", [("list",), ("show", "ab-1-1"), ("replay", "--all"), ("drop", "--all", "--yes")])
def test_a_directory_without_a_gateways_data_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = run("dead-letters", *command, "--data-dir", str(tmp_path / "none"))
    assert_one_clear_line(done, f"no gateway's data in {tmp_path / 'none'}")
    assert done.returncode == 1 and not (tmp_path / "none").exists()


@pytest.mark.parametrize("command", [("list",), ("show", "ab-1-1"), ("replay", "--all"), ("drop", "--all", "--yes")])
def test_a_data_directory_in_disorder_is_a_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "dead").write_text("a file")
    url = ("--url", "http://127.0.0.1:1") if command[0] == "replay" else ()
    done = run("dead-letters", *command, *url, "--data-dir", str(tmp_path))
    assert_one_clear_line(done, str(tmp_path / "dead"))
    assert done.returncode == 1
