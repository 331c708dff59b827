"""The admin port with made-up numbers: the page, its streams, and whatever routes a test wants there to be."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace, TracebackType
from typing import Any, Final, Self

import orjson
from aiohttp import web

from gateway.flow import Counts, Flow, Reading
from gateway.flow_api import FlowApi
from ingest.clock import SystemClock
from live.api import LiveApi
from live.page.serving import Page
from live.source import Sample, Unavailable
from storage.reader_status import ReaderStatus

START_S: Final = 30.0
GIB: Final = 1 << 30
HOTNESS: Final = "/v1/hotness/{content_id}"
QOE: Final = "/v1/qoe"
CAMPAIGNS: Final = "/v1/campaigns"


class StandIn:
    """`with StandIn() as there:` serves at `there.url`; its numbers may be changed at any time."""

    def __init__(self) -> None:
        self.contents: dict[str, int] = {}
        """Content → viewers."""
        self.names: dict[str, str] = {}
        """Content → what it is called."""
        self.away: Unavailable | None = None
        """Why there are no live numbers."""
        self.counts = Counts(0, 0, 0)
        """A second."""
        self.reasons: list[str] = []
        self.used_bytes = 0
        self.readers: dict[str, ReaderStatus | None] = {"postgres": reader("postgres"), "redis": reader("redis")}
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}
        """Path → status and body, of routes beyond the streams."""
        self.described: set[str] = set()
        """Routes that /openapi.json names, as it writes them."""
        self.asked: list[str] = []
        self.url = ""
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(START_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join(START_S)
        assert error is not None or not self._thread.is_alive()

    async def sample(self) -> Sample:
        """Of who watches."""
        if self.away is not None:
            raise self.away
        sample = Sample(SystemClock().now_us(), dict(self.contents))
        sample.names = dict(self.names)
        return sample

    async def flow(self) -> Flow:
        """Of what comes in."""
        reading = Reading(self.counts, self.reasons, self.readers, self.used_bytes, 8 * GIB)
        return Flow(SystemClock().now_us(), reading, self.counts)

    async def close(self) -> None:
        """Nothing is open."""

    def drop(self) -> None:
        """Cut every connection."""
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for connection in self._runner.server.connections if self._runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()

    async def _serve(self) -> None:
        self._down = asyncio.Event()
        live: Any = self
        flow: Any = SimpleNamespace(sample=self.flow, close=self.close)
        apis = LiveApi(live), FlowApi(flow)
        application = web.Application()
        for api in apis:
            application.add_routes(api.routes())
            application.on_shutdown.append(api.end_streams)
        application.add_routes(Page().routes())
        application.add_routes([web.get("/openapi.json", self._described), web.get("/{path:.*}", self._answer)])
        self._runner = runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._up.set()
        await self._down.wait()
        await runner.cleanup()

    async def _described(self, _: web.Request) -> web.Response:
        return web.json_response({"paths": {path: {} for path in self.described}})

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        absent = 404, {"error": "not_found", "message": "Not Found"}
        status, body = self.answers.get(request.path, absent)
        return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


def reader(name: str, **changes: Any) -> ReaderStatus:
    """One that runs, as of a long time to come."""
    given: dict[str, Any] = {"state": "running", "reason": "", "pid": 1, "at_us": 4_000_000_000_000_000}
    return ReaderStatus(reader=name, positions={}, **(given | changes))


def edges(*names: str) -> dict[str, Any]:
    """An answer of /v1/qoe?by=cdn_edge."""
    groups = [
        {
            "cdn_edge": name,
            "sessions": 1_234 - 100 * place,
            "starts": 1_200,
            "startup_ms": {"p50": 640 + 50 * place, "p95": 1_850 + 400 * place, "histogram": []},
            "stalls": 87 + 9 * place,
            "stalled_share": 0.0042 * (1 + place),
            "watched_s": 250_000.0,
            "playback_failures": 6,
            "playback_failure_share": 0.0051 * (1 + place),
            "exits_before_start": 3,
            "average_bitrate_kbps": 5_100.0,
            "delivery_loss_share": 0.0,
        }
        for place, name in enumerate(names)
    ]
    as_of = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    return {"by": "cdn_edge", "window": "5m", "as_of": as_of, "since": as_of, "groups": groups}


def hotness(content: str, tier: int) -> dict[str, Any]:
    """An answer of /v1/hotness/{content_id}."""
    return {"content_id": content, "hotness_score": 0.9 / tier, "replication_tier": tier}


def campaign(name: str, number: int = 1, **changes: Any) -> dict[str, Any]:
    """One of an answer of /v1/campaigns."""
    reached = 10_000 // number
    figures = {
        "impressions": reached,
        "starts": reached * 95 // 100,
        "first_quartiles": reached * 90 // 100,
        "midpoints": reached * 80 // 100,
        "third_quartiles": reached * 75 // 100,
        "completions": reached * 70 // 100,
        "clicks": reached * 2 // 100,
    }
    money = {"currency": "EUR", "budget_total": "500.00", "spent": "125.5000", "remaining_total": "374.5000"}
    known = {"campaign_id": f"00000000-0000-4000-8000-{number:012}", "name": name, "pace": 1.0}
    return known | figures | money | changes


def campaigns(*those: dict[str, Any]) -> dict[str, Any]:
    """An answer of /v1/campaigns."""
    return {"as_of": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), "campaigns": list(those)}
