"""`./gw cql start | stop | status | sizes`: a real Cassandra beside the gateway, on loopback."""

import fcntl
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from gateway.cql import jars
from gateway.cql.configuration import Plan
from gateway.cql.jars import CassandraMissing
from gateway.cql.ring import Ring, RingError, free_ports, kept_plan
from gateway.cql.sizes import SizesUnknown, sizes

USUAL_PORT = 9042
directory_option = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=jars.DIRECTORY / "ring",
    help="Of the ring's data. Default: .cache/cassandra/ring of the checkout.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """A real Apache Cassandra on loopback, one node or three, for `store = "scylla"`. Needs Java 17 and Maven."""


@main.command()
@directory_option
@click.option("--nodes", type=click.Choice(["1", "3"]), help="Default 1, or what the directory holds.")
@click.option("--port", type=click.IntRange(1024, 65535), help="For CQL. Default 9042, or another if that is taken.")
@click.option("--heap", type=click.IntRange(256), help="MiB of each node. Default 512; of three, 400.")
@click.option("--optimized", is_flag=True, help="Compile as for a long life: a slower start, for benchmarks.")
@click.option(
    "--commitlog",
    type=click.Choice(["batch", "periodic"]),
    default="batch",
    help="batch (default): acknowledged is on disk. periodic: as Cassandra does by default, within ten seconds.",
)
def start(
    directory: Path, nodes: str | None, port: int | None, heap: int | None, optimized: bool, commitlog: str
) -> None:
    """Install it if it is not there, start it, and wait until CQL answers. What runs already stays."""
    with locked(directory):
        kept = kept_plan(directory)
        plan = kept or Plan()
        if nodes is not None:
            plan = replace(plan, nodes=int(nodes))
        if kept is None:
            first, second = free_ports(plan.addresses, port or USUAL_PORT)
            if port is not None and first != port:
                raise RingError(f"port {port} is taken")
            plan = replace(plan, port=first, storage_port=second)
        elif port is not None and port != kept.port:
            raise RingError(f"{directory} is a ring on port {kept.port}, and stays there")
        plan = replace(
            plan,
            heap_mib=heap or (512 if plan.nodes == 1 else 400),
            is_optimized=optimized,
            commitlog="batch" if commitlog == "batch" else "periodic",
        )
        ring = Ring(directory, plan)
        click.echo(f"Cassandra {jars.VERSION}, {plan.nodes} × {plan.heap_mib} MiB, in {ring.directory} …", err=True)
        if not jars.is_installed():
            click.echo("its jars come by Maven first, this once …", err=True)
        begun_s = time.monotonic()
        ring.start()
        click.echo(f"CQL answers after {time.monotonic() - begun_s:.1f} s", err=True)
    click.echo(f"contact points  {ring.contact_points}  port {plan.port}  data centre datacenter1")
    click.echo(
        f"as settings     INGEST_STORE=scylla INGEST_SCYLLA_CONTACT_POINTS={ring.contact_points} "
        f"INGEST_SCYLLA_PORT={plan.port} INGEST_SCYLLA_REPLICATION={plan.nodes}"
    )


@main.command()
@directory_option
def stop(directory: Path) -> None:
    """End its nodes cleanly; what does not end within a minute is killed. Its data stay."""
    with locked(directory):
        ring = existing(directory)
        running = [node for node in ring.nodes if node.pid is not None]
        ring.stop()
    click.echo(f"stopped {len(running)} of {len(ring.nodes)}" if running else "nothing ran")


@main.command()
@directory_option
def status(directory: Path) -> None:
    """How its nodes are; exit code 1 unless all of them answer."""
    ring = existing(directory)
    nodes = ring.seen()
    for node in nodes:
        process = "no process" if node.pid is None else f"pid {node.pid}, {node.state}"
        says = "answers" if node.answers else "does not answer"
        click.echo(f"{node.name}  {node.address}:{ring.plan.port}  {process}, {says}")
    up = sum(node.answers for node in nodes)
    click.echo(f"{up} of {len(nodes)} up")
    sys.exit(0 if up == len(nodes) else 1)


@main.command("sizes")
@directory_option
@click.option("--keyspace", default="streamverse", show_default=True)
def sizes_of_tables(directory: Path, keyspace: str) -> None:
    """Rows and partitions in the files of its first node, a JSON line a table; after a stop, of all there is."""
    for one in sizes(existing(directory).nodes[0].directory, keyspace):
        click.echo(json.dumps(one._asdict()))


def existing(directory: Path) -> Ring:
    """The ring of the directory. Raises RingError when there is none."""
    plan = kept_plan(directory)
    if plan is None:
        raise RingError(f"no ring in {directory}; ./gw cql start makes one")
    return Ring(directory, plan)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Of two commands on one directory, the second waits."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        main()
    except (RingError, CassandraMissing, SizesUnknown) as error:
        sys.exit(f"gw cql: {error}")
