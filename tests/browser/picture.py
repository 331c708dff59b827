"""The picture of the page that README shows: a gateway of its own under a small crowd, one PNG of each light.

`./gw picture` writes docs/page-light.png and docs/page-dark.png. The crowd's contents are put into the catalogue, and
hotness is scaled to so small a crowd, so that there are contents of every tier.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from loadtests.catalogue import catalogue
from loadtests.product import ROOT
from tests import needs
from tests.acceptance.audience import SEED, Audience
from tests.acceptance.client import sql
from tests.acceptance.gateway_process import Gateway
from tests.browser.chromium import Chromium

VIEWERS: Final = 400
PACE: Final = 12  # seconds of film a second
SECONDS: Final = 150.0  # more than two turns of the hotness job
SCALED: Final = {"INGEST_HOTNESS_DIVISOR": str(VIEWERS // 2)}
WIDTH_PX: Final = 1280
CATALOGUED: Final = "INSERT INTO content (id, type, title) SELECT id, 'movie', 'played' FROM unnest($1::uuid[]) AS id"
SETTLED_S: Final = 2.0
SIZE_MAX_BYTES: Final = 200_000


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
