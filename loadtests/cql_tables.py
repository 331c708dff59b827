"""The CQL tables as a stranger reads them, by a driver of his own, and each held against the table of record.

`cql://HOST[,HOST…]:PORT/KEYSPACE` is where they are, as endpoints.json has it; a login is not told there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit
from uuid import UUID

from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import RoundRobinPolicy
from cassandra.query import SimpleStatement, dict_factory

OF_RECORD: Final = "events_by_session"
OTHERS: Final[Mapping[str, Callable[[Mapping[str, Any]], bool]]] = MappingProxyType(
    {
        "events_by_content": lambda row: True,
        "events_by_profile": lambda row: row["profile_id"] is not None,
        "errors_by_edge": lambda row: row["event_type"] == "error",
    }
)
"""The other tables, and which rows of the table of record are also theirs."""
OWN_COLUMNS: Final = frozenset({"day", "hour", "bucket"})
KEYED: Final = {("errors_by_edge", "cdn_edge"): ""}
"""What stands for an absent value where the column is part of a key."""
TIMES: Final = frozenset({"occurred_at_us", "received_at_us", "sent_at_us"})
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
PAGE_ROWS: Final = 1_000
TIMEOUT_S: Final = 60.0


class Tables:
    """`with Tables(url) as tables:`, read from most of the replicas: what was acknowledged by most of them has to be
    seen. Blocks."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        hosts, _, port = parts.netloc.rpartition(":")
        level = ConsistencyLevel.QUORUM
        profile = ExecutionProfile(
            RoundRobinPolicy(), consistency_level=level, row_factory=dict_factory, request_timeout=TIMEOUT_S
        )
        profiles = {EXEC_PROFILE_DEFAULT: profile}
        self._cluster = Cluster(hosts.split(","), port=int(port), execution_profiles=profiles, protocol_version=4)
        self._keyspace = parts.path.lstrip("/")

    def __enter__(self) -> Self:
        self._session = self._cluster.connect(self._keyspace)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._cluster.shutdown()

    def count(self) -> int:
        """Rows of the table of record."""
        rows = self._session.execute(SimpleStatement(f"SELECT hour FROM {OF_RECORD}", fetch_size=10 * PAGE_ROWS))
        return sum(1 for _ in rows)

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """All rows, by the names and types of `playback_events`."""
        for row in self._session.execute(SimpleStatement(f"SELECT * FROM {table}", fetch_size=PAGE_ROWS)):
            for name in TIMES & row.keys():
                since_us = row.pop(name)
                row[name.removesuffix("_us")] = None if since_us is None else EPOCH + since_us * MICROSECOND
            yield row


def rows_and_faults(
    url: str, contents: frozenset[UUID] | None
) -> tuple[list[dict[str, Any]], list[tuple[str, str, str]]]:
    """Rows of the table of record, all or those of `contents`, and what is wrong in the others: table, event, how."""
    faults: list[tuple[str, str, str]] = []
    with Tables(url) as tables:

        def of(table: str) -> list[dict[str, Any]]:
            return [row for row in tables.rows(table) if contents is None or row["content_id"] in contents]

        record = of(OF_RECORD)
        for table, holds in OTHERS.items():
            faults += compare_table(table, of(table), [row for row in record if holds(row)])
    return record, faults


def compare_table(
    table: str, rows: Iterable[Mapping[str, Any]], record: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, str, str]]:
    """Whether it has the same events as these rows of the table of record, each once, with the same values as far as it
    has them."""
    wanted = {row["event_id"]: row for row in record}
    times: Counter[UUID] = Counter()
    for row in rows:
        event_id = row["event_id"]
        times[event_id] += 1
        same = wanted.get(event_id)
        if same is None:
            yield table, str(event_id), "foreign"
            continue
        different = [
            name
            for name, value in row.items()
            if name not in OWN_COLUMNS and (same[name] if same[name] is not None else KEYED.get((table, name))) != value
        ]
        if different:
            yield table, str(event_id), f"altered: {', '.join(different)}"
    yield from ((table, str(event_id), "doubled") for event_id, seen in times.items() if seen > 1)
    yield from ((table, str(event_id), "missing") for event_id in wanted if not times[event_id])
