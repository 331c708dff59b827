"""Settings of the CQL store: a section of config.settings."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from config.limits import KIB, MIB
from config.number import NotNegative, Port, Positive

Consistency = Literal["ONE", "LOCAL_ONE", "QUORUM", "LOCAL_QUORUM", "EACH_QUORUM", "ALL"]
BUCKETS_MAX = 4_096
"""Of a content and hour: some 400 GB, or two billion rows, an hour."""
Buckets = Annotated[int, Meta(ge=1, le=BUCKETS_MAX)]
INFLIGHT_MAX = 1_024
"""Each has a task of ours, all of which wait for every new set of columns: of 20,000, a quarter of a second each."""
Inflight = Annotated[int, Meta(ge=1, le=INFLIGHT_MAX)]


class ScyllaSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """ScyllaDB or Cassandra, where playback events go with store = "scylla"."""

    contact_points: str = "127.0.0.1"  # hosts by commas; the others of the data centre are found through them
    port: Port = 9042
    keyspace: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,47}$")] = "streamverse"
    local_dc: str = "datacenter1"  # the one that is asked; LOCAL_ levels count its replicas alone
    replication: Positive = 3  # of a keyspace that `migrate up` makes; one that is there keeps its own
    consistency: Consistency = "LOCAL_QUORUM"  # acknowledged then, with one node of three away
    username: str = ""
    password: str = ""
    tls_ca_file: str = ""  # PEM that the nodes' certificates are verified by; empty: no TLS
    driver: Literal["auto", "acsylla", "cassandra"] = (
        "auto"  # acsylla where it is installed: a fifth of the client's CPU
    )
    connect_timeout_ms: Positive = 5_000
    request_timeout_ms: Positive = 5_000  # above the 2 s after which a coordinator says itself that a write timed out
    retention_days: Annotated[int, Meta(ge=1, le=7_000)] = 90  # TTL; at least view_memory_s and a day, for rebuilds
    content_buckets: Buckets = 16  # partitions of a content and hour, of days from tomorrow on; see ARCHITECTURE.md
    inflight_max: Inflight = 128  # requests at once: at most 4 MiB of the cluster's memory
    rows_max: Annotated[int, Meta(ge=1, le=1_000)] = 100  # of a partition, in one request: 50 cost a tenth more CPU
    request_max_bytes: Positive = 32 * KIB  # of one request of one partition: ScyllaDB warns of 128 KiB
    batch_max_bytes: Positive = (
        16 * MIB
    )  # of frames between two moves of the positions: the more, the more of a partition
    batch_interval_ms: NotNegative = 100  # between those: more events of a partition find each other

    @property
    def hosts(self) -> list[str]:
        """The contact points, one by one."""
        return [host.strip() for host in self.contact_points.split(",") if host.strip()]

    @property
    def read_consistency(self) -> str:
        """There is no reading at EACH_QUORUM."""
        return "QUORUM" if self.consistency == "EACH_QUORUM" else self.consistency

    @property
    def window_days(self) -> int:
        """Of TimeWindowCompaction: at most some fifty windows are kept, as its author advises."""
        return -(-self.retention_days // 45)

    def __post_init__(self) -> None:
        if not self.hosts:
            raise ValueError("scylla.contact_points names no host")
        if self.consistency in ("ONE", "LOCAL_ONE") and self.replication > 1:  # what one node took, the next denies
            raise ValueError(f"scylla.consistency {self.consistency} is for replication = 1 alone")
