"""The collector that most teams would write first: FastAPI, pydantic, asyncpg. It shares nothing with the gateway.

Two forms. SERVICE_ANSWERS=memory: an answer means that the events are in a list, which a background task writes every
200 ms. SERVICE_ANSWERS=committed: each request is written and committed before it is answered. SERVICE_DSN and
SERVICE_TABLE (SCHEMA.NAME) say where.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg
from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

FLUSH_INTERVAL_S = 0.2
SCHEMA, TABLE = os.environ.get("SERVICE_TABLE", "public.events").split(".")
COMMITS_FIRST = os.environ.get("SERVICE_ANSWERS") == "committed"
log = logging.getLogger("uvicorn.error")


class Event(BaseModel):
    event_id: UUID
    content_id: UUID
    session_id: UUID
    occurred_at: datetime
    event_type: Literal[
        "play", "pause", "seek", "buffering", "error", "completed", "heartbeat", "stop", "quality_change"
    ]
    test: bool = False
    sequence: int | None = Field(None, ge=0)
    position: int | None = Field(None, ge=0)
    duration: int | None = Field(None, ge=0)
    profile_id: UUID | None = None
    quality: str | None = Field(None, max_length=20)
    bitrate: int | None = Field(None, ge=0)
    device_type: str | None = Field(None, max_length=50)
    platform: str | None = Field(None, max_length=50)
    cdn_edge: str | None = Field(None, max_length=100)
    buffer_duration: int | None = Field(None, ge=0)
    startup_ms: int | None = Field(None, ge=0)
    error_code: str | None = Field(None, max_length=50)
    player: str | None = Field(None, max_length=100)
    app_version: str | None = Field(None, max_length=50)
    country: str | None = Field(None, min_length=2, max_length=2)
    metadata: dict[str, Any] | None = None


class Batch(BaseModel):
    sent_at: datetime | None = None
    events: list[Event] = Field(max_length=1000)


COLUMNS = [*Event.model_fields, "received_at", "sent_at"]


def records(batch: Batch) -> list[tuple[Any, ...]]:
    received_at = datetime.now(UTC)
    return [
        (
            *(event.event_id, event.content_id, event.session_id, event.occurred_at, event.event_type, event.test),
            *(event.sequence, event.position, event.duration, event.profile_id, event.quality, event.bitrate),
            *(event.device_type, event.platform, event.cdn_edge, event.buffer_duration, event.startup_ms),
            *(event.error_code, event.player, event.app_version, event.country),
            None if event.metadata is None else json.dumps(event.metadata),
            received_at,
            batch.sent_at,
        )
        for event in batch.events
    ]


class Buffer:
    """Events on their way to the database."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.waiting: list[tuple[Any, ...]] = []
        self.ending = False

    async def write(self, rows: list[tuple[Any, ...]]) -> None:
        async with self.pool.acquire() as connection:
            await connection.copy_records_to_table(TABLE, schema_name=SCHEMA, columns=COLUMNS, records=rows)

    async def flush(self) -> None:
        taken, self.waiting = self.waiting, []
        if not taken:
            return
        try:
            await self.write(taken)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            log.exception("kept for the next time")
            self.waiting[:0] = taken

    async def flush_until_the_end(self) -> None:
        while not self.ending:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            await self.flush()


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["SERVICE_DSN"]) as pool:
        app.state.buffer = buffer = Buffer(pool)
        flushing = asyncio.create_task(buffer.flush_until_the_end())
        yield
        buffer.ending = True
        await flushing


app = FastAPI(lifespan=lifespan)


@app.post("/v1/events")
async def take(batch: Batch, request: Request) -> dict[str, int]:
    buffer: Buffer = request.app.state.buffer
    if COMMITS_FIRST:
        await buffer.write(records(batch))
    else:
        buffer.waiting.extend(records(batch))
    return {"accepted": len(batch.events)}
