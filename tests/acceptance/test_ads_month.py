"""`./gw truth --ads`: a month of ads through SIGKILLs, and every campaign figure is its ledger's, to the cent."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Final

from loadtests.ads import compare
from loadtests.product import ROOT

SHOWINGS: Final = 1_000
KILLS: Final = 2  # of the gateway with its stores, and as many of the drain alone
RATE_PER_S: Final = 300  # so slow that requests are under way at each of them
TIMEOUT_S: Final = 600.0  # what is not right yet is looked at for a while, and then told
KINDS: Final = {
    compare.HOUR,
    compare.HOUR_SPENT,
    compare.CAMPAIGN,
    compare.SPENT,
    compare.REPEATS,
    compare.RATE,
    compare.PACE,
    compare.TOP,
    compare.FREQUENCY,
    compare.FREQUENCY_ASKED,
    compare.IMPRESSION,
    compare.PLAYED,
    "verify",
}


def test_every_figure_of_every_campaign_is_right_after_a_month_of_ads_and_four_kills() -> None:
    options = ("--showings", str(SHOWINGS), "--kills", str(KILLS), "--rate", str(RATE_PER_S))
    done = subprocess.run(
        [sys.executable, str(ROOT / "gw"), "truth", "--ads", *options],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *rows, told, verdict = done.stdout.splitlines()[1:]
    assert verdict == "every figure is right"
    lost, killed = re.fullmatch(r"[\d,]+ requests acknowledged, ([\d,]+) tries lost, (\d+) kills", told).groups()  # type: ignore[union-attr]
    assert int(lost.replace(",", "")) > 0, "no try was cut off: the kills came when nothing was under way"
    assert int(killed) == 2 * KILLS
    table = {row[:52].strip(): [int(figure.replace(",", "")) for figure in row[52:].split()] for row in rows}
    assert set(table) == KINDS
    assert all(wrong == 0 for _, _, wrong in table.values())
    # a try that was cut off may be a repeat; there is nothing else that the ledger does not know
    assert {kind for kind, (_, bounded, _) in table.items() if bounded} <= {compare.REPEATS}, table
