"""A query to one node and no other, by cassandra-driver: whether it answers, and what it thinks of its ring."""

import logging
import socket
from typing import Any, Final, Literal

CONNECT_TIMEOUT_S: Final = 1.0
QUERY_TIMEOUT_S: Final = 10.0
Level = Literal["ONE", "QUORUM", "ALL"]
Query = tuple[str, Level]
KNOWN_PEERS: Final[Query] = ("SELECT peer FROM system.peers_v2", "ONE")
OF_ALL_REPLICAS: Final[Query] = ("SELECT parent_id FROM system_distributed.parent_repair_history LIMIT 1", "ALL")
"""A table that Cassandra itself keeps on three nodes, and that is empty here."""


class NoAnswer(Exception):
    """The node did not answer this query."""


def listens(address: str, port: int) -> bool:
    """Whether something takes connections there: a node does so last of all at its start."""
    try:
        socket.create_connection((address, port), CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def ask(address: str, port: int, *queries: Query) -> list[list[Any]]:
    """Rows of each query, asked of this node, at the consistency level beside it. Raises NoAnswer."""
    from cassandra import ConsistencyLevel, DriverException, OperationTimedOut
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
    from cassandra.policies import FallthroughRetryPolicy, WhiteListRoundRobinPolicy
    from cassandra.query import SimpleStatement

    logging.getLogger("cassandra").setLevel(logging.CRITICAL)
    only = ExecutionProfile(
        load_balancing_policy=WhiteListRoundRobinPolicy([address]),
        retry_policy=FallthroughRetryPolicy(),
        request_timeout=QUERY_TIMEOUT_S,
    )
    cluster = Cluster(
        [address],
        port=port,
        execution_profiles={EXEC_PROFILE_DEFAULT: only},
        connect_timeout=QUERY_TIMEOUT_S,
        protocol_version=5,
        schema_metadata_enabled=False,
        token_metadata_enabled=False,
    )
    try:
        session = cluster.connect()
        return [
            list(session.execute(SimpleStatement(query, consistency_level=ConsistencyLevel.name_to_value[level])))
            for query, level in queries
        ]
    except (NoHostAvailable, OperationTimedOut, DriverException, OSError) as error:
        raise NoAnswer(f"{address}:{port}: {error}") from None
    finally:
        cluster.shutdown()


def has_joined(address: str, port: int, nodes: int) -> bool:
    """Whether it answers, knows all other nodes of its ring and, of three, reaches them all."""
    if not listens(address, port):
        return False
    queries = [KNOWN_PEERS, OF_ALL_REPLICAS][: 2 if nodes >= 3 else 1]
    try:
        peers, *_ = ask(address, port, *queries)
    except NoAnswer:
        return False
    return len(peers) == nodes - 1


def answers(address: str, port: int) -> bool:
    """Whether it answers a query."""
    try:
        return listens(address, port) and bool(ask(address, port, ("SELECT key FROM system.local", "ONE")))
    except NoAnswer:
        return False
