"""Receive: HTTP in, an answer out. The only file of this half, with `connection`, that knows HTTP.

The order of lines in `_take` is the guarantee: admit, read, decode, put on disk, and only then answer.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import structlog
from aiohttp import web
from aiohttp.client_exceptions import ClientError
from aiohttp.http_exceptions import PayloadEncodingError
from multidict import CIMultiDict

from config.settings import Settings
from ingest import cors
from ingest.admission import BODY_TOO_LARGE, OVERLOADED, REASONS, SPOOL_UNAVAILABLE, Admission
from ingest.answer import Answer, refusal, try_again, verdicts
from ingest.clock import Clock
from ingest.codes import CODES, UNSUPPORTED_ENCODING
from ingest.connection import SERVER, server
from ingest.decode import Limits, Undecodable, decode
from ingest.decode.body import Inflater
from ingest.spool.appender import Appender, SpoolUnavailable
from ingest.tally import Tally

log: Any = structlog.get_logger()

EVENTS_PATH = "/v1/events"
MEDIA_TYPES = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "text/plain": "text",
    "": "text",
}
"""Content types of events; a beacon's text/plain (and none at all) may be either form of JSON."""
GZIP_MAGIC = b"\x1f\x8b"
"""RFC 1952 §2.3.1; no JSON begins with it."""
CODE_INDEX = {code.name: code.index for code in CODES}


ORIGINS_REMEMBERED_MAX = 1_024


class Origins(dict[str | None, CIMultiDict[str]]):
    """Headers that every answer to an origin carries, made once an origin; bounded."""

    def __missing__(self, origin: str | None) -> CIMultiDict[str]:
        if len(self) >= ORIGINS_REMEMBERED_MAX:
            self.clear()
        made = self[origin] = CIMultiDict(cors.headers(origin) | {"Server": SERVER})
        return made


class Refusal(Exception):
    """The request ends here, with this answer."""

    def __init__(self, answer: Answer, code: str) -> None:
        self.answer = answer
        self.code = code


