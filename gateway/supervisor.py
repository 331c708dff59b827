"""The supervisor: owns the data directory and the listening sockets, starts stores and children, and tells of them.

A collector that dies is started again and loses nothing that was acknowledged; a reader that dies goes on at its
store's position; when the supervisor dies, its children and the embedded stores die with it.
"""

import asyncio
import errno
import os
import signal
import socket
from typing import Any

import structlog

from config.limits import START_PATIENCE_S
from config.settings import Settings, SettingsError
from gateway import schema_upkeep, spool_upkeep
from gateway.admin import Admin
from gateway.child import Before, Child
from gateway.layout import DataDir
from gateway.role import Orders
from gateway.stores import Stores

log: Any = structlog.get_logger()

BACKLOG = 4096


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingsError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise SettingsError(f"{host}:{port}: {os.strerror(error.errno or 0)}") from error
    sock.setblocking(False)
    return sock


async def listen_patiently(host: str, port: int, patience_s: float) -> socket.socket:
    """As `listen`, waiting for the remains of a killed run to let the port go."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + patience_s
    while True:
        try:
            return listen(host, port)
        except SettingsError as error:
            in_use = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
            if not in_use or loop.time() >= until_s:
                raise
            await asyncio.sleep(0.1)


def address(sock: socket.socket) -> str:
    """http://HOST:PORT as a client on this machine reaches it."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{host}:{port}"


class Supervisor:
    """One gateway. `run` returns when it was asked to stop and everything has ended."""

    def __init__(self, settings: Settings, data: DataDir, *, embedded: bool) -> None:
        """Raises SettingsError when a store has no address."""
        self.settings = settings
        self.data = data
        self.stop = asyncio.Event()
        self.schema_prepared = asyncio.Event()
        self.children: list[Child] = []
        self._embedded = embedded
        self._stores = Stores(settings, data, embedded=embedded)

    async def run(self) -> None:
        """Raises SettingsError, DataDirBusy, EmbeddedServerError when it cannot start."""
        unclean = (self.data.run / "pid").exists()
        self.data.clear_run()
        (self.data.run / "pid").write_text(f"{os.getpid()}\n")
        patience_s = START_PATIENCE_S if unclean else 0.0
        try:
            http = await listen_patiently(self.settings.http.host, self.settings.http.port, patience_s)
            admin = await listen_patiently(self.settings.admin.host, self.settings.admin.port, patience_s)
        except SettingsError:
            if not unclean:  # nothing was begun, so the next start has nobody to wait for
                (self.data.run / "pid").unlink()
            raise
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop.set)
        work = asyncio.create_task(self._work(http, admin, patience_s))
        stopped = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.data.endpoints.unlink(missing_ok=True)
            stopped.cancel()
            log.info("stopping")
            http.close()
            await asyncio.gather(*(child.stop() for child in self.children if child.role == "collector"))
            await asyncio.gather(*(child.stop() for child in self.children))
            work.cancel()
            results = await asyncio.gather(work, return_exceptions=True)
            await self._stores.stop()
            (self.data.run / "pid").unlink(missing_ok=True)
            log.info("stopped")
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    async def _work(self, http: socket.socket, admin_socket: socket.socket, patience_s: float) -> None:
        await asyncio.gather(self._stores.start(), spool_upkeep.recover_all(self.data, patience_s))
        if self._embedded:
            await schema_upkeep.prepare(self._stores.postgres_url, self.settings, self.data)
        self.children = self._make_children(http)
        admin = Admin(self)
        async with asyncio.TaskGroup() as running:
            for child in self.children:
                running.create_task(child.run())
            running.create_task(self._stores.keep_alive())
            running.create_task(
                schema_upkeep.keep(lambda: self._stores.postgres_url, self.settings, self.data, self.schema_prepared)
            )
            running.create_task(spool_upkeep.keep(self.data, self.settings, admin.reader_statuses))
            running.create_task(admin.serve(admin_socket))
            for child in self.children:
                await child.ready.wait()
            self.data.publish(self.endpoints(http, admin_socket))
            log.info("ready", http=address(http), admin=address(admin_socket))

    def endpoints(self, http: socket.socket, admin: socket.socket) -> dict[str, str]:
        """What endpoints.json holds."""
        return {
            "http": address(http),
            "admin": address(admin),
            "postgres": self._stores.postgres_url.rstrip("/"),
            "redis": self._stores.redis_url.rstrip("/"),
        }

    def processes(self) -> list[dict[str, Any]]:
        """Every process of this gateway."""
        return [
            {"role": "supervisor", "index": 0, "pid": os.getpid(), "restarts": 0},
            *(
                {"role": child.role, "index": child.index, "pid": child.pid, "restarts": child.restarts}
                for child in self.children
            ),
            *self._stores.processes(),
        ]

    def _make_children(self, http: socket.socket) -> list[Child]:
        def child(role: str, index: int, sockets: tuple[int, ...], before: Before) -> Child:
            def orders() -> Orders:
                return Orders(
                    role=role,
                    index=index,
                    data_dir=str(self.data.root),
                    parent_pid=os.getpid(),
                    settings=self.settings,
                    sockets=sockets,
                    postgres_url=self._stores.postgres_url,
                    redis_url=self._stores.redis_url,
                )

            return Child(role, index, orders, self.data.metrics, before)

        async def recover() -> None:
            await spool_upkeep.recover_all(self.data, 0)

        async def nothing() -> None:
            return

        async def redis_known() -> None:
            await self._stores.redis_known.wait()

        collectors = [child("collector", index, (http.fileno(),), recover) for index in range(self.settings.workers)]
        return [*collectors, child("postgres_drain", 0, (), nothing), child("readers", 0, (), redis_known)]
