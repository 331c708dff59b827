"""The driver acsylla: asyncio over the C++ driver of ScyllaDB, which works in threads of its own.

What is set against its defaults: constant reconnection needs both exponential delays to be None (with them an outage of
forty seconds is noticed to be over only seventeen seconds later). Times of writes are this machine's: it cannot be told
to leave them to the cluster (1.2.0 refuses its own word "server_side"). So of two tries of an event that differ,
each column has what the gateway whose clock is ahead wrote; TTLs are counted by the cluster, and a clock that is wrong
by years puts rows into a window of compaction of their own.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntFlag
from pathlib import Path
from typing import Any, NoReturn

import acsylla
from acsylla import errors

from config.scylla import ScyllaSettings
from storage.scylla.driver import (
    HEARTBEAT_S,
    SCHEMA_TIMEOUT_S,
    SILENT_S,
    CqlError,
    CqlGone,
    CqlInvalid,
    CqlMissing,
    CqlOverloaded,
    CqlRefused,
    CqlTimeout,
    CqlUnavailable,
    Form,
    Row,
    Value,
    Write,
)
from storage.scylla.words import is_full, is_missing

RECONNECT_MS = 500


class _Verify(IntFlag):
    """Of whom we speak TLS with, as the C++ driver numbers it: acsylla's own enum says 1 of PEER_IDENTITY (1.2.0)."""

    CERTIFICATE = 1
    ADDRESS = 2


def _dashed(value: bytes) -> bytes:
    """16 bytes as their text of 36 characters, which is how this driver takes a uuid."""
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}".encode()


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big", signed=True)


async def _created(cluster: Any, keyspace: str | None) -> Any:
    """A session that is connected. Who is cancelled waits for it all the same, as long as connecting takes at most: one
    that is let go of while it connects blocks the process for ever (1.2.0)."""
    creating = asyncio.ensure_future(cluster.create_session(keyspace=keyspace))
    try:
        return await asyncio.shield(creating)
    except asyncio.CancelledError:
        await asyncio.wait([creating])
        if creating.exception() is None:
            await creating.result().close()
        raise


class AcsyllaDriver:
    """A Driver."""

    forms: Mapping[str, Form] = {
        "uuid": _dashed,
        "bigint": _number,
        "int": _number,
        "boolean": lambda value: value != b"\0",
        "text": None,
    }

    def __init__(self) -> None:
        self._cluster: Any = None
        self._session: Any = None
        self._prepared: dict[str, Any] = {}
        self._read_consistency = ""

    async def connect(self, settings: ScyllaSettings, *, keyspace: bool = True) -> None:
        await self.close()
        self._read_consistency = settings.read_consistency
        try:
            with _translated():
                self._cluster = acsylla.create_cluster(**_options(settings))
                self._session = await _created(self._cluster, settings.keyspace if keyspace else None)
        except BaseException:
            await self.close()
            raise

    async def execute(self, cql: str, values: Sequence[Value] = (), *, consistency: str = "") -> list[Row]:
        statement = await self._statement(cql, values)
        if consistency:
            statement.set_consistency(acsylla.Consistency[consistency])
        elif cql.startswith("SELECT"):
            statement.set_consistency(acsylla.Consistency[self._read_consistency])
        with _translated():
            return [row.as_tuple() for row in await self._there().execute(statement)]

    async def run(self, cql: str) -> None:
        with _translated():
            await self._there().execute(acsylla.create_statement(cql, timeout=SCHEMA_TIMEOUT_S))

    async def prepare(self, cql: str, *, sparse: bool = False) -> Any:
        found = self._prepared.get(cql)
        if found is None:
            with _translated():
                found = self._prepared[cql] = await self._there().create_prepared(cql)
        return _Sparse(found) if sparse else found

    async def write(self, writes: Sequence[Write]) -> None:
        session = self._there()
        try:  # as _translated, in fewer steps: this is the hot path
            if len(writes) == 1:
                ((prepared, values),) = writes
                statement = prepared.bind(values)
                statement.set_is_idempotent(True)
                await session.execute(statement)
                return
            batch = acsylla.create_batch_unlogged()
            batch.set_is_idempotent(True)
            add = batch.add_statement
            for prepared, values in writes:
                add(prepared.bind(values))
            await session.execute_batch(batch)
        except _THEIRS as error:
            _raise(error)

    async def scan(self, cql: str, values: Sequence[Value] = (), *, page_rows: int = 1_000) -> AsyncIterator[list[Row]]:
        statement = await self._statement(cql, values)
        statement.set_page_size(page_rows)
        statement.set_consistency(acsylla.Consistency[self._read_consistency])
        statement.set_is_idempotent(True)
        while True:
            with _translated():
                result = await self._there().execute(statement)
                page = [row.as_tuple() for row in result]
                more = result.has_more_pages()
                if more:
                    statement.set_page_state(result.page_state())
            yield page
            if not more:
                return

    async def close(self) -> None:
        session, cluster = self._session, self._cluster
        self._session = self._cluster = None
        self._prepared = {}
        try:
            if session is not None:
                await session.close()
        except errors.CassException:
            pass  # it is given up anyway
        finally:
            if cluster is not None:
                cluster.destroy()

    async def _statement(self, cql: str, values: Sequence[Value]) -> Any:
        prepared = await self.prepare(cql)
        with _translated():
            return prepared.bind(list(values))

    def _there(self) -> Any:
        if self._session is None:
            raise CqlGone("It is not connected.")
        return self._session


