"""The bare aiohttp server of the benchmark: takes a body, a pixel or a report, answers with a constant. What HTTP alone
costs in Python.

`python -m loadtests.bench.bare_http PORT` is one process of it; several share the port, as the gateway's collectors do.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator
from typing import Final

import uvloop
from aiohttp import web

from loadtests.product import ROOT

ANSWER: Final = b'{"accepted":1,"duplicates":0,"rejected":0}'
GIF: Final = bytes.fromhex("47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b")
START_S: Final = 15.0
STOP_S: Final = 5.0


async def _take(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=ANSWER, content_type="application/json")


async def _show(_: web.Request) -> web.Response:
    return web.Response(body=GIF, content_type="image/gif")


async def _say_nothing(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=204)


async def _serve(port: int) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    application = web.Application()
    application.router.add_post("/v1/events", _take)
    application.router.add_post("/v1/cmcd", _say_nothing)
    application.router.add_get("/v1/ad/{event}", _show)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_port=True).start()
    await ended.wait()
    await runner.cleanup()


@contextlib.asynccontextmanager
async def bare_servers(count: int) -> AsyncIterator[int]:
    """Run `count` server processes on one port until the block is left; yields the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        probe.bind(("127.0.0.1", 0))  # held, without listening, so that nobody else is given the port meanwhile
        port: int = probe.getsockname()[1]
        processes = [
            await asyncio.create_subprocess_exec(sys.executable, "-m", "loadtests.bench.bare_http", str(port), cwd=ROOT)
            for _ in range(count)
        ]
        try:
            await _listening(port, count)
            yield port
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
            for process in processes:
                try:
                    await asyncio.wait_for(process.wait(), STOP_S)
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def _listening(port: int, count: int) -> None:
    """Wait until `count` sockets listen on `port`; raises TimeoutError."""
    wanted = f"0100007F:{port:04X} 00000000:0000 0A"  # 127.0.0.1:port, no peer, state LISTEN
    async with asyncio.timeout(START_S):
        while True:
            with open("/proc/net/tcp") as sockets:  # noqa: ASYNC230 (a file of the kernel)
                if sum(wanted in line for line in sockets) == count:
                    return
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
