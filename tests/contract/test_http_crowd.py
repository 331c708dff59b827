"""More connections than there may be: who is idle for longest goes, who asks for more than is left is told so."""

import json

from tests.contract.http_client import until
from tests.contract.http_door import over
from tests.contract.http_request import a_request, an_event_text, chunked

REQUEST = a_request(an_event_text())
IN_CHUNKS = a_request(content_length=None, transfer_encoding="chunked") + chunked(an_event_text())


def test_beyond_four_fifths_the_longest_idle_are_closed_and_new_ones_get_in(tmp_path):
    async def scenario(door):
        clients = [await door.client() for _ in range(10)]
        await until(lambda: door.connections == 8)
        return (await (await door.client()).ask(REQUEST)).statuses, len(clients)

    assert over(tmp_path, scenario, lean=True, connections_max=10) == ([200], 10)


def test_who_is_one_too_many_for_aiohttp_is_told_overloaded_and_plain_requests_go_on(tmp_path):
    async def scenario(door):
        first, second, plain = [await door.client() for _ in range(3)]
        return await first.ask(IN_CHUNKS), await second.ask(IN_CHUNKS), await plain.ask(REQUEST)

    first, second, plain = over(tmp_path, scenario, lean=True, general_connections_max=1)
    assert first.statuses == plain.statuses == [200]
    assert second.statuses[0] == 503
    assert json.loads(second.answers[0].body)["error"] == "overloaded"
