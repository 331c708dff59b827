"""Lines of CMCD as players report them, the same in every run: what is counted of the session stage."""

from random import Random
from typing import Final
from uuid import UUID

from ingest.batch import KIND_CMCD, MONTH_CMCD, SCHEMA_CMCD, FrameBody
from ingest.cmcd import CmcdLine, encode
from tests.instructions.traffic import CONTENTS_COUNT, NOW_US

VIEWERS: Final = 40
"""Each sends a request a second."""
WORDS: Final = ("ps p", "t p", "t p", "bc p", "t p", "t p", "ps r", "ps p", "t p", "ps a")
"""An event and its state, again and again: five rows of ten lines, so that these weigh no less than signals do."""


def seconds_of(requests_count: int, lines_count: int) -> list[list[tuple[FrameBody, int]]]:
    """Each request's frame, and when it was received, by seconds; of so many lines each."""
    chance = Random(f"viewers:{requests_count}:{lines_count}")
    sessions = [(chance.randbytes(16).hex(), str(UUID(int=chance.getrandbits(128), version=4))) for _ in range(VIEWERS)]
    seconds: list[list[tuple[FrameBody, int]]] = []
    for number in range(requests_count):
        turn, viewer = divmod(number, VIEWERS)
        received_us = NOW_US + number * 1_000_000 // VIEWERS
        session = sessions[viewer][viewer & 1]
        lines = [
            _line(session, viewer, turn * lines_count + index, received_us, received_us - 1_000 * (lines_count - index))
            for index in range(lines_count)
        ]
        if not viewer:
            seconds.append([])
        body = FrameBody.of(KIND_CMCD, 0, MONTH_CMCD, [encode(one) for one in lines], SCHEMA_CMCD)
        seconds[-1].append((body, received_us))
    return seconds


def _line(session: str, viewer: int, sequence: int, received_us: int, occurred_us: int) -> CmcdLine:
    event, state = WORDS[sequence % len(WORDS)].split()
    return CmcdLine(
        session, -7, "", sequence, event, occurred_us, received_us, False, state, f"film-{viewer % CONTENTS_COUNT}",
        bitrate_kbps=(966, 2_400, 5_100)[sequence // len(WORDS) % 3], position_ms=4_000 * sequence,
        device_type="tv", platform="tizen", player="hls.js", country="DE", metadata=f'{{"bl":{sequence % 30}000}}',
    )  # fmt: skip
