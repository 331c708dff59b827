"""Lines of CMCD in the spool become rows in PostgreSQL and viewers in Redis, also of a stage that is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from ingest.cmcd import CmcdLine
from ingest.tuple import decode
from storage.stage import identity
from tests import staged
from tests.acceptance.client import ask, eventually, pid_of, sql
from tests.acceptance.gateway_process import Gateway, let_others_through
from tests.acceptance.scene import settled
from tests.acceptance.verified import described, verify
from tests.spooled import Collector

SOON_S = 60.0
CONTENT = "streamverse-movie-1"
LASTING = {"INGEST_REDIS_HEARTBEAT_S": "600"}
"""Nobody's lease ends while this is looked at."""
WORDS = ["ps s", "ps p", "ps r", "ps p", "t p", "ps a", "ps p", "t p"]
"""A line a second; the last one is now, and it plays."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("stage")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data", arguments=("--workers", "2"), environment=LASTING) as made:
        made.start()
        yield made.wait_ready()


def a_viewing(session: str, ends: bool) -> list[CmcdLine]:
    """Of somebody who has just watched for seven seconds, or goes on."""
    now_us = time.time_ns() // 1_000
    lines = []
    for number, word in enumerate(WORDS):
        event, state = word.split()
        if ends and number == len(WORDS) - 1:
            event, state = "ps", "e"
        at_us = now_us - 1_000_000 * (len(WORDS) - 1 - number)
        lines.append(CmcdLine(session, 7, "", number, event, at_us, now_us, state=state, content_id=CONTENT))
    return lines


def told_of(data_dir: Path, viewings: list[list[CmcdLine]]) -> Counter[tuple[str, str, int, int | None]]:
    """The rows that another stage makes of the same lines, which nobody disturbs."""

    async def alone() -> None:
        staged.appended(Collector(data_dir), *viewings)
        clock = staged.SetClock(max(one[-1].received_at_us for one in viewings) + 60_000_000)
        async with staged.at_work(data_dir, clock):
            await staged.until(lambda: staged.lines_judged(data_dir) == sum(map(len, viewings)))

    asyncio.run(alone())
    rows = map(decode, staged.rows(data_dir))
    return Counter((str(row.event_id), row.event_type, sn(row.metadata), row.buffer_duration_ms) for row in rows)


def sn(metadata: str | None) -> int:
    return int(json.loads(metadata or "")["sn"])


def stored(gateway: Gateway) -> Counter[tuple[str, str, int, int | None]]:
    statement = "SELECT event_id::text, event_type, metadata::text, buffer_duration FROM playback_events"
    return Counter((*row[:2], sn(row[2]), row[3]) for row in sql(gateway.endpoints["postgres"], statement))


def viewers(gateway: Gateway, name: str = CONTENT) -> int:
    content = UUID(bytes=identity.content_id(b"", name.encode()))
    return int(ask(gateway.endpoints["admin"] + f"/v1/live/{content}").json["viewers"])


def names(gateway: Gateway) -> list[str]:
    return [row["alias"] for row in sql(gateway.endpoints["postgres"], "SELECT alias FROM content_alias")]


def name_told(gateway: Gateway) -> str:
    """Of the content that most watch, as the page shows it."""
    return str(ask(gateway.endpoints["admin"] + "/v1/live").json["contents"][0].get("name"))


def is_another(gateway: Gateway, pid: int) -> bool:
    return pid_of(gateway, "stage") != pid


def test_lines_are_rows_and_viewers_and_a_stage_that_is_killed_makes_none_twice(
    gateway: Gateway, tmp_path: Path
) -> None:
    viewings = []
    collectors = [Collector(gateway.data_dir), Collector(gateway.data_dir)]
    for turn in range(6):
        for number in range(20):
            lines = a_viewing(f"session {turn} {number}", ends=bool(number % 2))
            viewings.append(lines)
            staged.appended(collectors[number % 2], lines[:5])
            staged.appended(collectors[turn % 2], lines[5:], lines[2:6])  # some of it twice, on either
        if turn % 2:
            killed = pid_of(gateway, "stage")
            os.kill(killed, signal.SIGKILL)
            eventually(partial(is_another, gateway, killed), SOON_S, "started again")
        time.sleep(0.7)
    expected = told_of(tmp_path, viewings)
    assert len(expected) == 60 * 4 + 60 * 5
    eventually(lambda: stored(gateway).total() >= expected.total(), SOON_S, "all are rows")
    eventually(lambda: names(gateway) == [CONTENT], SOON_S, "what they play has a name in the table")
    for collector in collectors:
        collector.end()
    settled(gateway)
    assert stored(gateway) == expected
    code, report = verify(gateway)
    assert code == 0, described(report)
    totals = report["totals"]
    assert totals["staged"] == 120 * 12
    assert totals["stage_rows"] == expected.total() and totals["stage_lines"] >= totals["staged"]
    assert "stage:" not in " ".join(report["notes"])
    assert viewers(gateway) == 60  # who plays watches, and who saw the end does not
    eventually(lambda: name_told(gateway) == CONTENT, SOON_S, "who looks at the numbers is told the name")


def test_the_command_line_says_what_became_of_the_lines(gateway: Gateway) -> None:
    told = gateway.command("stage", "status").stdout.split()
    assert told[0] == "lines" and "streams of which more is expected" in " ".join(told)
    assert "begins anew" in gateway.command("stage", "anew").stdout
    (gateway.data_dir / "stage" / "anew").unlink()


def test_a_player_that_counts_anew_with_the_next_film_is_seen_to_watch_it(gateway: Gateway) -> None:
    now_us = time.time_ns() // 1_000

    def told(number: int, seconds_ago: float, word: str, content: str) -> CmcdLine:
        event, state = word.split()
        at_us = now_us - round(1e6 * seconds_ago)
        return CmcdLine("binge", 7, "", number, event, at_us, now_us, state=state, content_id=content)

    films = [
        [told(number, 10 - number / 4, "t p" if number else "ps p", "episode 1") for number in range(20)],
        [told(20, 4, "ps e", "episode 1")],
        [told(0, 3, "ps s", "episode 2"), told(1, 2, "ps p", "episode 2"), told(2, 1, "t p", "episode 2")],
    ]
    collector = Collector(gateway.data_dir)
    staged.appended(collector, *films)
    eventually(lambda: viewers(gateway, "episode 2") == 1, SOON_S, "the second film is watched")
    assert viewers(gateway, "episode 1") == 0
    collector.end()


def test_nothing_of_it_is_taken_for_lost(gateway: Gateway) -> None:
    def is_told() -> bool:
        (group,) = ask(gateway.endpoints["admin"] + "/v1/qoe?window=1h").json["groups"]
        assert group["delivery_loss_share"] is None
        assert group["starts"] >= 121, group
        return True

    eventually(is_told, SOON_S, "starts are told")
