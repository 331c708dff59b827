"""What `./gw peers` says of others is so: they store what was sent, and lose what they answered for from memory.

Telegraf is built here where go is, once a checkout: a minute and a half of CPU.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from loadtests.bench.request import RequestMint
from loadtests.peers.fastapi import FastApi
from loadtests.peers.kill import Killed, peer_killed
from loadtests.peers.peer import Peer, RunningPeer, Unavailable, stand_still
from loadtests.peers.telegraf import Telegraf
from tests.acceptance.gateway_process import Gateway, let_others_through
from tests.conftest import left_out

T = TypeVar("T")
PEERS = {peer.name: peer for peer in (Telegraf(), FastApi(commits_first=False), FastApi(commits_first=True))}
TIMES = {"occurred_at"}
KILL_AFTER = 2_000
TRIES = 3


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store that has `playback_events`, whose columns the peers' tables have too."""
    directory = tmp_path_factory.mktemp("beside")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data") as gateway:
        gateway.start()
        yield gateway.wait_ready().endpoints["postgres"]


def with_peer(peer: Peer, dsn: str, directory: Path, use: Callable[[RunningPeer], Awaitable[T]]) -> T:
    """What `use` makes of that peer, running with an empty table."""
    try:
        peer.prepare()
    except Unavailable as reason:
        left_out(str(reason))

    async def run() -> T:
        postgres = await asyncpg.connect(dsn)
        running = RunningPeer(peer, dsn, directory / "peer", postgres, lambda: 0.0)
        try:
            await running.make_table()
            await running.start()
            return await use(running)
        finally:
            running.stop()
            await postgres.close()

    return asyncio.run(run())


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_stores_each_event_once_and_as_it_was_sent(name: str, dsn: str, tmp_path: Path) -> None:
    async def rows_of_one_post(running: RunningPeer) -> tuple[bytes, list[asyncpg.Record]]:
        request = RequestMint("127.0.0.1", running.process.port, 20).mint()
        reader, writer = await asyncio.open_connection("127.0.0.1", running.process.port)
        writer.write(request)
        assert (await reader.readuntil(b"\r\n\r\n")).split()[1] in (b"200", b"204")
        writer.close()

        async def count() -> int:
            found: int = await running.postgres.fetchval(f"SELECT count(*) FROM {running.table}")
            return found

        await stand_still(count, 20)
        return request, await running.postgres.fetch(f"SELECT * FROM {running.table}")

    request, rows = with_peer(PEERS[name], dsn, tmp_path, rows_of_one_post)
    sent = json.loads(request.split(b"\r\n\r\n", 1)[1])["events"]
    stored = {str(row["event_id"]): row for row in rows}
    assert len(rows) == len(stored) == len(sent) == 20
    for event in sent:
        row = stored[event["event_id"]]
        assert {field: plain(field, row[field]) for field in event} == {
            field: datetime.fromisoformat(value) if field in TIMES else value for field, value in event.items()
        }


def plain(field: str, value: Any) -> Any:
    """A stored value as a body would have it; times stay times."""
    return str(value) if field.endswith("_id") else value


def killed(name: str, dsn: str, directory: Path) -> Killed:
    return with_peer(PEERS[name], dsn, directory, lambda running: peer_killed(running, KILL_AFTER))


@pytest.mark.parametrize("name", [name for name, peer in PEERS.items() if peer.answer_means == "in memory"])
def test_kill_9_takes_what_was_answered_from_memory(name: str, dsn: str, tmp_path: Path) -> None:
    kills = []
    for number in range(TRIES):  # one may come just after a flush
        (tmp_path / str(number)).mkdir()
        kills.append(killed(name, dsn, tmp_path / str(number)))
        if kills[-1].lost:
            break
    assert 0 < kills[-1].lost < kills[-1].acknowledged, kills
    assert kills[-1].acknowledged >= KILL_AFTER


def test_kill_9_takes_nothing_that_was_committed_first(dsn: str, tmp_path: Path) -> None:
    outcome = killed("fastapi_commit", dsn, tmp_path)
    assert outcome.lost == 0 and outcome.acknowledged >= KILL_AFTER
