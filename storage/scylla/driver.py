"""What this package asks of a driver of CQL, and the errors that say what to do next.

Two implementations: acsylla (asyncio over a C++ driver) first, cassandra-driver where that one cannot be had. Values
are what Python has for them, uuids their text of 36 characters, both ways; rows that are written carry values by
`forms`.
"""

import importlib.util
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from config.scylla import ScyllaSettings

Value = str | int | bool | bytes | None
Row = tuple[Value, ...]
Form = Callable[[bytes], Any] | None
"""From the bytes of a value, as CQL and binary COPY both have them, to what is bound; None: these bytes."""
Write = tuple[Any, tuple[Any, ...]]
"""A prepared statement, and what is bound to it, in order; of a sparse one, None: nothing is, and nothing written (no
null either)."""

HEARTBEAT_S: Final = 2
"""On a connection that is silent, how often it is asked whether anybody is there."""
SILENT_S: Final = 6
"""A node that says nothing for so long is taken for gone: a second longer than a request takes at most by default.
With the drivers' own minute, one frozen node of three lets next to nothing through: it stands first in line for a third
of all requests, and each waits for its timeout.
"""
SCHEMA_TIMEOUT_S: Final = 60.0
"""Of a statement that changes the schema, whatever the timeout of requests: every node has its part in it."""


class CqlError(Exception):
    """The cluster did not do what was asked."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(f"{self.__doc__} {detail}".strip())


class CqlTimeout(CqlError):
    """No answer in time; whether it was done is unknown."""


class CqlUnavailable(CqlError):
    """Too few replicas are there, or some failed; whether it was done is unknown."""


class CqlOverloaded(CqlError):
    """The cluster, or the way to it, takes no more at present."""


class CqlGone(CqlError):
    """No node can be reached, or the connection broke; whether it was done is unknown."""


class CqlRefused(CqlError):
    """The cluster does not let us in: a wrong name or password, a certificate, a right that is missing."""


class CqlMissing(CqlError):
    """There is no such keyspace or table."""


class CqlInvalid(CqlError):
    """The cluster will never take this."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        """Of the protocol, in hex: `2200`; `client` where the driver itself refused."""
        self.message = message


class Driver(Protocol):
    """A connection to the cluster. Every coroutine may raise CqlError, and none blocks the event loop."""

    forms: Mapping[str, Form]
    """CQL type → how its values are bound in a Write: uuid, bigint, int, boolean, text."""

    async def connect(self, settings: ScyllaSettings, *, keyspace: bool = True) -> None:
        """`keyspace`: the one of the settings becomes the one of every statement. May be called again after close."""
        ...

    async def execute(self, cql: str, values: Sequence[Value] = (), *, consistency: str = "") -> list[Row]:
        """One statement, prepared once, and all its rows; `consistency` where it is not the one of the settings.

        What is prepared is kept by its text, which therefore has to be a constant.
        """
        ...

    async def run(self, cql: str) -> None:
        """One statement that changes the schema; on return the nodes agree on it."""
        ...

    async def prepare(self, cql: str, *, sparse: bool = False) -> Any:
        """For `write`; `sparse`: some of its values may be absent. Of no other each value is looked at."""
        ...

    async def write(self, writes: Sequence[Write]) -> None:
        """Rows of one partition, as one unlogged batch; one alone is a plain insert."""
        ...

    def scan(self, cql: str, values: Sequence[Value] = (), *, page_rows: int = 1_000) -> AsyncIterator[list[Row]]:
        """The rows of one statement, page by page."""
        ...

    async def close(self) -> None:
        """Let go of every connection; never raises."""
        ...


def driver_of(settings: ScyllaSettings) -> Driver:
    """The one that the settings name. Raises CqlRefused when it is not installed."""
    name = settings.driver
    if name == "auto":
        name = "acsylla" if importlib.util.find_spec("acsylla") else "cassandra"
    if importlib.util.find_spec(name) is None:
        extra = "scylla" if name == "acsylla" else "cassandra"
        raise CqlRefused(f"The Python package for it is not installed: pip install 'streamverse-ingest[{extra}]'")
    if name == "acsylla":
        from storage.scylla.acsylla_driver import AcsyllaDriver  # noqa: PLC0415  only what is installed is imported

        return AcsyllaDriver()
    from storage.scylla.cassandra_driver import CassandraDriver  # noqa: PLC0415  as above

    return CassandraDriver()


async def connected(settings: ScyllaSettings, *, keyspace: bool = True) -> Driver:
    """A driver by the settings, connected. Raises CqlError."""
    driver = driver_of(settings)
    await driver.connect(settings, keyspace=keyspace)
    return driver
