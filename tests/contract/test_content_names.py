"""What contents are called: from the lines of CMCD to `content_alias`, and from there beside the numbers."""

import asyncio
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from gateway import alias_filling
from gateway.layout import DataDir
from ingest.clock import SystemClock
from live import names as product
from live.names import Names
from live.source import UNTOLD, Sample, Unavailable
from live.tables import Tables
from storage.stage import identity
from storage.stage.aliases import Alias
from storage.stage.state_file import StateFile
from tests import staged
from tests.cmcd_lines import a_line
from tests.contract.connected import migrated
from tests.signs import content_of
from tests.spooled import Collector

FILM: Final = "film-1"
UUID_TEXT: Final = "7d2d9b1e-8f0f-4f5c-9a55-0d3f6f6d2c11"


def named(name: str, owner: bytes = b"") -> UUID:
    return UUID(bytes=identity.content_id(owner, name.encode()))


def kept(data_dir: Path) -> list[Alias]:
    file = StateFile(data_dir / "stage" / "state.db", reads_only=True)
    try:
        return [alias for _, alias in file.aliases(0, 100)]
    finally:
        file.close()


def test_the_stage_keeps_a_name_once_however_often_it_comes_and_begins_anew(tmp_path: Path) -> None:
    def viewing(session: str, content: str | None, owner: str = "") -> list[Any]:
        lines = [a_line(number, state=state, session_id=session) for number, state in enumerate("pap")]
        return [line._replace(content_id=content, owner=owner) for line in lines]

    def judged(lines: int) -> bool:
        return staged.lines_judged(tmp_path) == lines

    async def scenario() -> None:
        collector = Collector(tmp_path)
        contents = [FILM, FILM, UUID_TEXT, None, "Bücher\\"]
        for turn in range(2):
            requests = [viewing(f"{turn} {number}", content) for number, content in enumerate(contents)]
            staged.appended(collector, *requests, viewing(f"{turn} acme", FILM, "acme"))
            async with staged.at_work(tmp_path):
                await staged.until(partial(judged, 18 * (turn + 1)))

    asyncio.run(scenario())
    rows = {(row.session_id, row.content_id) for row in staged.events(tmp_path)}
    assert {UUID(UNTOLD), UUID(UUID_TEXT), named(FILM), named(FILM, b"acme")} < {content for _, content in rows}
    assert sorted(kept(tmp_path)) == sorted([
        Alias(named(FILM).bytes, "", FILM), Alias(named("Bücher\\").bytes, "", "Bücher\\"),
        Alias(named(FILM, b"acme").bytes, "acme", FILM),
    ])  # fmt: skip


def test_a_state_file_of_an_earlier_release_gets_its_table_when_a_stage_opens_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with staged.at_work(tmp_path):
            await staged.until((tmp_path / "stage" / "state.db").exists)
        file = StateFile(tmp_path / "stage" / "state.db")
        file._database.execute("DROP TABLE aliases")
        file.close()
        assert alias_filling._behind(DataDir(tmp_path), 0) == [], "nobody has opened it yet"
        staged.appended(Collector(tmp_path), [a_line(0, state="p", content_id=FILM)])
        async with staged.at_work(tmp_path):
            await staged.until(lambda: staged.lines_judged(tmp_path) == 1)

    asyncio.run(scenario())
    assert [alias.name for alias in kept(tmp_path)] == [FILM]


def test_a_name_is_in_the_table_once_whoever_tells_it_how_often(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        aliases = [Alias(named(FILM).bytes, "", FILM), Alias(named(FILM, b"a").bytes, "a", FILM)]
        await asyncio.gather(*(_fill(postgres_url, aliases[:number]) for number in (1, 2, 2, 1)))
        rows = await conn.fetch("SELECT content_id, owner, alias FROM content_alias ORDER BY owner")
        assert [tuple(row) for row in rows] == [(named(FILM), "", FILM), (named(FILM, b"a"), "a", FILM)]

    async def _fill(url: str, aliases: list[Alias]) -> None:
        connection = await asyncpg.connect(url)
        try:
            await alias_filling.fill(connection, aliases)
        finally:
            await connection.close()

    migrated(postgres_url, scenario)


def test_the_catalogue_knows_a_title_better_than_players_do(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        titled = await conn.fetchval("INSERT INTO content (type, title) VALUES ('movie', 'The Film') RETURNING id")
        await alias_filling.fill(conn, [Alias(titled.bytes, "", "not this"), Alias(named(FILM).bytes, "", FILM)])
        tables = Tables(lambda: postgres_url)
        names, asked = Names(tables, SystemClock()), [str(titled), str(named(FILM)), str(content_of(9))]
        found: dict[str, str] = {}
        for _ in range(50):  # the first connection may take longer than anybody waits
            if found := await names.of(asked):
                break
            await asyncio.sleep(0.1)
        assert found == {str(titled): "The Film", str(named(FILM)): FILM}
        await names.close()
        tables.close()

    migrated(postgres_url, scenario)


class SlowTables:
    """A database that hangs, and then is away."""

    def __init__(self) -> None:
        self.asked = 0
        self.goes_on = asyncio.Event()

    async def fetch(self, _: str, contents: list[UUID]) -> list[Any]:
        self.asked += 1
        await self.goes_on.wait()
        if self.asked > 1:
            raise Unavailable("store_unavailable", "gone")
        return [{"id": contents[0], "name": FILM}]


def test_nobody_waits_long_for_names_and_what_was_known_stays() -> None:
    async def scenario() -> None:
        tables, clock = SlowTables(), SimpleNamespace(now_s=100.0)
        clock.monotonic_s = lambda: clock.now_s
        names, one = Names(tables, clock), str(content_of(1))  # type: ignore[arg-type]
        async with asyncio.timeout(5 * product.PATIENCE_S):
            assert await names.of([one]) == {}
        tables.goes_on.set()
        assert await names.of([one]) == {one: FILM} and tables.asked == 1
        clock.now_s += product.KEPT_S
        for _ in range(3):
            assert await names.of([one]) == {one: FILM}, "while it is asked for again, and where nobody answers"
            await asyncio.sleep(0)
        assert tables.asked == 2
        await names.close()

    asyncio.run(scenario())


def test_who_does_not_say_what_it_plays_is_a_viewer_of_no_content() -> None:
    one, other = str(content_of(1)), str(content_of(2))
    sample = Sample(0, {UNTOLD: 900, one: 2, other: 1})
    sample.names = {one: "<b>The Film</b>"}
    told = orjson.loads(sample.body(10))
    assert told["viewers"] == 903
    assert told["contents"] == [
        {"content_id": one, "name": "<b>The Film</b>", "viewers": 2}, {"content_id": other, "viewers": 1},
    ]  # fmt: skip
    assert identity.content_id(b"acme", b"") == identity.content_id(b"", b"") == UUID(UNTOLD).bytes
