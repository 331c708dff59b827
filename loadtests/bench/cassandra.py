"""A Cassandra of its own for a part of the benchmark, and when the CQL drain has nothing left."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from loadtests.bench.scene import say
from loadtests.port import free_ports
from loadtests.product import ROOT, Product, ProductFailed

COMMAND: Final = (sys.executable, "-m", "gateway.cql")
HEAP_MIB: Final = 1_024
DRAINED_MAX_S: Final = 600.0


@contextmanager
def cassandra(directory: Path) -> Iterator[int]:
    """One node of its own, compiled as for a long life; its port. Raises ProductFailed."""
    (port,) = free_ports(1)
    said = ["--directory", str(directory)]
    start = [*said, "--port", str(port), "--heap", str(HEAP_MIB), "--optimized", "--commitlog", "periodic"]
    say("a Cassandra")
    done = subprocess.run([*COMMAND, "start", *start], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProductFailed(f"no Cassandra: {done.stderr.strip()[-500:]}")
    try:
        yield port
    finally:
        subprocess.run([*COMMAND, "stop", *said], cwd=ROOT, capture_output=True, check=False)


def stored_in(port: int) -> dict[str, str]:
    """Settings of a gateway that stores there."""
    return {"INGEST_STORE": "scylla", "INGEST_SCYLLA_PORT": str(port), "INGEST_SCYLLA_REPLICATION": "1"}


async def drained(product: Product, *, others: bool = False) -> None:
    """Until the CQL drain has said, since now, that nothing is left; or all other readers. Raises TimeoutError."""
    asked_us = time.time_ns() // 1_000
    async with asyncio.timeout(DRAINED_MAX_S):
        while True:
            status: dict[str, Any] = await asyncio.to_thread(product.statusz)
            told: list[dict[str, Any]] = [one for one in status["readers"] if (one["reader"] != "scylla") == others]
            if told and all(one.get("at_us", 0) > asked_us and not one.get("lag_frames", 1) for one in told):
                return
            await asyncio.sleep(0.1)


def sizes(directory: Path) -> dict[str, dict[str, Any]]:
    """Of the tables of a node that has ended, by name: rows, bytes, the largest partition. Raises ProductFailed."""
    done = subprocess.run(
        [*COMMAND, "sizes", "--directory", str(directory)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ProductFailed(f"no sizes: {done.stderr.strip()[-500:]}")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {one["table"]: one for one in found}
