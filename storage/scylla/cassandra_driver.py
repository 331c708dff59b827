"""The driver cassandra-driver: Python, with threads of its own, for where acsylla cannot be had.

A request is sent from the event loop and answered in the driver's thread, which hands the answer over; what blocks (to
connect, to shut down) is done in a thread. Set against its defaults: TCP_NODELAY (without it forty milliseconds a
request), constant reconnection (an outage that ended is noticed within half a second), times of writes are the
cluster's.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

import cassandra
from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.policies import (
    ConstantReconnectionPolicy,
    DCAwareRoundRobinPolicy,
    FallthroughRetryPolicy,
    TokenAwarePolicy,
)
from cassandra.protocol import ErrorMessage, OverloadedErrorMessage, ServerError, SyntaxException
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType, BoundStatement, SimpleStatement, tuple_factory

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
from storage.scylla.words import is_full, is_missing, is_untrusted

RECONNECT_S = 0.5
PROTOCOL = 4
"""Of Cassandra 2.2 and every ScyllaDB; a newer one makes no difference that could be measured."""


class CassandraDriver:
    """A Driver."""

    forms: Mapping[str, Form] = dict.fromkeys(("uuid", "bigint", "int", "boolean", "text"))
    """It lets bytes through as they are."""

    def __init__(self) -> None:
        self._cluster: Any = None
        self._session: Any = None
        self._prepared: dict[str, Any] = {}
        self._read_consistency = 0

    async def connect(self, settings: ScyllaSettings, *, keyspace: bool = True) -> None:
        await self.close()
        self._read_consistency = getattr(ConsistencyLevel, settings.read_consistency)
        try:
            with _translated():
                # in a thread: it asks for the addresses of the contact points, and waits for an answer
                self._cluster = await asyncio.to_thread(lambda: Cluster(**_options(settings)))
                self._session = await asyncio.to_thread(self._cluster.connect)
                self._session.use_client_timestamp = False
                if keyspace:
                    await asyncio.to_thread(self._session.set_keyspace, settings.keyspace)
        except BaseException as error:
            elsewhere = _elsewhere(self._cluster, settings.local_dc) if isinstance(error, CqlGone) else ""
            await self.close()
            if elsewhere:
                raise CqlRefused(elsewhere) from error
            raise

    async def execute(self, cql: str, values: Sequence[Value] = (), *, consistency: str = "") -> list[Row]:
        statement = await self._bound(cql, values)
        statement.fetch_size = None
        if consistency:
            statement.consistency_level = getattr(ConsistencyLevel, consistency)
        elif cql.startswith("SELECT"):
            statement.consistency_level = self._read_consistency
        return list(map(_texts, await self._answer(statement) or ()))

    async def run(self, cql: str) -> None:
        await self._answer(SimpleStatement(cql), timeout=SCHEMA_TIMEOUT_S)

    async def prepare(self, cql: str, *, sparse: bool = False) -> Any:
        found = self._prepared.get(cql)
        if found is None:
            with _translated():
                found = self._prepared[cql] = await asyncio.to_thread(self._there().prepare, cql)
        return _Sparse(found) if sparse else found

    async def write(self, writes: Sequence[Write]) -> None:
        if len(writes) == 1:
            await self._answer(_row(*writes[0]))
            return
        batch = BatchStatement(BatchType.UNLOGGED)
        batch.is_idempotent = True
        for prepared, values in writes:
            batch.add(_row(prepared, values))
        await self._answer(batch)

    async def scan(self, cql: str, values: Sequence[Value] = (), *, page_rows: int = 1_000) -> AsyncIterator[list[Row]]:
        statement = await self._bound(cql, values)
        statement.fetch_size = page_rows
        statement.consistency_level = self._read_consistency
        statement.is_idempotent = True
        pages: asyncio.Queue[list[Row] | Exception] = asyncio.Queue()
        answer = self._sent(statement, pages.put_nowait)
        while True:
            page = await pages.get()
            if isinstance(page, Exception):
                _raise(page)
            yield list(map(_texts, page or ()))
            if not answer.has_more_pages:
                return
            answer.start_fetching_next_page()

    async def close(self) -> None:
        cluster, self._cluster, self._session = self._cluster, None, None
        self._prepared = {}
        if cluster is not None:
            await asyncio.to_thread(cluster.shutdown)

    async def _bound(self, cql: str, values: Sequence[Value]) -> Any:
        prepared = await self.prepare(cql)
        types = [column.type.typename for column in prepared.column_metadata]
        with _translated():
            return prepared.bind([
                UUID(value) if kind == "uuid" and isinstance(value, str) else value
                for kind, value in zip(types, values, strict=True)
            ])  # fmt: skip

    async def _answer(self, statement: Any, **options: Any) -> Any:
        """What it brought, all of it. Raises CqlError."""
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def take(answer: Any) -> None:
            if waiting.done():  # who waited was cancelled
                return
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)

        with _translated():
            self._sent(statement, take, **options)
            return await waiting

    def _sent(self, statement: Any, take: Callable[[Any], None], **options: Any) -> Any:
        """`take` is called in this event loop, with every page or with an exception."""
        loop = asyncio.get_running_loop()

        def hand_over(answer: Any) -> None:
            try:
                loop.call_soon_threadsafe(take, answer)
            except RuntimeError:
                pass  # the loop is closed: nobody waits any more

        with _translated():
            sent = self._there().execute_async(statement, **options)
            sent.add_callbacks(hand_over, hand_over)
        return sent

    def _there(self) -> Any:
        if self._session is None:
            raise CqlGone("It is not connected.")
        return self._session


def _elsewhere(cluster: Any, local_dc: str) -> str:
    """What is wrong with the data centre, where the nodes that were found are all of others."""
    found = {host.datacenter for host in cluster.metadata.all_hosts()} - {None} if cluster is not None else set()
    if not found or local_dc in found:
        return ""
    return f'scylla.local_dc = "{local_dc}" is none of this cluster\'s: {", ".join(sorted(found))}'


class _Sparse(NamedTuple):
    """A prepared statement some of whose values are absent."""

    prepared: Any


def _row(prepared: Any, values: tuple[Any, ...]) -> Any:
    """Bound with the bytes as they go over the wire."""
    if type(prepared) is _Sparse:
        prepared, values = prepared.prepared, tuple(UNSET_VALUE if value is None else value for value in values)
    bound = BoundStatement(prepared)
    bound.is_idempotent = True
    bound.values = values
    return bound


def _texts(row: Sequence[Any]) -> Row:
    return tuple(str(value) if isinstance(value, UUID) else value for value in row)


def _tls(path: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise CqlRefused(f"scylla.tls_ca_file cannot be read: {error}") from error


def _options(settings: ScyllaSettings) -> dict[str, Any]:
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(settings.local_dc)),
        retry_policy=FallthroughRetryPolicy(),
        consistency_level=getattr(ConsistencyLevel, settings.consistency),
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
        request_timeout=settings.request_timeout_ms / 1_000,
        row_factory=tuple_factory,
    )
    options: dict[str, Any] = {
        "contact_points": settings.hosts,
        "port": settings.port,
        "execution_profiles": {EXEC_PROFILE_DEFAULT: profile},
        "reconnection_policy": ConstantReconnectionPolicy(RECONNECT_S, None),
        "connect_timeout": settings.connect_timeout_ms / 1_000,
        "control_connection_timeout": settings.connect_timeout_ms / 1_000,
        "idle_heartbeat_interval": HEARTBEAT_S,
        "idle_heartbeat_timeout": SILENT_S - HEARTBEAT_S,
        "sockopts": [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        "protocol_version": PROTOCOL,
        "compression": False,
        "application_name": "streamverse-ingest",
    }
    if settings.username:
        options["auth_provider"] = PlainTextAuthProvider(settings.username, settings.password)
    if settings.tls_ca_file:
        options["ssl_context"] = _tls(settings.tls_ca_file)
    return options


_MEANINGS: tuple[tuple[type[CqlError], tuple[type[Exception], ...]], ...] = (
    (CqlTimeout, (cassandra.OperationTimedOut, cassandra.Timeout)),
    (CqlUnavailable, (cassandra.Unavailable, cassandra.CoordinationFailure, ServerError)),
    (CqlOverloaded, (OverloadedErrorMessage,)),
    (CqlRefused, (cassandra.AuthenticationFailed, cassandra.Unauthorized, ssl.SSLError)),
)


_THEIRS = (
    cassandra.DriverException, NoHostAvailable, ErrorMessage, ConnectionException,
    ValueError, TypeError, OverflowError, RuntimeError, OSError,
)  # fmt: skip


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the driver, and what Python says of values that it cannot bind, become errors of ours."""
    try:
        yield
    except _THEIRS as error:
        _raise(error)


def _raise(error: Exception) -> NoReturn:
    detail = f"{type(error).__name__}: {error}"
    causes = [error]
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict):  # of one that was tried, by its host
        causes += error.errors.values()
    for meaning, kinds in _MEANINGS:
        if any(isinstance(cause, kinds) for cause in causes):
            raise meaning(detail) from error
    if is_untrusted(detail):
        raise CqlRefused(detail) from error
    if is_full(detail):
        raise CqlUnavailable(detail) from error
    if isinstance(error, SyntaxException | cassandra.InvalidRequest | cassandra.ConfigurationException | ErrorMessage):
        if is_missing(str(error)):
            raise CqlMissing(detail) from error
        raise CqlInvalid("2000" if isinstance(error, SyntaxException) else "2200", str(error)) from error
    if isinstance(error, TypeError | ValueError | OverflowError):
        raise CqlInvalid("client", detail) from error
    raise CqlGone(detail) from error
