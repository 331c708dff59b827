"""Frames of ad events are the store's alone: who reads playback takes them for nothing."""

import pytest

from storage import watch
from storage.qoe import sign as quality
from storage.redis.sign import Batch, batches
from storage.sink import Slice
from tests.ads import ads_frame, an_ad
from tests.signs import DAY, NOW
from tests.spooled import Spooled, rows_of

pytestmark = pytest.mark.usefixtures("each_core")


def test_readers_of_playback_find_nothing_in_ad_events() -> None:
    ads, with_playback, spooled = ads_frame([an_ad(), an_ad(event="start")]), rows_of(2), Spooled()
    alone, mixed, playback = spooled.slice(ads), spooled.slice(ads, with_playback, ads), spooled.slice(with_playback)
    assert watch.gathered([alone]) == watch.gathered([])
    assert watch.gathered([mixed]) == watch.gathered([playback])
    assert quality.read_frames(alone.frames, 0) == ([], 0)
    assert quality.read_frames(mixed.frames, 0) == quality.read_frames(playback.frames, 0)

    def counted(one: Slice) -> list[Batch]:
        return [batch._replace(positions=b"", frames=0) for batch in batches([one], NOW, DAY)]

    assert counted(mixed) == counted(playback)
    assert [(batch.views, batch.sessions, batch.rows) for batch in counted(alone)] == [(b"", b"", 0)]
