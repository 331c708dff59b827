"""`./gw load final`: everybody comes, pauses and goes at once, and every event of theirs is a row or a reason."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg

from loadtests.product import ROOT
from tests.acceptance.gateway_process import Gateway

TIMEOUT_S = 240.0  # what differs is looked at for a while, and then told


async def _count(postgres_url: str, condition: str) -> int:
    postgres = await asyncpg.connect(postgres_url)
    try:
        return int(await postgres.fetchval(f"SELECT count(*) FROM playback_events WHERE {condition}"))
    finally:
        await postgres.close()


def test_a_final_is_played_reported_and_all_of_it_is_in_the_table(
    make_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    gateway = make_gateway()
    gateway.start()
    gateway.wait_ready()
    report = tmp_path / "final.html"
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "gw"),
            "load",
            "final",
            "--users",
            "30",
            "--seconds",
            "8",
            "--endpoints",
            str(gateway.data_dir / "endpoints.json"),
            "--html",
            str(report),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    names, figures, *_ = done.stdout.splitlines()
    told = dict(zip(names.replace(" ms", "_ms").split(), figures.replace(",", "").split(), strict=True))
    assert told["verify"] == "agrees"
    assert (told["missing"], told["doubled"], told["miscounted"], told["unanswered"]) == ("0",) * 4
    stored = asyncio.run(_count(gateway.endpoints["postgres"], "true"))
    assert int(told["stored"]) == stored > 60  # a play and a pause at least
    assert int(told["acknowledged"]) > stored  # heartbeats are no rows
    assert asyncio.run(_count(gateway.endpoints["postgres"], "event_type = 'pause'")) >= 25
    assert report.stat().st_size > 100_000
    assert "/v1/events envelope" in report.read_text()
