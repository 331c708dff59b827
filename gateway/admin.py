"""Seen from outside: /metrics of all processes, /livez, /readyz, /statusz, /openapi.json, numbers and their page."""

import asyncio
import importlib.metadata
import socket
import time
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web
from msgspec import to_builtins
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector as MetricsCollector

from gateway import door_status, ended_metrics, job_status
from gateway.admin_answer import answered
from gateway.collecting import spool_excess_bytes
from gateway.flow import FlowSource, Reading, counts
from gateway.flow_api import FlowApi
from gateway.live_numbers import source_of
from gateway.openapi import description
from gateway.reader_told import reader_told
from gateway.spool_upkeep import readers
from gateway.stage_size import stage_metrics, stage_told
from ingest.clock import SystemClock
from ingest.core import chosen
from ingest.spool.disk import FileDisk
from ingest.spool.quarantine import held
from ingest.spool.recovery import incarnations
from ingest.spool.retention import used_bytes
from ingest.spool.shortfall import noted
from live.api import LiveApi
from live.campaigns_api import CampaignsApi
from live.catalogue import Catalogue
from live.hotness_api import HotnessApi
from live.names import Names
from live.page.serving import Page
from live.quality_api import QualityApi
from live.streams_api import StreamsApi
from live.tables import Tables
from storage import reader_status
from storage.dead_letter.census import Census
from storage.reader_status import ReaderStatus

if TYPE_CHECKING:
    from gateway.supervisor import Supervisor

END_S = 0.5
"""How long an answer under way may take when the gateway has ended."""
HOLDS_NOTHING = "qoe"
"""The reader of quality of experience; of the spool's upkeep it is none."""