class Collector:
    """The door for players on one process. `chance()` is a random number in [0, 1)."""

    def __init__(
        self, settings: Settings, appender: Appender, clock: Clock, chance: Callable[[], float] = random.random
    ) -> None:
        http = settings.http
        self._http = http
        self._appender = appender
        self._clock = clock
        self._chance = chance
        self._limits = Limits.of(settings)
        self.admission = Admission(http.body_max_bytes, http.inflight_max_bytes)
        self.tally = Tally()
        self._cors = Origins()

    def protocol_factory(self) -> web.Server:
        """What a listening socket needs to make connections."""
        return server(self._answer, self._http)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        started_s = self._clock.monotonic_s()
        known = request.path == EVENTS_PATH
        try:
            if known and request.method == "OPTIONS":
                return web.Response(status=204, headers=cors.preflight(request.headers) | {"Server": SERVER})
            answer = await self._take(request) if known and request.method == "POST" else _elsewhere(known)
        except Refusal as refused:
            answer = refused.answer
            self.tally.refused(refused.code)
        self.tally.answered(EVENTS_PATH if known else "other", answer.status, self._clock.monotonic_s() - started_s)
        headers = CIMultiDict(self._cors[request.headers.get("Origin")])
        if answer.headers:
            headers.update(answer.headers)
        if answer.status == 204:
            return web.Response(status=204, headers=headers)
        headers["Content-Type"] = "application/json"
        response = web.Response(status=answer.status, body=answer.body, headers=headers)
        if answer.status in (408, 413) or self.admission.draining:
            response.force_close()
        return response

    async def _take(self, request: web.BaseRequest) -> Answer:
        headers = request.headers
        media = MEDIA_TYPES.get(headers.get("Content-Type", ""))
        if media is None:
            media = _media(headers["Content-Type"])
        length_bytes = request.content_length
        if (reason := self.admission.admit(length_bytes)) is not None:
            raise self._refused(reason)
        booked_bytes = self.admission.booked(length_bytes)
        try:
            if not self._appender.writable:
                raise self._refused(SPOOL_UNAVAILABLE)
            if "Expect" in headers:
                await _continue(request)
            dry_run = bool(request.query_string) and request.query.get("dry_run") in ("1", "true")
            country = headers.get(self._http.country_header) if self._http.country_header else None
            try:
                body = await self._read(request)
                if (inflated_bytes := len(body) - booked_bytes) > 0:
                    if not self.admission.book(inflated_bytes):
                        raise self._refused(OVERLOADED)
                    booked_bytes += inflated_bytes
                received_at_us = self._clock.now_us()
                batch = decode(body, media, received_at_us, self._limits, country=country, dry_run=dry_run)
            except Undecodable as error:
                raise _undecodable(error) from None
            if dry_run:
                return verdicts(batch, dry_run=True)
            rejected = {CODE_INDEX[code]: count for code, count in batch.rejected_by_code.items()}
            if batch.bodies:
                try:
                    await self._appender.append(batch.bodies, received_at_us, batch.duplicates, rejected)
                except SpoolUnavailable:
                    raise self._refused(SPOOL_UNAVAILABLE) from None
            elif batch.rejected:
                self._appender.note(batch.received, batch.duplicates, rejected)
        finally:
            self.admission.release(booked_bytes)
        self.tally.batch(batch)
        return verdicts(batch, minimal="return=minimal" in headers.get("Prefer", ""))

    async def _read(self, request: web.BaseRequest) -> bytes:
        """The body, inflated; gzip without its header (a beacon cannot set one) is known by its magic number.

        Bytes beyond the caps are not kept in memory.
        """
        encoding = request.headers.get("Content-Encoding")
        content = request.content
        try:
            if encoding is None and content.is_eof():  # arrived with its head: the usual case
                raw = content.read_nowait(-1)
                self.tally.body_bytes += len(raw)
                if len(raw) > self._http.body_max_bytes:
                    raise self._refused(BODY_TOO_LARGE)
                if raw[:2] != GZIP_MAGIC:
                    return raw
                inflater = Inflater("gzip", self._http.decoded_max_bytes)
                return inflater.feed(raw) + inflater.finish()
            chunks: list[bytes] = []
            received_bytes = 0
            inflater = Inflater(encoding, self._http.decoded_max_bytes)
            async with asyncio.timeout(self._http.body_timeout_s):
                while chunk := await content.readany():
                    received_bytes += len(chunk)
                    if received_bytes > self._http.body_max_bytes:
                        raise self._refused(BODY_TOO_LARGE)
                    chunks.append(chunk)
            self.tally.body_bytes += received_bytes
            # only now that it is whole: what a stalled body holds is what was booked for it, however well it deflates
            return b"".join([*map(inflater.feed, chunks), inflater.finish()])
        except TimeoutError:
            answer = refusal(
                408, "body_timeout", "The body did not arrive in time.", timeout_s=self._http.body_timeout_s
            )
            raise Refusal(answer, "body_timeout") from None
        except (ClientError, PayloadEncodingError, web.RequestPayloadError, ConnectionError) as error:
            raise Refusal(refusal(400, "invalid_http", f"The body broke off: {error}"), "invalid_http") from None

    def _refused(self, reason: str) -> Refusal:
        if reason == BODY_TOO_LARGE:
            limits = {"body_max_bytes": self._http.body_max_bytes, "events_max": self._http.events_max}
            return Refusal(refusal(413, reason, REASONS[reason], **limits), reason)
        return Refusal(try_again(503, reason, REASONS[reason], self._chance()), reason)


def _elsewhere(known: bool) -> Answer:
    """Another path, or another method. Raises Refusal, always."""
    if not known:
        raise Refusal(refusal(404, "not_found", f"Events go to {EVENTS_PATH}."), "not_found")
    answer = refusal(405, "method_not_allowed", "Events are posted.")
    raise Refusal(answer._replace(headers=(("Allow", "POST, OPTIONS"),)), "method_not_allowed")


async def _continue(request: web.BaseRequest) -> None:
    """Tell a client that asked (RFC 9110 §10.1.1) to send its body, now that it is admitted. Raises Refusal (417)."""
    if request.headers["Expect"].lower() != "100-continue":
        message = "Only 100-continue can be expected."
        raise Refusal(refusal(417, "expectation_failed", message), "expectation_failed")
    if not request.content.is_eof():
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun


def _undecodable(error: Undecodable) -> Refusal:
    answer = refusal(error.status, error.code, error.message, **error.details)
    if error.code == UNSUPPORTED_ENCODING:
        answer = answer._replace(headers=(("Accept-Encoding", "gzip, deflate, zstd"),))
    return Refusal(answer, error.code)


def _media(content_type: str) -> str:
    """The form of a body whose Content-Type has parameters or capitals. Raises Refusal for one that is not taken."""
    media = MEDIA_TYPES.get(content_type.partition(";")[0].strip().lower())
    if media is None:
        message = "Send application/json, application/x-ndjson or text/plain."
        answer = refusal(415, "unsupported_media_type", message, accepted=[name for name in MEDIA_TYPES if name])
        raise Refusal(answer, "unsupported_media_type")
    return media
