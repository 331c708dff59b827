"""The demonstration's ads: what is refused, and an event that is missing, is no equality."""

import asyncio

import pytest
from aiohttp import web

from gateway.demo_ads import Ads, Count


async def shown_to(status: int, rejected: int) -> Ads:
    """A gateway that answers all posts so; until the first one is answered."""
    stop = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        events = len(await request.json())
        stop.set()
        return web.json_response({"accepted": events - rejected, "duplicates": 0, "rejected": rejected}, status=status)

    gateway = web.Application()
    gateway.router.add_post("/v1/events", answer)
    runner = web.AppRunner(gateway)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    ads = Ads({"http": f"http://127.0.0.1:{runner.addresses[0][1]}"}, 1)
    await ads.show(stop)
    await runner.cleanup()
    return ads


@pytest.mark.parametrize(("status", "rejected"), [(400, 0), (200, 1)])
def test_what_is_refused_for_good_is_no_equality(status: int, rejected: int) -> None:
    ads = asyncio.run(shown_to(status, rejected))
    assert ads.refused == 1 and ads.promised == Count()
    assert not any(map(ads.is_equal, (Count(), ads.posted)))


def test_all_events_of_what_was_promised_have_to_be_there_and_no_others() -> None:
    ads = asyncio.run(shown_to(200, 0))
    impressions, events = ads.promised
    assert ads.promised == ads.posted and impressions == 3 and events > 2 * impressions
    assert ads.is_equal(ads.promised)
    for held in ((impressions - 1, events), (impressions, events - 1), (impressions + 1, events), (3, events + 1)):
        assert not ads.is_equal(Count(*held))


def test_what_is_refused_for_now_is_neither_promised_nor_refused() -> None:
    ads = asyncio.run(shown_to(503, 0))
    assert ads.promised == Count() and not ads.refused and ads.is_equal(Count())