class Admin:
    """The admin door. Reads only; a store that is away makes nothing here wait or fail."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._supervisor = supervisor
        self._data = supervisor.data
        self._disk = FileDisk()
        self._census = Census(self._data.root)
        self._started_s = time.time()
        self._version = version()

    def application(self) -> web.Application:
        """Every route; what it needs of the event loop ends with it."""
        supervisor = self._supervisor
        tables = Tables(lambda: supervisor.stores.postgres_url)
        names = Names(tables, SystemClock())
        redis_url, settings = lambda: supervisor.stores.redis_url, lambda: supervisor.settings.redis
        source = source_of(self._data, redis_url, settings, names.of)
        live = LiveApi(source, names.of)
        quality = QualityApi(self._data.qoe_door, lambda: reader_status.read(self._data.root, "qoe"), SystemClock())
        flow = FlowApi(FlowSource(self._reading, SystemClock()))
        application = web.Application(middlewares=[answered])
        application.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/statusz", self._statusz),
                web.get("/metrics", self._metrics),
                web.get("/openapi.json", self._openapi),
                *live.routes(),
                *HotnessApi(tables).routes(),
                *CampaignsApi(tables, SystemClock()).routes(),
                *StreamsApi(source, Catalogue(tables, SystemClock())).routes(),
                *quality.routes(),
                *flow.routes(),
                *Page().routes(),
            ]
        )
        application.on_shutdown.extend((live.end_streams, flow.end_streams))
        application.on_cleanup.extend((live.close, flow.close))

        async def close(_: web.Application) -> None:
            await names.close()
            tables.close()

        application.on_cleanup.append(close)
        return application

    async def serve(self, sock: socket.socket) -> None:
        """Never returns."""
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=END_S)
        await runner.setup()
        try:
            await web.SockSite(runner, sock).start()
            await asyncio.sleep(float("inf"))
        finally:
            await runner.cleanup()

    def reader_statuses(self) -> dict[str, ReaderStatus | None]:
        """What every reader wrote last about itself; None where it has not."""
        names = (*readers(self._supervisor.settings), HOLDS_NOTHING)
        return {reader: reader_status.read(self._data.root, reader) for reader in names}

    async def _openapi(self, _: web.Request) -> web.Response:
        return web.Response(body=description(self._version), content_type="application/json")

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        reasons = await asyncio.to_thread(self._not_ready)
        return web.json_response({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    def _not_ready(self) -> list[str]:
        collectors = [child for child in self._supervisor.children if child.role == "collector"]
        reasons = []
        if self._supervisor.stop.is_set():
            reasons.append("draining")
        if not any(child.ready.is_set() for child in collectors):
            reasons.append("no_collector")
        doors = [door_status.read(self._data.run, child.index) for child in collectors if child.ready.is_set()]
        if doors and not any(door is None or door.writable for door in doors):
            reasons.append("spool_unavailable")
        if spool_excess_bytes(self._data.spool, self._disk, self._supervisor.settings.spool) >= 0:
            reasons.append("spool_full")
        return reasons

    def _reading(self) -> Reading:
        return Reading(
            counts(self._data.metrics, self._supervisor.settings.store),
            self._not_ready(),
            self.reader_statuses(),
            used_bytes(self._disk, self._data.spool),
            self._supervisor.settings.spool.quota_bytes,
        )

    async def _statusz(self, _: web.Request) -> web.Response:
        status = await asyncio.to_thread(self._status)
        return web.Response(body=orjson.dumps(status, option=orjson.OPT_INDENT_2), content_type="application/json")

    def _status(self) -> dict[str, Any]:
        not_ready = self._not_ready()
        now_us = time.time_ns() // 1_000
        dead, quarantined = self._census.count(), held(self._disk, self._data.quarantine)
        told = [reader_told(reader, status, now_us) for reader, status in self.reader_statuses().items()]
        return {
            "version": self._version,
            "core": chosen.name,
            "ready": not not_ready,
            "reasons": not_ready,
            "uptime_s": round(time.time() - self._started_s, 1),
            "schema_prepared": self._supervisor.schemas_prepared,
            "processes": self._supervisor.processes(),
            "readers": told,
            "jobs": to_builtins(job_status.read(self._data.run)),
            "spool": {
                "used_bytes": used_bytes(self._disk, self._data.spool),
                "quota_bytes": self._supervisor.settings.spool.quota_bytes,
                "incarnations": len(incarnations(self._disk, self._data.spool)),
                "quarantined_files": quarantined.files,
                "quarantined_bytes": quarantined.size_bytes,
                "missing_frames": sum(one.frames for one in noted(self._disk, self._data.quarantine)),
            },
            "stage": stage_told(self._data, self._supervisor.settings.stage.state_max_bytes),
            "dead_letters": {
                "letters": sum(count.letters for count in dead.by_reason.values()),
                "by_reason": {reason: count._asdict() for reason, count in dead.by_reason.items()},
                "unkept": dead.unkept,
                "damaged_lines": dead.damaged_lines,
                "used_bytes": dead.used_bytes,
                "quota_bytes": self._supervisor.settings.dead_letters.quota_bytes,
            },
        }

    async def _metrics(self, _: web.Request) -> web.Response:
        body = await asyncio.to_thread(self._exposition)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _exposition(self) -> bytes:
        processes = CollectorRegistry()
        self._data.metrics.mkdir(parents=True, exist_ok=True)  # somebody may have tidied up
        MultiProcessCollector(processes, path=str(self._data.metrics))  # type: ignore[no-untyped-call]
        own = CollectorRegistry()
        own.register(_Own(self._status()))
        with ended_metrics.LOCK:
            counted = generate_latest(processes)
        return counted + generate_latest(own)


class _Own(MetricsCollector):
    """What only the supervisor sees, from a status."""

    def __init__(self, status: dict[str, Any]) -> None:
        self._status = status

    def collect(self) -> list[Metric]:
        status, spool = self._status, self._status["spool"]
        restarts = CounterMetricFamily(
            "ingest_child_restarts", "Child processes started again.", labels=["role", "index"]
        )
        for process in status["processes"]:
            restarts.add_metric([process["role"], str(process["index"])], process["restarts"])
        up = GaugeMetricFamily("ingest_reader_up", "1 while a reader delivers.", labels=["reader"])
        lost = GaugeMetricFamily(
            "ingest_reader_rebuild_needed", "1 until a lost or cut loose reader is rebuilt.", labels=["reader"]
        )
        for reader in status["readers"]:
            lost.add_metric([reader["reader"]], float(reader["state"] == "rebuild_needed"))
            up.add_metric([reader["reader"]], float(reader["state"] == "running"))
        return [
            restarts,
            up,
            lost,
            GaugeMetricFamily("ingest_ready", "1 while the door is open.", value=float(status["ready"])),
            GaugeMetricFamily("ingest_spool_used_bytes", "Size of all segments.", value=spool["used_bytes"]),
            GaugeMetricFamily("ingest_spool_quota_bytes", "What they may grow to.", value=spool["quota_bytes"]),
            GaugeMetricFamily(
                "ingest_quarantined_bytes", "Damaged bytes set aside, as found.", value=spool["quarantined_bytes"]
            ),
            GaugeMetricFamily("ingest_quarantined_files", "Damaged places.", value=spool["quarantined_files"]),
            GaugeMetricFamily(
                "ingest_spool_missing_frames",
                "Promised by watermarks, and not on disk when their incarnation was ended.",
                value=spool["missing_frames"],
            ),
            *stage_metrics(status["stage"]),
            *_dead_letters(status["dead_letters"]),
        ]


def _dead_letters(dead: dict[str, Any]) -> list[Metric]:
    letters = GaugeMetricFamily(
        "ingest_dead_letters", "Dead letters kept, neither replayed nor dropped.", labels=["reason"]
    )
    sizes = GaugeMetricFamily("ingest_dead_letters_bytes", "Size of those letters.", labels=["reason"])
    for reason, count in dead["by_reason"].items():
        letters.add_metric([reason], count["letters"])
        sizes.add_metric([reason], count["size_bytes"])
    unkept = CounterMetricFamily(
        "ingest_dead_letters_unkept", "Dead letters past the quota, ever: counted, not kept.", labels=["reason"]
    )
    for reason, number in dead["unkept"].items():
        unkept.add_metric([reason], number)
    return [
        letters,
        sizes,
        unkept,
        GaugeMetricFamily("ingest_dead_letters_damaged_lines", "Lines that are none.", value=dead["damaged_lines"]),
        GaugeMetricFamily("ingest_dead_letters_used_bytes", "Size of their files.", value=dead["used_bytes"]),
        GaugeMetricFamily("ingest_dead_letters_quota_bytes", "What they may grow to.", value=dead["quota_bytes"]),
    ]


def version() -> str:
    """Of the installed distribution; "unknown" when the sources run without one."""
    try:
        return importlib.metadata.version("streamverse-ingest")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
