"""Receive, in general: aiohttp reads whatever HTTP/1 a client speaks. `ingest.lean` reads the plain case alone, faster.

The order of lines in `_take` is the guarantee: admit, read, put on disk, and only then answer.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.client_exceptions import ClientError
from aiohttp.http_exceptions import PayloadEncodingError
from multidict import CIMultiDict

from config.settings import HttpSettings
from ingest import browser_module, cmcd_report, cors, pixel
from ingest.admission import BODY_TOO_LARGE
from ingest.answer import Answer, refusal
from ingest.asked import Asked
from ingest.connection import SERVER, Server, server
from ingest.intake import EVENTS_PATH, AnyHead, Intake
from ingest.plain import EVENTS_PREFLIGHT
from ingest.refusal import Refusal

ORIGINS_REMEMBERED_MAX: Final = 1_024
END_IN_DOUBT: Final = refusal(
    400, "invalid_http", "A body has a Content-Length, or, in HTTP/1.1, comes in chunks and in no other coding."
)
"""Its connection ends: what follows may be a body or a request."""
_BROKEN: Final = (ClientError, PayloadEncodingError, web.RequestPayloadError, ConnectionError)
"""What aiohttp raises for a body that will not come to its end."""


class Origins(dict[cors.Named, CIMultiDict[str]]):
    """Headers that every answer to an origin carries, made once an origin; bounded."""

    def __missing__(self, origin: cors.Named) -> CIMultiDict[str]:
        if len(self) >= ORIGINS_REMEMBERED_MAX:
            self.clear()
        made = self[origin] = CIMultiDict(cors.headers(origin) | {"Server": SERVER})
        return made


class General:
    """The door by aiohttp."""

    def __init__(self, intake: Intake, http: HttpSettings) -> None:
        self._intake = intake
        self._http = http
        self._cors = Origins()

    def protocol_factory(self) -> Server:
        """What a listening socket needs to make connections."""
        return server(self._answer, self._http)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        intake = self._intake
        started_s = intake.clock.monotonic_s()
        asked = Asked.of(request, self._http.country_header)
        path = asked.path
        try:
            judge_coding(request)
            if path == EVENTS_PATH and request.method == "OPTIONS":
                answer = intake.preflight(asked, EVENTS_PREFLIGHT)
            elif path == EVENTS_PATH and request.method == "POST":
                answer = await self._take(request, asked.last)
            elif path == pixel.PATH:
                answer = await self._pixel(request, asked.last)
            elif path == cmcd_report.PATH:
                answer = await self._report(request, asked.last)
            elif path == browser_module.PATH and request.method in ("GET", "HEAD"):
                answer = _module(request)
            else:
                answer = _elsewhere(path)
        except Refusal as refused:
            answer = intake.refusal(refused)
        intake.tally.answered(path or "other", answer.status, intake.clock.monotonic_s() - started_s)
        headers = CIMultiDict(self._cors[intake.named(asked, answer)])
        if answer.headers:
            headers.update(answer.headers)
        if answer.status in (204, 304):
            response = web.Response(status=answer.status, headers=headers)
        else:
            headers["Content-Type"] = answer.media
            response = web.Response(status=answer.status, body=answer.body, headers=headers)
        last = answer is END_IN_DOUBT or answer is cmcd_report.UNREAD
        if last or path == browser_module.PATH or intake.closes(answer):
            response.force_close()
        return response

    async def _pixel(self, request: web.BaseRequest, head: AnyHead) -> Answer:
        method = request.method
        if method == "OPTIONS":
            return pixel.PREFLIGHT
        if method not in ("GET", "HEAD", "POST"):
            raise _not_allowed("Pixels are fetched.", cors.PIXEL_METHODS)
        if "Expect" in request.headers:
            await _continue(request)
        await self._read_away(request)
        told, on_disk = _told_later()
        return self._intake.take(head, b"", 0, told) or await on_disk

    async def _report(self, request: web.BaseRequest, head: AnyHead) -> Answer:
        if request.method == "OPTIONS":
            return cmcd_report.PREFLIGHT
        if request.method not in ("GET", "POST"):
            raise _not_allowed("CMCD is posted, or fetched.", cors.CMCD_METHODS)
        try:
            return await self._take(request, head)
        except Refusal as refused:
            raise cmcd_report.told_softly(refused) from None

    async def _take(self, request: web.BaseRequest, head: AnyHead) -> Answer:
        self._intake.admit(head, _length_bytes(request))
        if "Expect" in request.headers:
            await _continue(request)
        raw, arrived_bytes = await self._read(request)
        told, on_disk = _told_later()
        return self._intake.take(head, raw, arrived_bytes, told) or await on_disk

    async def _read_away(self, request: web.BaseRequest) -> None:
        """A body that says nothing. Raises Refusal when it is no small one, or does not come."""
        content, left_bytes = request.content, pixel.BODY_MAX_BYTES
        try:
            async with asyncio.timeout(self._http.body_timeout_s):
                while chunk := await content.readany():
                    if (left_bytes := left_bytes - len(chunk)) < 0:
                        message = f"A pixel says all in its URL; its body is at most {pixel.BODY_MAX_BYTES} bytes."
                        raise Refusal(refusal(413, BODY_TOO_LARGE, message), BODY_TOO_LARGE)
        except TimeoutError:
            raise self._intake.stalled("body") from None
        except _BROKEN as error:
            raise _broken_off(error) from None

    async def _read(self, request: web.BaseRequest) -> tuple[bytes, int]:
        """The body as it was sent, and how much of it was booked as it came. Raises Refusal.

        Bytes beyond the cap or the budget are not kept in memory.
        """
        content = request.content
        received_bytes = 0
        try:
            if content.is_eof():  # arrived with its head: the usual case
                raw = content.read_nowait(-1)
                if len(raw) > self._http.body_max_bytes:
                    raise self._intake.refused(BODY_TOO_LARGE)
                return raw, 0
            chunks: list[bytes] = []
            async with asyncio.timeout(self._http.body_timeout_s):
                while chunk := await content.readany():
                    if received_bytes + len(chunk) > self._http.body_max_bytes:
                        raise self._intake.refused(BODY_TOO_LARGE)
                    self._intake.arrive(len(chunk))
                    received_bytes += len(chunk)
                    chunks.append(chunk)
            arrived_bytes, received_bytes = received_bytes, 0
            return b"".join(chunks), arrived_bytes
        except TimeoutError:
            raise self._intake.stalled("body") from None
        except _BROKEN as error:
            raise _broken_off(error) from None
        finally:
            if received_bytes:
                self._intake.drop(received_bytes)


def judge_coding(request: web.BaseRequest) -> None:
    """Raises Refusal for a Transfer-Encoding that says anything but `chunked`, or says it in HTTP/1.0 (RFC 9112 §6.1).

    aiohttp's parser takes the last coding for all of them; it refuses whatever does not end in chunks, and two lines.
    """
    coding = request.headers.get("Transfer-Encoding")
    if coding is not None and (coding.lower() != "chunked" or request.version != HttpVersion11):
        raise Refusal(END_IN_DOUBT, "invalid_http")


def _length_bytes(request: web.BaseRequest) -> int | None:
    """As announced. Raises Refusal for a number with more digits than Python reads."""
    try:
        return request.content_length
    except ValueError:
        raise Refusal(refusal(400, "invalid_http", "The Content-Length cannot be read."), "invalid_http") from None


def _broken_off(error: Exception) -> Refusal:
    return Refusal(refusal(400, "invalid_http", f"The body broke off: {error}"), "invalid_http")


def _module(request: web.BaseRequest) -> Answer:
    headers = request.headers
    return browser_module.answer(
        request.path, headers.get("Accept-Encoding", ""), ",".join(headers.getall("If-None-Match", []))
    )


def _told_later() -> tuple[Callable[[Answer], None], asyncio.Future[Answer]]:
    """What to call with an answer, and what waits for it."""
    on_disk: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def told(answer: Answer) -> None:
        if not on_disk.done():  # cancelled with its connection
            on_disk.set_result(answer)

    return told, on_disk


def _elsewhere(path: str) -> Answer:
    """Another path, or another method. Raises Refusal, always."""
    if not path:
        raise Refusal(refusal(404, "not_found", f"Events go to {EVENTS_PATH}."), "not_found")
    if path == browser_module.PATH:
        raise _not_allowed("The module is fetched.", browser_module.METHODS)
    raise _not_allowed("Events are posted.", cors.METHODS)


def _not_allowed(message: str, methods: str) -> Refusal:
    answer = refusal(405, "method_not_allowed", message)
    return Refusal(answer._replace(headers=(("Allow", methods),)), "method_not_allowed")


async def _continue(request: web.BaseRequest) -> None:
    """Tell a client that asked (RFC 9110 §10.1.1) to send its body, now that it is admitted. Raises Refusal (417)."""
    if request.headers["Expect"].lower() != "100-continue":
        message = "Only 100-continue can be expected."
        raise Refusal(refusal(417, "expectation_failed", message), "expectation_failed")
    if not request.content.is_eof():
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun
