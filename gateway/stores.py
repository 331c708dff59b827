"""The stores a gateway works with: embedded ones it starts and keeps alive, or real ones by their URLs."""

import asyncio
from typing import Any

import structlog

from config.settings import Settings, SettingsError
from gateway.embedded.postgres import EmbeddedPostgres
from gateway.embedded.server import EmbeddedServerError
from gateway.embedded.valkey import EmbeddedValkey
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
        self.redis = EmbeddedValkey(data.root) if embedded and not self.redis_url else None
        self.redis_known = asyncio.Event()
        """The readers can begin."""
        self._restarts = {"postgres": 0, "redis": 0}
        if not embedded and not (self.postgres_url and self.redis_url):
            raise SettingsError("set INGEST_POSTGRES_URL and INGEST_REDIS_URL, or start with --embedded")

    async def start(self) -> None:
        """Start the embedded ones, beside each other."""

        async def postgres() -> None:
            if self.postgres is not None:
                self.postgres_url = await self.postgres.start()

        async def redis() -> None:
            if self.redis is not None:
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

    async def stop(self) -> None:
        """Stop the embedded ones cleanly."""
        await asyncio.gather(*(server.stop() for server in (self.redis, self.postgres) if server is not None))

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
