"""The admin port ends a connection whose request's end is in doubt, and says nothing of those who hang up."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway.admin_answer import answered

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"


async def _ok(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _served(handler: Callable[[web.Request], Awaitable[web.StreamResponse]], data: bytes) -> bytes:
    """What a client is told until its connection ends, or for half a second."""
    application = web.Application(middlewares=[answered])
    application.add_routes([web.get("/livez", handler)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(data)
        told = b""
        try:
            async with asyncio.timeout(0.5):
                while chunk := await reader.read(65_536):
                    told += chunk
        except TimeoutError:
            pass
        writer.close()
        return told
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("path", ["/livez", "/nowhere"])
@pytest.mark.parametrize(
    "version, lines",
    [
        ("1.1", "Transfer-Encoding: gzip, chunked\r\n"),
        ("1.1", "Transfer-Encoding: ,chunked\r\n"),
        ("1.0", "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n"),
    ],
)
def test_nothing_behind_a_request_whose_end_is_in_doubt_is_read(path, version, lines):
    data = f"GET {path} HTTP/{version}\r\nHost: h\r\n{lines}\r\n0\r\n\r\n".encode() + HIDDEN
    told = asyncio.run(_served(_ok, data))
    assert told.count(b"Content-Type: ") == 1
    assert told.split(b"\r\n", 1)[0].split()[1] == b"400" and b"invalid_http" in told


def test_what_comes_in_chunks_is_answered_and_so_is_the_next():
    data = b"GET /livez HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN
    told = asyncio.run(_served(_ok, data))
    assert b"200 OK" in told and b"404 Not Found" in told and b"not_found" in told


def test_a_client_that_went_before_its_answer_began_is_no_error_of_ours():
    async def late(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    with capture_logs() as logs:
        asyncio.run(_served(late, b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"))
    assert logs == []


def test_what_breaks_is_told_in_the_log_and_to_who_asked():
    async def broken(_: web.Request) -> web.StreamResponse:
        raise RuntimeError("ours")

    with capture_logs() as logs:
        told = asyncio.run(_served(broken, b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"))
    assert b"internal_error" in told and [one["event"] for one in logs] == ["admin_broken"]
