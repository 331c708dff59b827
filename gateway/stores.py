"""The stores a gateway works with: embedded ones it starts and keeps alive, or real ones by their URLs."""

import asyncio
from typing import Any

import structlog

from config.settings import Settings, SettingsError
from gateway.embedded.postgres import EmbeddedPostgres
from gateway.embedded.server import EmbeddedServerError
from gateway.embedded.valkey import EmbeddedValkey
from gateway.handover import RunningServer
from gateway.layout import DataDir

log: Any = structlog.get_logger()

RESTART_PAUSE_S = 1.0


class Stores:
    """URLs of PostgreSQL and Redis, valid after `start`."""

    def __init__(self, settings: Settings, data: DataDir, *, embedded: bool) -> None:
        """Raises SettingsError when a store has no URL and none is embedded."""
        self.postgres_url = settings.postgres.url
        self.redis_url = settings.redis.url
        self.postgres = EmbeddedPostgres(data.root) if embedded and not self.postgres_url else None
        memory_max_bytes = settings.redis.embedded_memory_max_bytes
        valkey = EmbeddedValkey(data.root, memory_max_bytes=memory_max_bytes)
        self.redis = valkey if embedded and not self.redis_url else None
        self.redis_known = asyncio.Event()
        """The readers can begin."""
        self._restarts = {"postgres": 0, "redis": 0}
        if not embedded:
            self.address(settings)

    def address(self, settings: Settings) -> None:
        """Take the URLs of those that are not ours. Raises SettingsError when one has none; then nothing is taken."""
        if (self.postgres is None and not settings.postgres.url) or (self.redis is None and not settings.redis.url):
            raise SettingsError("set INGEST_POSTGRES_URL and INGEST_REDIS_URL, or start with --embedded")
        if self.postgres is None:
            self.postgres_url = settings.postgres.url
        if self.redis is None:
            self.redis_url = settings.redis.url

    async def start(
        self, postgres_running: RunningServer | None = None, redis_running: RunningServer | None = None
    ) -> None:
        """Start the embedded ones, beside each other; those that run already are adopted. Raises
        EmbeddedServerError.
        """

        async def postgres() -> None:
            if self.postgres is not None and postgres_running is not None:
                self.postgres_url = self.postgres.adopt(postgres_running.pid, postgres_running.port)
                self._restarts["postgres"] = postgres_running.restarts
            elif self.postgres is not None:
                self.postgres_url = await self.postgres.start()

        async def redis() -> None:
            if self.redis is not None and redis_running is not None:
                self.redis_url = self.redis.adopt(redis_running.pid, redis_running.port)
                self._restarts["redis"] = redis_running.restarts
            elif self.redis is not None:
                try:
                    self.redis_url = await self.redis.start()
                except EmbeddedServerError as error:  # derivable: never stops the intake; `keep_alive` tries again
                    log.error("embedded_server_start_failed", server="EmbeddedValkey", error=str(error))
            if self.redis_url:
                self.redis_known.set()

        await asyncio.gather(postgres(), redis())

    async def keep_alive(self) -> None:
        """Start again, at the same address, what dies unasked. Never returns."""
        async with asyncio.TaskGroup() as watching:
            for role, server in (("postgres", self.postgres), ("redis", self.redis)):
                if server is not None:
                    watching.create_task(self._keep(role, server))
            watching.create_task(asyncio.sleep(float("inf")))

    def running(self) -> tuple[RunningServer | None, RunningServer | None]:
        """PostgreSQL and Redis, to be adopted; None: it is not ours, or was never started."""
        found = [
            RunningServer(server.pid or 0, server.port, self._restarts[role])
            if server is not None and server.port is not None
            else None
            for role, server in (("postgres", self.postgres), ("redis", self.redis))
        ]
        return found[0], found[1]

    def endpoints(self, settings: Settings) -> dict[str, str]:
        """Their part of endpoints.json; empty for one that could not be started yet. Of a CQL store without a login."""
        urls = {"postgres": self.postgres_url.rstrip("/"), "redis": self.redis_url.rstrip("/")}
        scylla = settings.scylla
        if settings.store == "scylla":
            urls["cql"] = f"cql://{','.join(scylla.hosts)}:{scylla.port}/{scylla.keyspace}"
        return urls

    def pids(self) -> list[int]:
        """Of the embedded ones that run."""
        return [server.pid for server in (self.redis, self.postgres) if server is not None and server.pid]

    async def stop(self, timeout_s: float) -> None:
        """Stop the embedded ones, cleanly if they can within `timeout_s`."""
        await asyncio.gather(*(server.stop(timeout_s) for server in (self.redis, self.postgres) if server is not None))

    def processes(self) -> list[dict[str, Any]]:
        """Roles and pids of the embedded servers."""
        servers = {"postgres": self.postgres, "redis": self.redis}
        return [
            {"role": role, "pid": server.pid, "index": 0, "restarts": self._restarts[role]}
            for role, server in servers.items()
            if server
        ]

    async def _keep(self, role: str, server: EmbeddedPostgres | EmbeddedValkey) -> None:
        while True:
            if server.pid is not None:
                code = await server.wait()
                log.error("embedded_server_died", server=type(server).__name__, code=code)
            try:
                url = await server.start()
            except Exception as error:  # noqa: BLE001  whatever it is, the spool goes on, and the next try comes
                log.error("embedded_server_start_failed", server=type(server).__name__, error=str(error))
                await asyncio.sleep(RESTART_PAUSE_S)
            else:
                self._restarts[role] += 1
                if role == "redis":
                    self.redis_url = url
                    self.redis_known.set()
