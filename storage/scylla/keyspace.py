"""Whether the keyspace can keep what is promised: its schema, its commit log, its replicas where we write."""

from collections.abc import Mapping
from typing import Any, Final

from config.scylla import ScyllaSettings
from storage.scylla import migration
from storage.scylla.driver import Driver
from storage.sink import SinkRefused

_ASK: Final = "SELECT durable_writes, replication FROM system_schema.keyspaces WHERE keyspace_name = ?"


async def check(driver: Driver, settings: ScyllaSettings) -> None:
    """Raises SinkRefused, and CqlError."""
    try:
        pending = (await migration.status(driver, settings)).pending
    except migration.NewerSchema as newer:
        raise SinkRefused(str(newer)) from newer
    if pending:
        raise SinkRefused(f"The keyspace lacks migration {pending[0].version}: streamverse-ingest migrate up.")
    for is_durable, replication in await driver.execute(_ASK, [settings.keyspace]):
        reason = "" if is_durable else "it has durable_writes = false: a node that ends forgets what it acknowledged"
        reason = reason or unfit(dict(replication), settings)  # type: ignore[arg-type]
        if reason:
            raise SinkRefused(f"The keyspace {settings.keyspace} is no store: {reason}.")


def unfit(replication: Mapping[str, Any], settings: ScyllaSettings) -> str:
    """What is wrong with the replicas of a keyspace; empty when nothing is. Pure.

    `replication`: as system_schema.keyspaces has it.
    """
    factors = {name: str(factor) for name, factor in replication.items() if name != "class"}
    if str(replication.get("class", "")).endswith("NetworkTopologyStrategy"):
        here = {name: factor for name, factor in factors.items() if name.partition(":")[0] == settings.local_dc}
        if not here or set(here.values()) == {"0"}:
            return f'scylla.local_dc = "{settings.local_dc}" has no replicas of it, these have: {", ".join(factors)}'
        factors = here
    if settings.consistency in ("ONE", "LOCAL_ONE") and any(one.isdigit() and int(one) > 1 for one in factors.values()):
        return f"scylla.consistency = {settings.consistency} is for one replica, it has {', '.join(factors.values())}"
    return ""
