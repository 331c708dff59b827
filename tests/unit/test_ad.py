"""An ad event's names, and its tuple: the first three columns are its identity, and nothing else is."""

from typing import Any
from uuid import UUID

import pytest

from ingest import ad
from ingest.ad import ALIASES, COUNTED_EVENTS, EVENTS, TIMED_EVENTS, AdRow

IMPRESSION = UUID("0b9a3c52-0000-4000-8000-00000000000a")
CAMPAIGN = UUID("0b9a3c52-0000-4000-8000-00000000000c")
AT_US = 1_780_000_000_123_456


def an_ad(**changes: Any) -> AdRow:
    return AdRow(IMPRESSION, "start", None, AT_US, AT_US + 2_000_000)._replace(**changes)


FULL = an_ad(
    event="progress", progress_offset="00:00:10", test=True, campaign_id=CAMPAIGN, creative_id="cré-1",
    content_id=CAMPAIGN, profile_id=IMPRESSION, session_id=CAMPAIGN, error_code="405", duration_ms=30_000,
)  # fmt: skip


@pytest.mark.parametrize("row", [an_ad(), FULL], ids=["least", "all"])
def test_an_ad_event_comes_back_from_its_tuple(row: AdRow) -> None:
    encoded = ad.encode(row)
    assert ad.decode(encoded) == row
    assert ad.impression_id(encoded) == row.impression_id.bytes
    assert ad.occurred_at_us(encoded) == row.occurred_at_us
    assert ad.received_at_us(encoded) == row.received_at_us


@pytest.mark.parametrize("cut", [0, 1, 2, 22, 30, -1])
def test_a_tuple_cut_short_is_none(cut: int) -> None:
    with pytest.raises(ValueError, match="tuple"):
        ad.walk(ad.encode(FULL)[:cut])
    with pytest.raises(ValueError, match="tuple"):
        ad.walk(ad.encode(FULL) + b"x")


def test_names_are_known_in_any_case_and_by_their_aliases() -> None:
    for name in EVENTS:
        assert ad.canonical(name) == ad.canonical(name.upper()) == ad.canonical(name.lower()) == name
    for alias, name in ALIASES.items():
        assert ad.canonical(alias.upper()) == name
        assert name in EVENTS
    assert ad.canonical("firstquartil") is None
    assert ad.canonical("") is None
    assert not set(TIMED_EVENTS) & set(COUNTED_EVENTS)
