"""How large the largest partition becomes when half of all events are of one content: the part `partitions`.

An hour of a platform for which `scylla.content_buckets` stays as it comes, all of it smaller by SCALE: the rows, and so
what a partition may hold. Sizes are what Cassandra says of its files, so rows are as large as they are; what does not
become smaller is chance, which fills partitions of few rows the less evenly: a full hour is below this.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final

from loadtests.bench.cassandra import cassandra, drained, sizes, stored_in
from loadtests.bench.cql_events import event, new_id, post
from loadtests.bench.scene import Figures, Part, Scene, say
from loadtests.product import Product

SCALE: Final = 100
BUCKETS: Final = 16
"""scylla.content_buckets as it comes, which ARCHITECTURE.md says is enough for ROWS_PER_S."""
ROWS_PER_S: Final = 3_500
PARTITION_MAX_MB: Final = 100
HOUR_S: Final = 3_600
A_REQUEST: Final = 500
A_SESSION: Final = 30
"""Events: of a viewer an hour."""
CONTENTS: Final = 200
GIB: Final = 2**30
TABLE: Final = "events_by_content"


async def partitions(scene: Scene) -> Figures:
    """One hour's rows through the door and the drain; then the node ends, and its files are asked."""
    await scene.let_go()
    directory = scene.directory / "partitions-cassandra"
    rows = ROWS_PER_S * HOUR_S // SCALE // A_REQUEST * A_REQUEST
    with cassandra(directory) as port:
        environment = {**stored_in(port), "INGEST_SCYLLA_CONTENT_BUCKETS": str(BUCKETS)}
        with Product(scene.directory / "partitions", environment=environment) as product:
            product.start()
            await asyncio.to_thread(product.wait_ready)
            say(f"{rows:,} events of one hour, half of them of one content")
            await asyncio.to_thread(_hour, product, rows)
            await drained(product)
    say("what its files say")
    found = await asyncio.to_thread(sizes, directory)
    of_content = found[TABLE]
    row_bytes = of_content["data_bytes"] / of_content["rows"]
    return {
        "scale": SCALE,
        "rows": rows,
        "stored": of_content["rows"],
        "all_stored": of_content["rows"] == rows,
        "acknowledged": rows,
        "stored_count": of_content["rows"],
        "buckets": BUCKETS,
        "row_bytes": {name: round(one["data_bytes"] / one["rows"], 1) for name, one in found.items() if _of_rows(name)},
        "row_disk_bytes": {
            name: round(one["disk_bytes"] / one["rows"], 1) for name, one in found.items() if _of_rows(name)
        },
        "partition_max_bytes": of_content["partition_max_bytes"],
        "partition_max_mb": round(of_content["partition_max_bytes"] * SCALE / 1e6, 1),
        "partition_mean_mb": round(rows / 2 / BUCKETS * row_bytes * SCALE / 1e6, 1),
    }


def _of_rows(table: str) -> bool:
    return table.startswith("events_by_") or table == "errors_by_edge"


def _hour(product: Product, rows: int) -> None:
    """The last whole hour of the clock: one partition a bucket, and not two."""
    chance = random.Random()
    hot, others = new_id(chance), [new_id(chance) for _ in range(CONTENTS)]
    begin_s = (time.time() // HOUR_S - 1) * HOUR_S
    for begin in range(0, rows, A_REQUEST):
        events = []
        for number in range(begin, begin + A_REQUEST):
            if number % A_SESSION == 0 or number == begin:
                session, content = new_id(chance), hot if chance.random() < 0.5 else chance.choice(others)
            events.append(event(chance, session, content, number, begin_s + number * HOUR_S / rows))
        post(product, events)


PARTS: Final = (Part("partitions", "the largest partition in CQL where half is of one content", 4 * GIB, partitions),)
