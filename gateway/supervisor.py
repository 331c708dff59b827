"""The supervisor: owns the data directory and the listening sockets, starts stores and children, and tells of them.

A collector that dies is started again and loses nothing that was acknowledged; a reader that dies goes on at its
store's position; when the supervisor dies, its children and the embedded stores die with it.

    SIGTERM, SIGINT   end (gateway.deadline says until when); a second one skips the delay before it
    SIGHUP            replace the children, one after the other (gateway.restarting)
    SIGUSR2           replace the supervisor, in this very process (gateway.handover), then the children
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import structlog

from config.limits import START_PATIENCE_S
from config.settings import Settings, SettingsError
from gateway import handover, schema_upkeep, spool_upkeep
from gateway.admin import Admin
from gateway.child import Child
from gateway.cql_schema import CqlSchema
from gateway.deadline import Deadlines, exit_at_the_latest
from gateway.handover import Handover
from gateway.layout import DataDir
from gateway.listening import address, listen_patiently
from gateway.places import COLLECTOR, SCYLLA_DRAIN, STAGE, Places, wanted
from gateway.published import Published, write_pid
from gateway.restarting import Restarts
from gateway.role import Orders
from gateway.stores import Stores

log: Any = structlog.get_logger()

SIGNALS_SEEN_S = 0.01
"""By then the event loop has told of every signal that came before they were held back."""


class Supervisor:
    """One gateway. `run` returns when it was asked to stop and everything has ended."""

    def __init__(
        self,
        settings: Settings,
        data: DataDir,
        lock: int,
        *,
        embedded: bool,
        reload: Callable[[], Settings],
        inherited: Handover | None = None,
    ) -> None:
        """`lock` is the descriptor that holds `data`; `reload` reads the settings anew, and raises SettingsError;
        `inherited` is what the supervisor before this one handed on. Raises SettingsError when a store has no address.
        """
        self.settings = settings
        self.data = data
        self.embedded = embedded
        self.reload = reload
        self.stop = asyncio.Event()
        self.schema_prepared = asyncio.Event()
        self.cql_schema = CqlSchema(lambda: self.settings.scylla)
        self.places = Places(self._child)
        self.stores = Stores(settings, data, embedded=embedded)
        self._lock = lock
        self._inherited = inherited
        self._restarts = Restarts(self, inherited.restart if inherited else 0)
        self._restarting: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._stores_started = asyncio.Event()
        self._took_over = inherited is not None
        self._handing_on: asyncio.Future[int] | None = None
        """Its result is the number of the restart."""
        self._terminal = sys.stdin is not None and sys.stdin.isatty()

    @property
    def children(self) -> list[Child]:
        return self.places.children

    async def run(self) -> None:
        """Raises SettingsError, DataDirBusy, EmbeddedServerError when it cannot start."""
        self._listen_to_signals()
        if self._inherited is None:
            http, admin, patience_s = await self._begin()
        else:
            http, admin = (socket.socket(fileno=one) for one in (self._inherited.http, self._inherited.admin))
            patience_s = 0.0
            log.info("taken_over", children=len(self._inherited.children))
        self._http = http
        stopped = asyncio.create_task(self.stop.wait())
        while True:
            self._handing_on = asyncio.get_running_loop().create_future()
            serving = asyncio.create_task(Admin(self).serve(admin.dup()))
            work = asyncio.create_task(self._work(http, admin, patience_s))
            try:
                reasons: list[asyncio.Future[Any]] = [work, serving, stopped, self._handing_on]
                await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not self._handing_on.done() or self.stop.is_set():
                    await self._end(work, serving)
            if self.stop.is_set() or not self._handing_on.done():
                break
            await self._become_next(self._handing_on.result(), work, serving, admin)
        for task in (work, serving):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def hand_on(self, number: int) -> None:
        """Make way for the next supervisor, in restart `number`. Never returns."""
        assert self._handing_on is not None
        self._handing_on.set_result(number)
        await asyncio.Future[None]()

    async def _begin(self) -> tuple[socket.socket, socket.socket, float]:
        """The sockets, and for how long, in seconds, the remains of an earlier run may be about."""
        unclean = (self.data.run / "pid").exists()
        self.data.clear_run()
        write_pid(self.data)
        patience_s = START_PATIENCE_S if unclean else 0.0
        try:
            http = await listen_patiently(self.settings.http.host, self.settings.http.port, patience_s)
            admin = await listen_patiently(self.settings.admin.host, self.settings.admin.port, patience_s)
        except SettingsError:
            if not unclean:  # nothing was begun, so the next start has nobody to wait for
                (self.data.run / "pid").unlink(missing_ok=True)
            raise
        return http, admin, patience_s

    async def _work(self, http: socket.socket, admin_socket: socket.socket, patience_s: float) -> None:
        inherited, self._inherited = self._inherited, None
        starting = asyncio.ensure_future(self._start_stores(inherited))
        try:
            if inherited is None:
                await spool_upkeep.recover_all(self.data, patience_s)
            admin = Admin(self)
            async with (
                asyncio.TaskGroup() as running
            ):  # the door waits for no store: an embedded one may have to recover
                places = wanted(self.settings.workers, self.settings.store)
                self.places.fill(running, places, inherited.children if inherited else ())
                if self.settings.store == "scylla":
                    running.create_task(self.cql_schema.keep())
                await starting
                running.create_task(self.stores.keep_alive())
                running.create_task(
                    schema_upkeep.keep(
                        lambda: self.stores.postgres_url, lambda: self.settings, self.data, self.schema_prepared
                    )
                )
                running.create_task(spool_upkeep.keep(self.data, lambda: self.settings, admin.reader_statuses))
                for child in self.children:
                    if child.role != "readers" or self.stores.redis_known.is_set():
                        await child.ready.wait()
                doors = {"http": address(http), "admin": address(admin_socket)}  # now: they close before we end
                published = Published(self.data, lambda: {**doors, **self.stores.endpoints(self.settings)})
                published.write()
                log.info("ready", **doors)
                if not self.settings.keys.required:
                    log.warning("door_open", means="anybody may send events: set keys.required and create keys")
                running.create_task(published.keep())
                self._restarting = running.create_task(self._restarts.run(taken_over=self._took_over))
                self._took_over = False
        except BaseExceptionGroup:
            if starting.done() and not starting.cancelled() and (error := starting.exception()) is not None:
                raise error from None  # alone it says what happened
            raise
        finally:
            starting.cancel()

    async def _start_stores(self, inherited: Handover | None) -> None:
        """Those that are embedded, and what is in them. Raises EmbeddedServerError, MigrationError."""
        if inherited is not None:
            await self.stores.start(inherited.postgres, inherited.redis)
        else:
            await self.stores.start()
            if self.stores.postgres is not None:  # another's may be away
                await schema_upkeep.prepare(self.stores.postgres_url, self.settings, self.data)
        self._stores_started.set()

    async def _end(self, work: asyncio.Task[None], serving: asyncio.Task[None]) -> None:
        """Everything, in the order in which events flow; whatever hangs, within shutdown.timeout_s."""
        shutdown, deadlines = self.settings.shutdown, Deadlines.of(self.settings.shutdown)
        delay_s = shutdown.delay_s if self.stop.is_set() else 0
        exit_at_the_latest(delay_s + deadlines.exit_s, lambda: [*self.places.pids(), *self.stores.pids()])
        log.info("stopping", delay_s=delay_s)
        self.data.endpoints.unlink(missing_ok=True)
        if delay_s:  # /readyz says no, and the door is open
            await asyncio.wait([asyncio.ensure_future(self._hurry.wait())], timeout=delay_s)
        begun_s = asyncio.get_running_loop().time()
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.wait([self._restarting])
        self._http.close()
        await self.places.stop(deadlines, begun_s)
        work.cancel()
        await asyncio.wait([work])
        await self.stores.stop(begun_s + deadlines.stores_s - asyncio.get_running_loop().time())
        serving.cancel()
        await asyncio.wait([serving])
        (self.data.run / "pid").unlink(missing_ok=True)
        log.info("stopped")

    async def _become_next(
        self, number: int, work: asyncio.Task[None], serving: asyncio.Task[None], admin: socket.socket
    ) -> None:
        """Replace this program by the one on disk. Returns only if that cannot be: then all goes on as it was."""
        postgres, redis = self.stores.running()
        self._inherited = Handover(
            os.getpid(), self._http.fileno(), admin.fileno(), self._lock, number, self.places.running(), postgres, redis
        )
        self._before = self.children  # kept, so that nobody thinks that their processes are wanted no more
        for task in (work, serving):
            task.cancel()
        handover.hold_signals()
        await asyncio.wait([work, serving])
        await asyncio.sleep(SIGNALS_SEEN_S)
        if not self.stop.is_set():  # of who told us to stop before, the next supervisor would not know
            log.info("handing_on", children=len(self._before))
            try:
                handover.become(self._inherited)
            except OSError as error:
                self._restarts.failed(f"the supervisor cannot be replaced: {error}")
        handover.let_signals_through()

    @property
    def schemas_prepared(self) -> bool:
        """Of every store of the settings."""
        cql_prepared = self.settings.store == "postgres" or self.cql_schema.prepared.is_set()
        return self.schema_prepared.is_set() and cql_prepared

    def processes(self) -> list[dict[str, Any]]:
        """Every process of this gateway."""
        return [
            {"role": "supervisor", "index": 0, "pid": os.getpid(), "restarts": 0},
            *(
                {"role": child.role, "index": child.index, "pid": child.pid, "restarts": child.restarts}
                for child in self.children
            ),
            *self.stores.processes(),
        ]

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()

        def end() -> None:
            if self.stop.is_set():
                self._hurry.set()
            self.stop.set()

        def hang_up() -> None:
            if self._terminal and not sys.stdin.isatty():  # it was closed over us
                end()
            else:
                self._restarts.ask(with_supervisor=False)

        loop.add_signal_handler(signal.SIGTERM, end)
        loop.add_signal_handler(signal.SIGINT, end)
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        loop.add_signal_handler(signal.SIGUSR2, lambda: self._restarts.ask(with_supervisor=True))
        handover.let_signals_through()

    def _child(self, role: str, index: int) -> Child:
        def orders() -> Orders:
            return Orders(
                role=role,
                index=index,
                data_dir=str(self.data.root),
                parent_pid=os.getpid(),
                settings=self.settings,
                sockets=(self._http.fileno(),) if role == COLLECTOR else (),
                postgres_url=self.stores.postgres_url,
                redis_url=self.stores.redis_url,
            )

        async def before() -> None:
            if role == COLLECTOR:
                await spool_upkeep.recover_all(self.data, 0)
                return
            if role == STAGE:  # its stores are its own
                return
            if role == SCYLLA_DRAIN:
                await self.cql_schema.tried.wait()
                return
            await self._stores_started.wait()
            if role == "readers":
                await self.stores.redis_known.wait()

        return Child(role, index, orders, self.data.metrics, before)
