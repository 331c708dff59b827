"""What the benchmark says of its figures: marks held and missed, every count, nothing that was not measured."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from loadtests.bench.__main__ import EVERY, USUAL, chosen, main
from loadtests.bench.page import page
from loadtests.bench.scylla import check_alike
from loadtests.bench.table import all_stored, lines
from loadtests.product import ProductFailed

CPU = (
    *("gateway", "collectors", "collectors_kernel", "postgres_drain", "redis_reader", "readers_kernel"),
    *("supervisor", "postgres", "redis", "client"),
)


def report(**changes: Any) -> dict[str, Any]:
    """One in which everything holds, but for `changes` of the part `many`."""
    many = {
        "stored_per_s": 150_000,
        "bare_copy_per_s": 250_000,
        "share_of_bare_copy": 0.6,
        "posts_per_s": 7_500,
        "acknowledged": 1_000,
        "stored_count": 1_000,
        "all_stored": True,
        "latency_ms": {"p50": 3.0, "p99": 9.0, "p99.9": 20.0},
        "others_cpu_share": 0.02,
        "cpu_us_per_event": dict.fromkeys(CPU, 3.0),
    }
    about = {
        "command": "./gw bench",
        "time": "2026-11-25T00:00:00Z",
        "cores": 2,
        "core": "rust",
        "collectors": 1,
        "versions": {"python": "3.11"},
        "settings": {"seconds": 7.0},
    }
    return {"about": about, "parts": {"many": {**many, **changes}}}


def test_marks_are_held_or_missed_and_what_was_not_measured_is_not_said() -> None:
    text = "\n".join(lines(report(share_of_bare_copy=0.49)))
    assert "0.49  ≥ 0.5  MISSED  150,000 rows/s; bare COPY 250,000" in text
    assert "3  ≤ 4    holds" in text
    assert "many: acknowledged 1,000, count(*) 1,000: equal" in text
    assert "Telegraf" not in text
    assert "| rows stored, 20 a request: share of bare COPY | 0.49 | ≥ 0.5 | **missed** |" in page(
        report(share_of_bare_copy=0.49)
    )
    assert "Memory" not in page(report())


def test_a_row_too_few_is_said() -> None:
    told = report(stored_count=999, all_stored=False)
    assert not all_stored(told)
    assert "many: acknowledged 1,000, count(*) 999: NOT EQUAL" in "\n".join(lines(told))
    assert all_stored(report())


def test_every_option_is_taken() -> None:
    every = [
        "--quick",
        "--peers",
        "--long",
        "--resume",
        "--seconds",
        "1",
        "--rows",
        "1",
        "--outage",
        "1",
        "--workers",
        "1",
    ]
    with pytest.raises(SystemExit, match="no such part: none"):
        main([*every, "--only", "none"])


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, [part.name for part in USUAL]),
        ({"quick": True}, ["many", "single"]),
        ({"long": True, "peers": True}, [part.name for part in EVERY]),
        ({"peers": True}, [*(part.name for part in USUAL), "peers"]),
        ({"only": "outage,many"}, ["many", "outage"]),
    ],
)
def test_parts_are_chosen_in_their_order(options: dict[str, Any], names: list[str]) -> None:
    asked = argparse.Namespace(**{"quick": False, "peers": False, "long": False, "only": "", **options})
    assert [part.name for part in chosen(asked)] == names


def test_a_part_that_there_is_not_is_named() -> None:
    with pytest.raises(SystemExit, match="no such part: nonsense"):
        chosen(argparse.Namespace(quick=False, peers=False, long=False, only="many,nonsense"))


def test_a_drain_is_not_compared_with_a_loop_of_fewer_rows() -> None:
    check_alike([90_000, 120_000, 110_000], 100_000)
    with pytest.raises(ProductFailed, match="not to be compared"):
        check_alike([13_200, 13_000, 13_120], 2_480)
