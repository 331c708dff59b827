"""Three nodes, replication 3, steady load: whatever happens to one of them at a time, or to most of them for a while,
nothing acknowledged is lost, no event is in any table twice, and no player is refused.

A minute of it, or ten with `./gw test --cluster`; INGEST_SCYLLA_DRIVER=cassandra is the same by the other driver.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gateway.cql import Ring
from loadtests.ledger import Ledger
from loadtests.reconcile import reconcile_when_drained
from tests.acceptance.audience import Audience
from tests.acceptance.client import eventually
from tests.acceptance.gateway_process import Gateway, let_others_through
from tests.acceptance.ring_storm import CALM_S, Storm
from tests.acceptance.steady_player import SteadyPlayer

pytestmark = pytest.mark.alone

MINUTE_S: Final = 60.0
LONG_S: Final = 600.0
VIEWERS: Final = 60
"""In ten minutes; half of them in one: of a slow hour of two cores three nodes take less than these send."""
PACE: Final = 60
DRAINED_S: Final = 120.0


@pytest.fixture
def gateway(ring: Ring, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that stores there."""
    let_others_through(tmp_path)
    (tmp_path / "data").mkdir()
    environment = {
        "INGEST_STORE": "scylla",
        "INGEST_SCYLLA_CONTACT_POINTS": ring.contact_points,
        "INGEST_SCYLLA_PORT": str(ring.plan.port),
        "INGEST_SCYLLA_REPLICATION": "3",
    }
    with Gateway(tmp_path / "data", environment=environment) as made:
        made.start()
        yield made.wait_ready()


def test_nothing_is_lost_doubled_or_refused_while_nodes_fall(
    gateway: Gateway, ring: Ring, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    is_long = request.config.getoption("--cluster")
    storm_s, viewers = (LONG_S, VIEWERS) if is_long else (MINUTE_S, VIEWERS // 2)
    url = gateway.endpoints["http"]
    with (
        Audience(tmp_path, url, number=0, viewers=viewers, pace=PACE) as crowd,
        SteadyPlayer(url, tmp_path / "steady.ledger") as player,
    ):
        storm = Storm(gateway, ring, crowd, player)
        crowd.acknowledged_more(CALM_S)
        rounds = storm.blow(storm.begun_s + storm_s)
        storm.tell(f"{rounds} rounds over")
    ledger = Ledger.read([crowd.ledger, player.ledger])
    assert not ledger.unanswered(), "every request is resent until it is answered"

    eventually(lambda: storm.lag() == 0, DRAINED_S, "all delivered")
    wanted = reconcile_when_drained(ledger, gateway.endpoints, own_contents_only=False, wait_s=DRAINED_S)
    report = asyncio.run(wanted)
    assert report.equal, "\n".join([*storm.said, report.text(), gateway.log_tail()])
    assert report.acknowledged == ledger.acknowledged_rows() > 1_000
    storm.tell(report.text())
    print("\n".join(["", *storm.said]))
    verified = gateway.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
