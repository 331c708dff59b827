"""The upkeep runs beside the door, in one process: whatever ends one of its turns, the next one comes."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from config.settings import Settings
from gateway import schema_upkeep, spool_upkeep
from gateway.layout import DataDir
from storage.reader_status import ReaderStatus

SOON_S = 10.0


def test_an_error_that_nobody_foresaw_is_logged_with_where_and_the_schema_is_prepared_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Exception] = [AttributeError("server_version"), TimeoutError()]

    async def prepare(*_: Any) -> None:
        if errors:
            raise errors.pop(0)

    async def scenario() -> None:
        prepared = asyncio.Event()
        keeping = asyncio.create_task(schema_upkeep.keep(lambda: "", Settings, DataDir(tmp_path), prepared))
        await asyncio.wait(
            [keeping, asyncio.ensure_future(prepared.wait())], timeout=SOON_S, return_when="FIRST_COMPLETED"
        )
        assert prepared.is_set() and not keeping.done()
        keeping.cancel()

    monkeypatch.setattr(schema_upkeep, "prepare", prepare)
    with structlog.testing.capture_logs() as said:
        asyncio.run(scenario())
    assert [(line["event"], line["error"], line["exc_info"]) for line in said] == [
        ("schema_not_prepared", "server_version", True),
        ("schema_not_prepared", "TimeoutError", False),  # a store that is away is no news, and needs no traceback
    ]


def test_a_turn_of_the_spool_s_upkeep_that_nobody_foresaw_to_fail_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DataDir(tmp_path)
    data.make()

    async def scenario() -> None:
        again, turns = asyncio.Event(), 0

        def statuses() -> Mapping[str, ReaderStatus | None]:
            nonlocal turns
            turns += 1
            if turns == 1:
                raise KeyError("postgres")
            again.set()
            return dict.fromkeys(spool_upkeep.READERS)

        keeping = asyncio.create_task(spool_upkeep.keep(data, Settings, statuses))
        await asyncio.wait(
            [keeping, asyncio.ensure_future(again.wait())], timeout=SOON_S, return_when="FIRST_COMPLETED"
        )
        assert again.is_set() and not keeping.done()
        keeping.cancel()

    monkeypatch.setattr(spool_upkeep, "INTERVAL_S", 0.0)
    with structlog.testing.capture_logs() as said:
        asyncio.run(scenario())
    assert [line["event"] for line in said if line["log_level"] == "error"] == ["spool_upkeep_failed"]
    assert said[0]["exc_info"]
