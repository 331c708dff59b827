"""What the readers' process does beside the flow: APScheduler wakes jobs, and PostgreSQL says whether they are due.

    ad_campaigns         every 2 s      what campaigns reached and cost, for ad servers (ad_campaigns_job.py)
    live_channels        every 4 s      viewer_count and is_live (live_channels_job.py)
    content_hotness      every minute   scores, tiers and TTLs (hotness_job.py)
    content_popularity   every day      its refresh, which readers do not wait for
    ad_retention         every day      impressions that are over go

Each has its turns once in a cluster (storage/postgres/job.py). A store that is away delays them, and is told once. What
became of the last turn is in ingest_jobs, in the metrics, and, of this gateway's, in DATA/run/jobs.json and /statusz.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from config.settings import Settings
from gateway import job_status
from gateway.ad_campaigns_job import EVERY_S as CAMPAIGNS_EVERY_S
from gateway.ad_campaigns_job import AdCampaignsJob
from gateway.hotness_job import EVERY_S as HOTNESS_EVERY_S
from gateway.hotness_job import HotnessJob
from gateway.job_status import JobStatus
from gateway.layout import DataDir
from gateway.live_channels_job import EVERY_S as CHANNELS_EVERY_S
from gateway.live_channels_job import NAME as CHANNELS
from gateway.live_channels_job import LiveChannelsJob
from gateway.live_numbers import source_of
from ingest.clock import SystemClock
from storage import metrics
from storage.postgres.ad_retention import AdRetention
from storage.postgres.job import STATEMENTS, Job, Turn
from storage.sink import StoreError

log: Any = structlog.get_logger()

FIRST_AFTER_S: Final = 10.0
"""The start: stores and readers have come up by then."""
DAY_S: Final = 86_400.0
DAILY_LOOK_S: Final = 600.0
"""A job that is due once a day is asked for more often: the gateway whose turn it would be may not run then."""
REFRESH_TIMEOUT_S: Final = 3_600.0


class Jobs:
    """Turns of some jobs, told of."""

    def __init__(self, jobs: Sequence[tuple[Job, float]], run: Path) -> None:
        """`jobs`: each with how often it is asked for, in seconds. `run`: where the last outcomes are written."""
        self._jobs = jobs
        self._run = run
        self._last: dict[str, JobStatus] = {}

    async def work(self, stop: asyncio.Event) -> None:
        """Until `stop`; turns under way are cancelled then."""
        scheduler = AsyncIOScheduler(timezone=UTC)
        first = datetime.now(UTC) + timedelta(seconds=FIRST_AFTER_S)
        for job, look_s in self._jobs:
            scheduler.add_job(
                self.turn, "interval", [job], seconds=look_s, id=job.name, next_run_time=first, coalesce=True,
                max_instances=1, misfire_grace_time=None,
            )  # fmt: skip
        scheduler.start()
        try:
            await stop.wait()
        finally:
            scheduler.shutdown(wait=False)
            for job, _ in self._jobs:
                await job.close()

    async def turn(self, job: Job) -> None:
        """One look at one job. Never raises: the next one comes."""
        begun_s = time.monotonic()
        try:
            outcome = await job.turn()
        except StoreError as error:
            outcome = Turn("failed", str(error) or type(error).__name__)
        except Exception as error:  # no event is in hand: the readers go on, and the next turn comes
            log.exception("job_broken", job=job.name)
            outcome = Turn("failed", f"{type(error).__name__}: {error}")
        if outcome is not None:
            self._told(job.name, outcome, time.monotonic() - begun_s)

    def _told(self, name: str, turn: Turn, took_s: float) -> None:
        before = self._last.get(name)
        self._last[name] = JobStatus(name, turn.outcome, turn.detail, time.time_ns() // 1_000, round(took_s, 3))
        metrics.JOB_TURNS.labels(name, turn.outcome).inc()
        if turn.outcome == "done":
            metrics.JOB_SUCCESS_SECONDS.labels(name).set_to_current_time()
        if before is None or before.outcome != turn.outcome:
            tell = log.info if turn.outcome == "done" else log.warning
            tell("job", job=name, outcome=turn.outcome, detail=turn.detail, took_s=round(took_s, 3))
        job_status.write(self._run, self._last.values())


async def refresh_popularity(connection: asyncpg.Connection) -> str:
    """The daily refresh of spec §4."""
    await connection.execute(STATEMENTS["refresh_popularity"], timeout=REFRESH_TIMEOUT_S)
    return "refreshed"


async def run(settings: Settings, data: DataDir, postgres_url: str, redis_url: str, stop: asyncio.Event) -> None:
    """The gateway's jobs, until `stop`."""
    clock = SystemClock()
    source = source_of(data, lambda: redis_url, lambda: settings.redis)
    hotness = HotnessJob(source, data.root, settings.hotness, clock)
    channels = LiveChannelsJob(source)
    campaigns = AdCampaignsJob(redis_url)
    retention = AdRetention(settings.postgres.retention_days, settings.door.past_s, settings.postgres.drop_months_max)

    async def retain(connection: asyncpg.Connection) -> str:
        return await retention.run(connection, datetime.now(UTC))

    jobs = (
        (Job("ad_campaigns", CAMPAIGNS_EVERY_S, postgres_url, campaigns.run), CAMPAIGNS_EVERY_S),
        (Job(CHANNELS, CHANNELS_EVERY_S, postgres_url, channels.run), CHANNELS_EVERY_S),
        (Job("content_hotness", HOTNESS_EVERY_S, postgres_url, hotness.run), HOTNESS_EVERY_S),
        (Job("content_popularity", DAY_S, postgres_url, refresh_popularity), DAILY_LOOK_S),
        (Job("ad_retention", DAY_S, postgres_url, retain), DAILY_LOOK_S),
    )
    try:
        await Jobs(jobs, data.run).work(stop)
    finally:
        await campaigns.close()
        await source.close()
