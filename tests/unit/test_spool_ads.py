"""Frames of ad events in the log: its commands know them, with their events."""

from pathlib import Path

import orjson

from gateway import spool_commands
from gateway.layout import DataDir
from ingest import ad
from ingest.batch import KIND_AD, MONTH_AD, SCHEMA_AD, SCHEMA_PLAYBACK, FrameBody
from tests.golden_spool import SEGMENT_SIZE_BYTES, a_body, a_row
from tests.incarnations import UnsyncedDisk, begun, commit
from tests.unit.test_ad import FULL, an_ad


def an_ad_body(schema: int = SCHEMA_AD) -> FrameBody:
    return FrameBody.of(KIND_AD, 0, MONTH_AD, [ad.encode(an_ad()), ad.encode(FULL)], schema)


def written(data: Path, *bodies: FrameBody) -> DataDir:
    one = begun(data / "spool", b"\x07" * 16, UnsyncedDisk(), SEGMENT_SIZE_BYTES)
    commit(one, list(bodies))
    one.end()
    return DataDir(data)


def test_ad_events_are_whole_and_decoded(tmp_path: Path) -> None:
    data, said, dumped = written(tmp_path, a_body(a_row(1)), an_ad_body()), list[str](), list[str]()
    assert spool_commands.verify(data, said.append), said
    assert spool_commands.schema_ids(data) == {SCHEMA_PLAYBACK, SCHEMA_AD}
    spool_commands.dump(data, dumped.append, "", None)
    found = orjson.loads(dumped[1])
    assert (found["kind"], found["schema"], found["month"]) == ("ad", SCHEMA_AD, MONTH_AD)
    assert [event["event"] for event in found["events"]] == ["start", "progress"]
    assert found["events"][1]["impression_id"] == str(FULL.impression_id)


def test_ad_events_of_another_release_are_newer(tmp_path: Path) -> None:
    data, said, dumped = written(tmp_path, an_ad_body(SCHEMA_PLAYBACK)), list[str](), list[str]()
    assert not spool_commands.verify(data, said.append)
    assert any(line.startswith("newer: ") for line in said)
    spool_commands.dump(data, dumped.append, "", None)
    assert isinstance(orjson.loads(dumped[0])["events"][0], str)
