"""Every promise of an answer survives SIGKILL of every process, stores included, twice in the middle of a crowd."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loadtests.crowd_process import CrowdProcess
from loadtests.ledger import Ledger
from loadtests.reconcile import reconcile_when_drained

if TYPE_CHECKING:
    from tests.acceptance.gateway_process import Gateway

CROWDS: Final = 3
VIEWERS: Final = 60  # in each
SEED: Final = 20_261_122
PACE: Final = 60
BEFORE_EACH_KILL_S: Final = 5.0
DOWN_S: Final = 1.0
AFTER_THE_LAST_START_S: Final = 6.0
RESEND_S: Final = 60.0
DRAIN_S: Final = 60.0


def test_what_was_acknowledged_is_stored_once_and_counted_once_after_two_kills(
    make_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    gateway = make_gateway()
    gateway.start()
    gateway.wait_ready()
    killed = asyncio.run(_crowd_through_two_kills(gateway, tmp_path))
    assert all(len(pids) >= 7 for pids in killed), f"supervisor, collector, two readers, stores: {killed}"

    ledger = Ledger.read(sorted(tmp_path.glob("*.ledger")))
    assert ledger.lost > 0, "no try was cut off: the kills came when nothing was under way"
    assert not ledger.unanswered(), "every request is resent until it is answered"
    assert ledger.acknowledged_rows() > 200, ledger.statuses

    report = asyncio.run(reconcile_when_drained(ledger, gateway.endpoints, own_contents_only=False, wait_s=DRAIN_S))
    assert report.equal, report.text() + "\n" + gateway.log_tail()
    assert report.views > 20

    verified = gateway.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


async def _crowd_through_two_kills(gateway: Gateway, directory: Path) -> list[list[int]]:
    """Play the crowds from processes of their own; returns the pids of each kill."""
    crowds = [
        await CrowdProcess.start(
            number,
            directory,
            gateway.endpoints["http"],
            viewers=VIEWERS,
            seed=SEED,
            pace=PACE,
            resend=RESEND_S,
            hang_up_share=0.02,
        )
        for number in range(CROWDS)
    ]
    killed = []
    try:
        for _ in range(2):
            await _acknowledged_more(crowds, BEFORE_EACH_KILL_S)
            killed.append(await asyncio.to_thread(gateway.kill_everything))
            await asyncio.sleep(DOWN_S)
            gateway.start()
            await asyncio.to_thread(gateway.wait_ready)
        await _acknowledged_more(crowds, AFTER_THE_LAST_START_S)
    finally:
        await asyncio.gather(*(crowd.end(RESEND_S + 15) for crowd in crowds))
    for crowd in crowds:
        assert crowd.process.returncode == 0, crowd.log.read_text()
    return killed


async def _acknowledged_more(crowds: list[CrowdProcess], seconds: float) -> None:
    """Let `seconds` pass, and at least until every crowd was acknowledged something new."""
    before = [crowd.figures.get("acknowledged", 0) for crowd in crowds]
    deadline = time.monotonic() + 30
    await asyncio.sleep(seconds)
    while any(crowd.figures.get("acknowledged", 0) <= was for crowd, was in zip(crowds, before, strict=True)):
        assert time.monotonic() < deadline, f"nothing acknowledged: {[crowd.figures for crowd in crowds]}"
        assert all(crowd.process.returncode is None for crowd in crowds), [crowd.log.read_text() for crowd in crowds]
        await asyncio.sleep(0.1)
