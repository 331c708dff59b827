"""What a ring is asked to be, and the files and the command line that make a node of it. Pure."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

NODES_MAX: Final = 3
TOKENS_A_NODE: Final = 16
"""As many as Cassandra gives a node by default."""
RING_FIRST: Final = -(2**63)
RING_SIZE: Final = 2**64

OPTIONS: Final = [
    "-XX:+UseG1GC",
    "-XX:+ParallelRefProcEnabled",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:+PerfDisableSharedMem",
    "-Xss256k",
    "-Djava.net.preferIPv4Stack=true",
    "-Djdk.attach.allowAttachSelf=true",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dio.netty.allocator.useCacheForAllThreads=true",
    "-Dio.netty.allocator.maxOrder=11",
    "-Dcassandra-foreground=yes",
    "-Dcassandra.superuser_setup_delay_ms=0",
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
]
"""Of Cassandra's own jvm17-server.options; the last line starts it sooner: nobody waits for a ring of one or three."""

AGENT: Final = "jamm-0.4.0.jar"
"""Measures what memtables take."""

EXPORTS: Final = [
    "java.base/jdk.internal.misc",
    "java.base/java.lang.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.attach/sun.tools.attach",
]
OPENS: Final = [
    "java.base/java.lang.module",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.reflect",
    "java.base/java.util",
    "java.base/java.nio",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "jdk.management/com.sun.management.internal",
    "jdk.compiler/com.sun.tools.javac",
]


@dataclass(frozen=True)
class Plan:
    """A ring. `nodes` and both ports stay what they were at the first start of its directory."""

    nodes: int = 1
    port: int = 9042
    """For CQL, on every node's address."""
    storage_port: int = 7000
    """Between the nodes."""
    heap_mib: int = 512
    """Of each node; it takes 400 MiB beside it."""
    is_optimized: bool = False
    """Compiled as for a long life: starts seconds later, and is what a benchmark measures."""
    commitlog: Literal["batch", "periodic"] = "batch"
    """batch: acknowledged is on disk. periodic, Cassandra's default: up to ten seconds go with a machine that falls."""

    def __post_init__(self) -> None:
        assert 1 <= self.nodes <= NODES_MAX and self.port != self.storage_port and self.heap_mib >= 256, self

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(f"127.0.0.{number}" for number in range(1, self.nodes + 1))


def tokens(nodes: int, index: int) -> list[int]:
    """Where node `index` of so many begins to own the ring: evenly, in turn. Known before, so that all may start at
    once instead of one after another.
    """
    parts = nodes * TOKENS_A_NODE
    return [RING_FIRST + RING_SIZE * part // parts for part in range(index, parts, nodes)]


def yaml(plan: Plan, index: int, directory: Path) -> str:
    """cassandra.yaml of node `index`, which lives in `directory`; written as JSON, which YAML contains."""
    address = plan.addresses[index]
    if plan.commitlog == "batch":
        sync: dict[str, Any] = {"commitlog_sync": "batch"}
    else:
        sync = {"commitlog_sync": "periodic", "commitlog_sync_period": "10000ms"}
    seeds = ",".join(f"{seed}:{plan.storage_port}" for seed in plan.addresses)
    settings: dict[str, Any] = {
        "cluster_name": "streamverse",
        "num_tokens": TOKENS_A_NODE,
        "initial_token": ",".join(map(str, tokens(plan.nodes, index))),
        "auto_bootstrap": False,
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "SimpleSnitch",
        "seed_provider": [
            {"class_name": "org.apache.cassandra.locator.SimpleSeedProvider", "parameters": [{"seeds": seeds}]}
        ],
        "listen_address": address,
        "rpc_address": address,
        "storage_port": plan.storage_port,
        "native_transport_port": plan.port,
        "authenticator": "AllowAllAuthenticator",
        "authorizer": "AllowAllAuthorizer",
        "data_file_directories": [str(directory / "data")],
        "commitlog_directory": str(directory / "commitlog"),
        "saved_caches_directory": str(directory / "saved_caches"),
        "hints_directory": str(directory / "hints"),
        "cdc_raw_directory": str(directory / "cdc_raw"),
        **sync,
        "commitlog_total_space": "512MiB",
        "memtable_heap_space": f"{plan.heap_mib // 4}MiB",
        "memtable_offheap_space": f"{plan.heap_mib // 4}MiB",
        "memtable_allocation_type": "offheap_objects",
        "concurrent_compactors": 1,
        "auto_snapshot": False,  # a dropped keyspace of a test takes its files with it
    }
    return json.dumps(settings, indent=1) + "\n"


def command(plan: Plan, java: Path, jars: Path, logback: Path, directory: Path) -> list[str]:
    """The command line of the node that lives in `directory`."""
    quick = [] if plan.is_optimized else ["-XX:TieredStopAtLevel=1"]
    own = (
        home(directory),
        f"-Dcassandra.logdir={directory}",
        f"-Dcassandra.config={(directory / 'cassandra.yaml').as_uri()}",
        f"-Dlogback.configurationFile={logback.as_uri()}",
        f"-Djava.io.tmpdir={directory / 'tmp'}",
        f"-Djna.tmpdir={directory / 'tmp'}",
        f"-Dcassandra.ring_delay_ms={100 if plan.nodes == 1 else 2000}",
    )
    return [
        str(java),
        f"-Xms{plan.heap_mib}m",
        f"-Xmx{plan.heap_mib}m",
        f"-XX:MaxDirectMemorySize={plan.heap_mib}m",
        *quick,
        *OPTIONS,
        *(f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS),
        *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENS),
        f"-javaagent:{jars / AGENT}",
        *own,
        "-cp",
        str(jars / "*"),
        "org.apache.cassandra.service.CassandraDaemon",
    ]


def home(directory: Path) -> str:
    """The argument that says where a node lives, and by which it is found."""
    return f"-Dcassandra.storagedir={directory}"
