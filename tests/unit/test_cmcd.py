"""A line of CMCD's tuple; and who reads playback takes frames of such lines for nothing."""

from pathlib import Path

import orjson
import pytest

from gateway import spool_commands
from ingest import cmcd
from ingest.batch import MONTH_CMCD, SCHEMA_CMCD
from ingest.cmcd import CmcdLine
from storage import watch
from storage.qoe import sign as quality
from storage.redis.sign import Batch, batches
from storage.sink import Slice
from tests.cmcd import FULL, a_cmcd_body, a_line
from tests.signs import DAY, NOW
from tests.spooled import Spooled, rows_of
from tests.unit.test_spool_ads import written


@pytest.mark.parametrize("line", [a_line(), FULL], ids=["least", "all"])
def test_a_line_comes_back_from_its_tuple(line: CmcdLine) -> None:
    row = cmcd.encode(line)
    assert cmcd.decode(row) == line
    assert cmcd.occurred_at_us(row) == line.occurred_at_us
    assert cmcd.received_at_us(row) == line.received_at_us


@pytest.mark.parametrize("cut", [0, 1, 2, 22, 30, -1])
def test_a_tuple_cut_short_is_none(cut: int) -> None:
    with pytest.raises(ValueError, match="tuple"):
        cmcd.walk(cmcd.encode(FULL)[:cut])
    with pytest.raises(ValueError, match="tuple"):
        cmcd.walk(cmcd.encode(FULL) + b"x")


def test_lines_in_the_spool_are_whole_and_decoded(tmp_path: Path) -> None:
    data, said, dumped = written(tmp_path, a_cmcd_body()), list[str](), list[str]()
    assert spool_commands.verify(data, said.append), said
    assert spool_commands.schema_ids(data) == {SCHEMA_CMCD}
    spool_commands.dump(data, dumped.append, "", None)
    found = orjson.loads(dumped[0])
    assert (found["kind"], found["schema"], found["month"]) == ("cmcd", SCHEMA_CMCD, MONTH_CMCD)
    assert [line["event"] for line in found["events"]] == ["ps", "rr"]


def test_lines_of_another_release_are_newer(tmp_path: Path) -> None:
    data, said = written(tmp_path, a_cmcd_body(schema=1)), list[str]()
    assert not spool_commands.verify(data, said.append)
    assert any(line.startswith("newer: ") for line in said)


@pytest.mark.usefixtures("each_core")
def test_readers_of_playback_find_nothing_in_lines_of_cmcd() -> None:
    lines, with_playback, spooled = a_cmcd_body(), rows_of(2), Spooled()
    alone, mixed, playback = (
        spooled.slice(lines),
        spooled.slice(lines, with_playback, lines),
        spooled.slice(with_playback),
    )
    assert watch.gathered([alone]) == watch.gathered([])
    assert watch.gathered([mixed]) == watch.gathered([playback])
    assert quality.read_frames(alone.frames, 0) == ([], 0)
    assert quality.read_frames(mixed.frames, 0) == quality.read_frames(playback.frames, 0)

    def counted(one: Slice) -> list[Batch]:
        return [batch._replace(positions=b"", frames=0) for batch in batches([one], NOW, DAY)]

    assert counted(mixed) == counted(playback)
    assert [(batch.views, batch.sessions, batch.rows) for batch in counted(alone)] == [(b"", b"", 0)]
