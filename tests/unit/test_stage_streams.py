"""How many streams are in memory: by their number, and by what they weigh."""

from pathlib import Path

from storage.stage import state_file
from storage.stage.numbers import GAPS_MAX, RUNS_MAX, Run
from storage.stage.state_file import StateFile, Turn
from storage.stage.streams import Streams, weight_bytes


def touched(streams: Streams, file: StateFile, number: int, *, is_hostile: bool = False) -> None:
    stream = streams.touched((b"", b"session %d" % number, 7))
    if is_hostile:
        gaps = [(2 * at, 2 * at) for at in range(GAPS_MAX)]
        stream.runs, stream.stall = [Run(at, at, 99, list(gaps)) for at in range(RUNS_MAX)], bytes(8_000)
    file.write(Turn({}, streams.opened, streams.kept))
    streams.settle()


def test_hostile_streams_leave_the_memory_sooner_and_are_found_in_the_file(tmp_path: Path) -> None:
    state_file.make(tmp_path / "state.db", {})
    file = StateFile(tmp_path / "state.db")
    try:
        streams = Streams(file, in_memory_max=100, in_memory_max_bytes=200_000)
        for number in range(120):
            touched(streams, file, number)
        assert len(streams._known) == 100
        for number in range(8):
            touched(streams, file, number, is_hostile=True)
        weights = [weight_bytes(stream) for stream in streams._known.values()]
        assert sum(weights) == streams._weight_bytes <= 200_000 < sum(weights) + 45_000
        assert len(streams._known) == len(streams._weights) < 100
        for number in range(8):
            assert len(streams.touched((b"", b"session %d" % number, 7)).runs) == RUNS_MAX
        streams.settle()
        ended = streams.silent(2**62, 1_000)
        assert len(ended) == 120 and streams._known == {} and streams._weight_bytes == 0
    finally:
        file.close()
