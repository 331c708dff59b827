"""What the gateway says of itself a second is what was posted to it, and what its stores do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.acceptance.client import Book, an_event, ask, eventually, pid_of, stopped
from tests.acceptance.event_stream import EventStream
from tests.acceptance.gateway_process import Gateway, let_others_through

SLOW_S: Final = 30.0  # a machine with other things to do
BACK_S: Final = 60.0
WINDOW_S: Final = 5.0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("numbers")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data") as served:
        served.start()
        served.wait_ready()
        yield served


def numbers(gateway: Gateway) -> dict[str, Any]:
    answer = ask(gateway.endpoints["admin"] + "/v1/gateway")
    assert answer.status == 200 and answer.headers["cache-control"] == "no-store", answer.text
    told: dict[str, Any] = answer.json
    return told


def reader(told: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (one for one in told["readers"] if one["reader"] == name)
    assert isinstance(found, dict)
    return found


def post(gateway: Gateway, kind: str, many: int) -> None:
    events = [an_event(event_type=kind) for _ in range(many)]
    assert Book().post(gateway.endpoints["http"], events).status == 200


def quiet(stream: EventStream) -> Callable[[], bool]:
    return lambda: all(stream.last.data[name] == 0 for name in ("received_per_s", "delivered_per_s", "stored_per_s"))


def test_what_is_posted_comes_in_and_is_stored_and_heartbeats_make_no_row(gateway: Gateway) -> None:
    with EventStream(gateway.endpoints["admin"] + "/v1/gateway/stream") as stream:
        eventually(lambda: stream.events and quiet(stream)(), SLOW_S, "nothing yet")
        for kind, rows in (("play", 500), ("heartbeat", 0)):
            before = len(stream.events)
            post(gateway, kind, 500)
            eventually(lambda before=before: len(stream.events) > before + 2, SLOW_S, "seen")  # type: ignore[misc]
            eventually(quiet(stream), SLOW_S, "and over")
            seen = stream.events[before:]
            for name, many in (("received", 500), ("delivered", 500), ("stored", rows)):
                # each event is in the rate of every second of a window: the seconds add up to all of them
                times = [event.at_s for event in seen]
                told = sum(
                    event.data[f"{name}_per_s"] * (now - then)
                    for event, then, now in zip(seen[1:], times, times[1:], strict=False)
                )
                assert (told == 0) == (many == 0), (kind, name, told)
                assert told == pytest.approx(many, rel=0.7), (kind, name, told)
        assert all(event.kind == "gateway" for event in stream.events)
        ids = [int(event.id) for event in stream.events]
        assert ids == sorted(set(ids))


def test_the_route_and_the_stream_tell_the_same(gateway: Gateway) -> None:
    with EventStream(gateway.endpoints["admin"] + "/v1/gateway/stream") as stream:
        told: dict[str, dict[str, Any]] = {}

        def both_have_one() -> bool:
            one = numbers(gateway)
            told[one["as_of"]] = one
            return any(event.data["as_of"] in told for event in stream.events)

        eventually(both_have_one, SLOW_S, "the same sample")
        assert any(told.get(event.data["as_of"]) == event.data for event in stream.events)
        assert told.popitem()[1]["spool"]["quota_bytes"] == 8 << 30


def test_a_store_that_is_away_is_lag_of_its_reader_and_the_door_stays_open(gateway: Gateway) -> None:
    eventually(lambda: reader(numbers(gateway), "postgres")["state"] == "running", SLOW_S, "it runs")
    with stopped(pid_of(gateway, "postgres")):
        post(gateway, "play", 10)
        eventually(lambda: reader(numbers(gateway), "postgres")["lag_s"] > 1, SLOW_S, "it waits")
        assert numbers(gateway)["ready"] is True
        assert reader(numbers(gateway), "redis")["lag_s"] < SLOW_S
    eventually(lambda: reader(numbers(gateway), "postgres")["lag_s"] == 0, BACK_S, "it caught up")


def test_the_stream_comes_back_when_the_gateway_was_replaced_and_counts_on(gateway: Gateway) -> None:
    with EventStream(gateway.endpoints["admin"] + "/v1/gateway/stream") as stream:
        eventually(lambda: stream.events and stream.last.data["ready"], SLOW_S, "it runs")
        assert gateway.command("restart", "--supervisor").returncode == 0
        eventually(lambda: stream.connections == 2, BACK_S, "again")
        before = len(stream.events)
        post(gateway, "play", 100)
        eventually(lambda: any(e.data["stored_per_s"] for e in stream.events[before:]), SLOW_S, "counted")
        highest = max(event.data["received_per_s"] for event in stream.events[before:])
        assert highest <= 100, "what was counted before the restart did not come in again"
    assert not stream.broken
