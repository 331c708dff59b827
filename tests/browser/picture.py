"""The picture of the page that README shows: a gateway of its own under a small crowd, one PNG of each light.

`./gw picture` writes docs/page-light.png and docs/page-dark.png. The crowd's contents are put into the catalogue, and
hotness is scaled to so small a crowd, so that there are contents of every tier. Ads were shown for half a day.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from loadtests.ads import breaks
from loadtests.catalogue import catalogue
from loadtests.product import ROOT
from tests import needs
from tests.acceptance.audience import SEED, Audience
from tests.acceptance.client import JSON, ask, sql
from tests.acceptance.gateway_process import Gateway
from tests.browser.chromium import Chromium

VIEWERS: Final = 400
PACE: Final = 12  # seconds of film a second
SECONDS: Final = 150.0  # more than two turns of the hotness job
SCALED: Final = {"INGEST_HOTNESS_DIVISOR": str(VIEWERS // 2)}
WIDTH_PX: Final = 1280
CATALOGUED: Final = "INSERT INTO content (id, type, title) SELECT id, 'movie', 'played' FROM unnest($1::uuid[]) AS id"
ADS_SHOWN: Final = 3_000
ADS_A_POST: Final = 100
SETTLED_S: Final = 2.0
SIZE_MAX_BYTES: Final = 300_000


def take(directory: Path, seconds: float, pictures: Path) -> list[Path]:
    """Play, wait, and take one picture of each light into `pictures`."""
    with (
        Gateway(directory / "data", environment=SCALED) as gateway,
        Chromium() as browser,
    ):
        gateway.start()
        gateway.wait_ready()
        ids = [content.content_id for content in catalogue(SEED)]
        sql(gateway.endpoints["postgres"], CATALOGUED, ids)
        advertise(gateway)
        taken = []
        with Audience(directory, gateway.endpoints["http"], number=0, viewers=VIEWERS, pace=PACE):
            pages = {name: browser.page(width_px=WIDTH_PX, dark=name == "dark") for name in ("light", "dark")}
            for page in pages.values():
                page.open(gateway.endpoints["admin"] + "/")
            time.sleep(seconds)
            for name, page in pages.items():
                page.shape(WIDTH_PX, page.evaluate("document.documentElement.scrollHeight"))
                time.sleep(SETTLED_S)
                taken.append(pictures / f"page-{name}.png")
                page.picture(taken[-1])
        return taken


def advertise(gateway: Gateway) -> None:
    """The campaigns, and the ads of the half day that they have run for."""
    now = datetime.now(UTC)
    for order in breaks.ORDERS:
        sql(gateway.endpoints["postgres"], breaks.ORDER_SQL, *breaks.order_values(order, now))
    rng, now_ms = random.Random(SEED), int(now.timestamp() * 1_000)
    began_ms = now_ms - int(breaks.BEGAN.total_seconds() * 1_000)
    for _ in range(0, ADS_SHOWN, ADS_A_POST):
        shown = [breaks.shown(rng, rng.randrange(began_ms, now_ms - 60_000)) for _ in range(ADS_A_POST)]
        body = json.dumps([event for events in shown for event in events]).encode()
        answer = ask(gateway.url + "/v1/events", "POST", body, JSON)
        assert answer.status == 200, answer.text


def main() -> int:
    """0 when both were taken and are small enough to be kept."""
    parser = argparse.ArgumentParser(prog="./gw picture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the crowd before the pictures are taken")
    parser.add_argument("--to", type=Path, default=ROOT / "docs", help="directory of the pictures")
    options = parser.parse_args()
    if needs.browser() is None:
        needs.install("chromium", "fonts-inter")
    made = Path(tempfile.mkdtemp(prefix="streamverse-picture-"))
    made.chmod(0o755)  # the embedded PostgreSQL may have to run as another user
    (made / "data").mkdir()
    try:
        taken = take(made, options.seconds, options.to)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    for path in taken:
        print(f"{path}: {path.stat().st_size:,} bytes")
    return int(any(path.stat().st_size > SIZE_MAX_BYTES for path in taken))


if __name__ == "__main__":
    sys.exit(main())