class _Sparse:
    """A prepared statement some of whose values are absent: None would bind a null, which is a tombstone; what is not
    bound is not written."""

    def __init__(self, prepared: Any) -> None:
        self._prepared = prepared

    def bind(self, values: tuple[Any, ...]) -> Any:
        statement = self._prepared.bind()
        for at, value in enumerate(values):
            if value is not None:
                statement.bind(at, value)
        return statement


def _certificate(path: str) -> str:
    try:
        return Path(path).read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise CqlRefused(f"scylla.tls_ca_file cannot be read: {error}") from error


def _options(settings: ScyllaSettings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "contact_points": settings.hosts,
        "port": settings.port,
        "connect_timeout": settings.connect_timeout_ms / 1_000,
        "request_timeout": settings.request_timeout_ms / 1_000,
        "consistency": acsylla.Consistency[settings.consistency],
        "serial_consistency": acsylla.Consistency.LOCAL_SERIAL,
        "load_balance_dc_aware": settings.local_dc,
        "constant_reconnect_delay_ms": RECONNECT_MS,
        "exponential_reconnect_base_delay_ms": None,
        "exponential_reconnect_max_delay_ms": None,
        "heartbeat_interval_sec": HEARTBEAT_S,
        "idle_timeout_sec": SILENT_S,
        "retry_policy": "fallthrough",
        "log_level": "critical",  # what it does not do, it raises; on Cassandra it warns that there are no shards
        "application_name": "streamverse-ingest",
    }
    if settings.username:
        options |= {"username": settings.username, "password": settings.password}
    if settings.tls_ca_file:
        options |= {
            "ssl_enabled": True,
            "ssl_trusted_cert": _certificate(settings.tls_ca_file),
            "ssl_verify_flags": _Verify.CERTIFICATE | _Verify.ADDRESS,
        }
    return options


_MEANINGS: tuple[tuple[type[CqlError], tuple[str, ...]], ...] = (
    (CqlTimeout, ("LibRequestTimedOut", "ServerWriteTimeout", "ServerReadTimeout")),
    (
        CqlUnavailable,
        ("ServerUnavailable", "ServerWriteFailure", "ServerReadFailure", "ServerServerError", "ServerIsBootstrapping"),
    ),
    (CqlOverloaded, ("ServerOverloaded", "LibRequestQueueFull", "LibNoStreams")),
    (
        CqlRefused,
        (
            "ServerBadCredentials",
            "ServerUnauthorized",
            "SslInvalidCert",
            "SslInvalidPrivateKey",
            "SslNoPeerCert",
            "SslInvalidPeerCert",
            "SslIdentityMismatch",
            "SslProtocolError",
        ),
    ),
)
_BY_CLASS = {getattr(errors, f"CassError{name}"): meaning for meaning, names in _MEANINGS for name in names}
_CODES = {errors.CassErrorServerInvalidQuery: "2200", errors.CassErrorServerSyntaxError: "2000"}


_THEIRS = (errors.CassException, ValueError, TypeError, OverflowError, RuntimeError, OSError)


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the driver, and what Python says of values that it cannot bind, become errors of ours."""
    try:
        yield
    except _THEIRS as error:
        _raise(error)


def _raise(error: Exception) -> NoReturn:
    detail = f"{type(error).__name__.removeprefix('CassError')}: {error}"
    if meaning := _BY_CLASS.get(type(error)):
        raise meaning(detail) from error
    if isinstance(error, errors.CassErrorLibUnableToSetKeyspace) or is_missing(str(error)):
        raise CqlMissing(detail) from error
    if is_full(str(error)):
        raise CqlUnavailable(detail) from error
    if isinstance(error, errors.CassErrorLibNoHostsAvailable) and "local datacenter" in str(error):
        raise CqlRefused(f"scylla.local_dc is none of this cluster's. {detail}") from error
    if code := _CODES.get(type(error)):
        raise CqlInvalid(code, str(error)) from error
    if isinstance(error, errors.CassErrorLibMessageEncode | ValueError | TypeError | OverflowError):
        raise CqlInvalid("client", detail) from error
    raise CqlGone(detail) from error
