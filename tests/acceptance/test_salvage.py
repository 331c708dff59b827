"""A spool that is damaged before it is delivered: what damage took is seen, salvaged and sent again, once."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from ingest.spool import frame, segment
from ingest.spool.frame import HEAD_BYTES, Totals
from tests.acceptance.client import Book, an_event, ask, eventually, pid_of, stopped, stored_ids
from tests.acceptance.commands import assert_one_clear_line, run
from tests.acceptance.gateway_process import Gateway
from tests.acceptance.scene import settled
from tests.acceptance.test_admin import samples, value
from tests.acceptance.verified import verify

SOON_S: Final = 40.0
NDJSON: Final = {"Content-Type": "application/x-ndjson"}
REQUESTS, EVENTS = 6, 5


def posted(gateway: Gateway, book: Book) -> list[list[str]]:
    """Event ids by request, and so by frame; none of them can reach the store."""
    requests = []
    for number in range(REQUESTS):
        events = [an_event(bitrate=index, metadata={"request": number}) for index in range(EVENTS)]
        assert book.post(gateway.endpoints["http"], events).status == 200
        requests.append([event["event_id"] for event in events])
    return requests


def places(segment: Path) -> list[int]:
    """Where the frames of a segment begin."""
    data, found, at = segment.read_bytes(), [], 0
    while (at := data.find(frame.MAGIC_BYTES, at)) >= 0:
        found.append(at)
        at += 1
    return found


def salvaged(*arguments: str) -> tuple[list[dict[str, Any]], subprocess.CompletedProcess[str]]:
    done = run("spool", "salvage", *arguments)
    assert "Traceback" not in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done


def test_what_damage_took_is_seen_salvaged_and_sent_again(make_gateway: Callable[..., Gateway], tmp_path: Path) -> None:
    gateway, book = make_gateway(), Book()
    gateway.start()
    gateway.wait_ready()
    with stopped(pid_of(gateway, "postgres"), pid_of(gateway, "redis")):  # else Redis has counted what is lost
        requests = posted(gateway, book)
        gateway.kill_everything()
    (segment,) = [path for path in (gateway.data_dir / "spool").glob("*/*.open") if len(places(path)) == REQUESTS]
    incarnation, data, at = segment.parent.name, bytearray(segment.read_bytes()), places(segment)
    data[at[1] + HEAD_BYTES + 4 * EVENTS + 40] ^= 4  # one bit of the second request
    damaged = at[3] + HEAD_BYTES + 4 * EVENTS + 30  # and of the fourth some bytes of a content_id: it reads as well
    data[damaged : damaged + 2] = bytes(byte ^ 0x5A for byte in data[damaged : damaged + 2])
    with segment.open("r+b") as file:
        file.write(data)

    gateway.start()
    url = gateway.wait_ready().endpoints
    lost = {*requests[1], *requests[3]}
    eventually(lambda: stored_ids(url["postgres"]) == Counter(book.rows - lost), SOON_S, "what is whole")
    settled(gateway)
    pieces = sorted((gateway.data_dir / "quarantine").iterdir())
    size_bytes = sum(path.stat().st_size for path in pieces)
    assert [path.name.split("-")[0] for path in pieces] == [incarnation] * 2
    told, status = samples(gateway), gateway.statusz()["spool"]
    assert value(told, "ingest_quarantined_files") == status["quarantined_files"] == 2
    assert value(told, "ingest_quarantined_bytes") == status["quarantined_bytes"] == size_bytes
    (line,) = [one for one in gateway.command("spool", "status").stdout.splitlines() if "quarantined_files" in one]
    assert json.loads(line) == {"quarantined_files": 2, "quarantined_bytes": size_bytes}
    code, report = verify(gateway)
    assert code == 0 and report["totals"]["quarantined"] == 2 * EVENTS

    # pieces by themselves, carried somewhere else
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(gateway.data_dir / "quarantine", elsewhere)
    output = tmp_path / "events.ndjson"
    lines, done = salvaged(*map(str, sorted(elsewhere.iterdir())), "--output", str(output))
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in output.read_text().splitlines()]
    assert [event["event_id"] for event in events] == requests[1]
    assert lines[-1] == {"events": EVENTS, "events_uncertain": EVENTS, "uncertain_written": 0}
    assert [(one["what"], one["certain"]) for one in lines if "what" in one] == [
        ("mended_frame", True),
        ("damaged_frame", False),
    ]
    assert [path.read_bytes() for path in sorted(elsewhere.iterdir())] == [path.read_bytes() for path in pieces]
    for _ in range(2):
        assert ask(url["http"] + "/v1/events", "POST", output.read_bytes(), NDJSON).json["accepted"] == EVENTS
    lost -= {*requests[1]}
    eventually(lambda: stored_ids(url["postgres"]) == Counter(book.rows - lost), SOON_S, "the mended ones, once")

    # the whole directory, the uncertain ones too: all of them again is still one row each
    everything, done = salvaged("--data-dir", str(gateway.data_dir), "--uncertain", "--output", "-")
    assert done.returncode == 0, done.stderr
    assert {event["event_id"] for event in everything} == book.rows
    assert json.loads(done.stderr.splitlines()[-1])["uncertain_written"] == EVENTS
    assert ask(url["http"] + "/v1/events", "POST", done.stdout.encode(), NDJSON).json["rejected"] == 0
    eventually(lambda: stored_ids(url["postgres"]) == Counter(book.rows), SOON_S, "each is one row")
    settled(gateway)
    code, report = verify(gateway)
    assert (code, report["differences"]) == (0, [])

    # a damaged header, no directory, no name
    loose = tmp_path / "a copy"
    (sealed,) = (gateway.data_dir / "spool" / incarnation).glob("0000000000000000.*")
    copy = bytearray(sealed.read_bytes())
    copy[40] ^= 1
    loose.write_bytes(copy)
    lines, done = salvaged(str(loose))
    assert (lines[-2]["known_by"], lines[-2]["incarnation"]) == ("damaged_header", incarnation)
    assert lines[-2]["events"] == (REQUESTS - 1) * EVENTS and lines[-2]["frames_missing"] == 0
    copy[16:32] = bytes(16)
    loose.write_bytes(copy)
    assert salvaged(str(loose))[0][-1]["events"] == 0, "whose it is cannot be told, so nothing is certain"
    assert salvaged(str(loose), "--incarnation", incarnation)[0][-1]["events"] == (REQUESTS - 1) * EVENTS


def test_what_cannot_be_salvaged_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 40)
    newer = tmp_path / "newer"
    newer.write_bytes(b"SVSEGMT1")
    (tmp_path / "directory").mkdir()
    for arguments, words in (
        (("--data-dir", str(tmp_path)), (f"no spool in {tmp_path}",)),
        ((str(tmp_path / "none"),), ("none", "no file")),
        ((str(tmp_path / "directory"),), ("directory", "neither segments")),
        ((str(tmp_path / "empty"),), ("nothing of a spool", "empty")),
        ((str(tmp_path / "noise"),), ("nothing of a spool", "noise")),
        ((str(newer), "--incarnation", "xyz"), ("xyz", "32 hex digits")),
        ((str(newer), "--output", str(tmp_path / "noise")), ("noise", "exists")),
        ((str(newer), "--output", str(tmp_path / "none" / "events")), ("none/events",)),
    ):
        assert_one_clear_line(run("spool", "salvage", *arguments), *words)
    assert (tmp_path / "noise").read_bytes() == bytes(range(256)) * 40


def test_a_segment_to_which_nothing_came_is_no_failure(tmp_path: Path) -> None:
    incarnation = tmp_path / "spool" / ("5b" * 16)
    incarnation.mkdir(parents=True)
    head = segment.SegmentHead(bytes.fromhex("5b" * 16), 0, 1_795_000_000_000_000, Totals(), {}, ())
    path = incarnation / segment.name(0, segment.OPEN)
    path.write_bytes(segment.encode(head))
    done = run("spool", "salvage", "--data-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    path.write_bytes(segment.encode(head) + b"noise")
    assert_one_clear_line(run("spool", "salvage", "--data-dir", str(tmp_path)), "nothing of a spool")


def test_an_acknowledged_tail_that_is_gone_from_the_disk_is_said(make_gateway: Callable[..., Gateway]) -> None:
    gateway, book = make_gateway(), Book()
    gateway.start()
    gateway.wait_ready()
    with stopped(pid_of(gateway, "postgres"), pid_of(gateway, "redis")):
        requests = posted(gateway, book)
        gateway.kill_everything()
    (segment,) = [path for path in (gateway.data_dir / "spool").glob("*/*.open") if len(places(path)) == REQUESTS]
    incarnation, data, at = segment.parent.name, segment.read_bytes(), places(segment)
    with segment.open("r+b") as file:
        file.truncate(at[2] + 64)

    gateway.start()
    url = gateway.wait_ready().endpoints
    there = Counter(requests[0] + requests[1])
    eventually(lambda: stored_ids(url["postgres"]) == there, SOON_S, "what is whole")
    settled(gateway)
    (piece,) = (gateway.data_dir / "quarantine").glob(f"{incarnation}-*-{at[2]:010d}")
    assert piece.read_bytes() == data[at[2] : at[2] + 64]
    missing = REQUESTS - 2
    assert value(samples(gateway), "ingest_spool_missing_frames") == missing
    assert gateway.statusz()["spool"]["missing_frames"] == missing
    (line,) = [one for one in gateway.command("spool", "status").stdout.splitlines() if "missing_frames" in one]
    told = {"incarnation": incarnation, "sequence": 2, "watermark": REQUESTS, "missing_frames": missing}
    assert json.loads(line) == told
    code, report = verify(gateway)
    (one,) = report["differences"]
    assert (code, one["what"]) == (1, "missing"), "acknowledged and gone is not agreement"
    assert incarnation in one["detail"]
    assert f"promised {missing} frames more" in one["detail"]
    Path(one["where"]).unlink()  # as it tells who has dealt with it
    code, report = verify(gateway)
    assert (code, report["differences"]) == (0, [])


@pytest.mark.parametrize("command", ["status", "verify", "dump"])
def test_the_other_commands_do_not_mind_a_quarantine(tmp_path: Path, command: str) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "quarantine").mkdir()
    (tmp_path / "quarantine" / f"{'ab' * 16}-{0:016x}-{104:010d}").write_bytes(b"?" * 8)
    done = run("spool", command, "--data-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert command != "status" or json.loads(done.stdout) == {"quarantined_files": 1, "quarantined_bytes": 8}
