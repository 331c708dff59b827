"""Figures go from who holds them to who serves them, or a reason does."""

import asyncio
import random

import msgspec
import pytest

from live import quality
from live.quality import Body, Figures, Question
from live.source import Unavailable
from storage.reader_status import ReaderStatus
from tests.qoe_spool import CLOCK, SECOND, a_sink, play, read_on
from tests.spooled import Collector

PATIENCE_S = 20.0
ALL = Question(None, "1h", 1)


def a_status(**changes) -> ReaderStatus:
    return msgspec.structs.replace(ReaderStatus("qoe", "running", "", 1, CLOCK.now_us(), {}), **changes)


def test_figures_are_asked_for_over_a_socket_however_deep_the_directory(tmp_path):
    deep = tmp_path.joinpath(*("very-deep-directory",) * 6)
    deep.mkdir(parents=True)
    collector = Collector(tmp_path)
    play(collector, 4, CLOCK.now_us() - 60 * SECOND, random.Random(8))
    sink = a_sink(tmp_path)

    async def asked() -> None:
        path, now_us = deep / "qoe.sock", CLOCK.now_us()
        with pytest.raises(Unavailable):
            await quality.ask(path, a_status(), ALL, now_us)
        serving = [asyncio.create_task(quality.serve(path, Figures(sink.figures, CLOCK))) for _ in range(2)]
        async with asyncio.timeout(PATIENCE_S):
            while not path.exists():
                await asyncio.sleep(0.01)
        with pytest.raises(Unavailable, match="not read anything yet"):
            await quality.ask(path, a_status(), ALL, now_us)
        await read_on(sink, tmp_path)
        body = msgspec.json.decode(await quality.ask(path, a_status(), ALL, now_us), type=Body)
        assert (body.by, body.window, body.stands_for, body.groups[0].sessions) == (None, "1h", 1, 4)
        for one in serving:
            one.cancel()
        await asyncio.wait(serving)

    asyncio.run(asked())


@pytest.mark.parametrize(
    "status",
    [None, a_status(state="red"), a_status(at_us=1), a_status(lag_s=40.0)],
    ids=["none", "red", "dead", "behind"],
)
def test_there_are_right_figures_or_none(tmp_path, status):
    with pytest.raises(Unavailable):
        asyncio.run(quality.ask(tmp_path / "qoe.sock", status, ALL, CLOCK.now_us()))
