"""The benchmark's requests are whole, new, of now, and late or sent again as often as they are asked to be."""

from __future__ import annotations

import random
import time
from typing import Any

import orjson
import pytest

from ingest.decode.cmcd import decode
from ingest.decode.cmcd_context import Circumstances, context_of
from ingest.decode.limits import Limits
from ingest.decode.request import Request
from loadtests.bench.cmcd import SESSIONS_COUNT, CmcdMint
from loadtests.bench.request import LATE_MAX_MS, REPLAYED_TIMES, RESENT_AFTER, RequestMint
from loadtests.ledger import epoch_us
from tests.unit.test_viewing import WIRE_NAMES


def minted(mint: RequestMint) -> list[dict[str, Any]]:
    """The events of the next request, whose head must fit it."""
    head, _, data = mint.mint().partition(b"\r\n\r\n")
    assert head.endswith(b"Content-Length: %d" % len(data))
    events: list[dict[str, Any]] = orjson.loads(data)["events"]
    assert len(events) == mint.events_count
    return events


def age_s(event: dict[str, Any]) -> float:
    return time.time() - epoch_us(event["occurred_at"]) / 1e6


@pytest.mark.parametrize("events_count", [1, 20, 200])
def test_requests_are_whole_with_new_ids_and_live_times(events_count: int) -> None:
    mint = RequestMint("127.0.0.1", 8080, events_count)
    ids: set[str] = set()
    for _ in range(600):
        events = minted(mint)
        assert len({event["session_id"] for event in events}) == 1
        for event in events:
            assert event.keys() <= WIRE_NAMES
            assert -1 < age_s(event) < 30 + events_count / 2
        ids |= {event["event_id"] for event in events}
    assert len(ids) == 600 * events_count
    assert not mint.resent_events


def test_a_share_of_the_requests_is_late() -> None:
    mint = RequestMint("127.0.0.1", 8080, 1, late=0.2, chance=random.Random(1).random)
    ages = [age_s(*minted(mint)) for _ in range(2_000)]
    assert 300 < sum(age > 60 for age in ages) < 500
    assert max(ages) < LATE_MAX_MS / 1000 + 30


def test_a_recording_is_played_again_and_again() -> None:
    mint = RequestMint("127.0.0.1", 8080, 1, replayed=True)
    times = [minted(mint)[0]["occurred_at"] for _ in range(2 * REPLAYED_TIMES)]
    assert times[:REPLAYED_TIMES] == times[REPLAYED_TIMES:]
    assert len(set(times)) == REPLAYED_TIMES


def test_a_share_of_the_requests_is_sent_again_byte_for_byte() -> None:
    mint = RequestMint("127.0.0.1", 8080, 2, resent=0.1, chance=random.Random(1).random)
    requests = [mint.mint() for _ in range(5_000)]
    again = len(requests) - len(set(requests))
    assert 2 * 300 < mint.resent_events < 2 * 600
    assert again == mint.resent_events // 2
    first = {request: number for number, request in reversed(list(enumerate(requests)))}
    gaps = [number - first[request] for number, request in enumerate(requests) if first[request] != number]
    assert min(gaps) >= RESENT_AFTER


def test_lines_of_cmcd_are_whole_and_each_is_new() -> None:
    mint = CmcdMint("127.0.0.1", 8080, 20)
    request, told = Request(time.time_ns() // 1_000, Limits()), set[bytes]()
    for _ in range(2 * SESSIONS_COUNT):
        head, _, body = mint.mint().partition(b"\r\n\r\n")
        assert head.endswith(b"Content-Length: %d" % len(body))
        rows, batch = decode(body, context_of(Circumstances("device=web")), request)
        assert (batch.accepted, batch.rejected, batch.unknown_fields) == (20, 0, 0)
        told.update(rows)
    assert len(told) == 2 * SESSIONS_COUNT * 20
