"""HTTP to committed rows, beside what its parts could do alone: the parts `many`, `single`, `large`, `replayed`,
`resent` and `disk`.
"""

from __future__ import annotations

from typing import Any, Final

from loadtests.bench.bare_copy import bare_copy
from loadtests.bench.bare_fsync import bare_fsync
from loadtests.bench.bare_http import bare_servers
from loadtests.bench.client import Load, run_load
from loadtests.bench.gateway import CONNECTIONS, Measured
from loadtests.bench.request import RequestMint
from loadtests.bench.scene import WARM_UP_S, Figures, Part, Scene, say

MANY: Final = 20
LARGE: Final = 200
LATE: Final = 0.01
RESENT: Final = (0.01, 0.10)
ROUNDS: Final = 3
FRAME_BYTES: Final = 4096  # about one request of twenty events in the log
GROUP_FRAMES: Final = 16
GIB: Final = 2**30


def figures_of(measured: Measured) -> Figures:
    """What every load is described by; units last."""
    load, cpu = measured.load, measured.cpu
    return {
        "stored_per_s": round(measured.stored_per_s),
        "acknowledged_per_s": round(load.per_s),
        "posts_per_s": round(load.posts / load.seconds),
        "acknowledged": load.acknowledged,
        "resent": measured.resent,
        "stored_count": measured.stored,
        "all_stored": measured.all_stored,
        "cpu_us_per_event": {
            "gateway": measured.us(cpu.collectors_s + cpu.readers_s),
            "collectors": measured.us(cpu.collectors_s),
            "postgres_drain": measured.us(cpu.postgres_drain_s),
            "redis_reader": measured.us(cpu.redis_reader_s),
            "collectors_kernel": measured.us(cpu.collectors_kernel_s),
            "readers_kernel": measured.us(cpu.readers_kernel_s),
            "supervisor": measured.us(cpu.supervisor_s),
            "postgres": measured.us(cpu.postgres_s),
            "redis": measured.us(cpu.redis_s),
            "client": measured.us(load.client_cpu_s),
        },
        "latency_ms": latencies_ms(load),
        "drained_s": round(measured.drained_s, 2),
        "counted_s": round(measured.counted_s, 2),
        "others_cpu_share": round(measured.others_cpu_share, 3),
        "statuses": load.statuses,
        "lost": load.lost,
        "unsure": load.unsure,
    }


def latencies_ms(load: Load) -> dict[str, float]:
    return {name: round(load.latency_ms(share), 2) for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))}


async def many(scene: Scene) -> Figures:
    """In turns with bare COPY, each behind a checkpoint: so both write whole pages, and a log whose files are there.

    The round whose ratio is the median stands for all.
    """
    gateway = await scene.gateway()
    rounds: list[Figures] = []
    for number in range(ROUNDS):
        say(f"{MANY} a request, {CONNECTIONS} connections, {scene.seconds:.0f} s, round {number + 1} of {ROUNDS}")
        await gateway.postgres.execute("CHECKPOINT")
        measured = await gateway.measure(gateway.mint(MANY, late=LATE), scene.seconds)
        say("bare COPY of the same rows")
        ended_at = measured.load.began_at + measured.drained_s
        copied = await bare_copy(
            gateway.postgres, measured.load.began_at, ended_at, scene.directory, gateway.postgres_cpu_s
        )
        rounds.append({
            **figures_of(measured),
            "bare_copy_per_s": round(copied.rows_per_s),
            "bare_copy_cpu_us_per_row": round(copied.postgres_cpu_us_per_row, 2),
            "bare_copy_rows": copied.rows,
            "share_of_bare_copy": round(measured.stored_per_s / copied.rows_per_s, 3),
        })  # fmt: skip
    lists = {f"{name}_rounds": [one[name] for one in rounds] for name in ("stored_per_s", "bare_copy_per_s")}
    rounds.sort(key=lambda one: float(one["share_of_bare_copy"]))
    return {**rounds[ROUNDS // 2], **lists, "all_stored": all(one["all_stored"] for one in rounds)}


async def single(scene: Scene) -> Figures:
    gateway = await scene.gateway()
    say(f"single events, {CONNECTIONS} connections, {scene.seconds:.0f} s")
    measured = await gateway.measure(gateway.mint(1, late=LATE), scene.seconds)
    say(f"bare aiohttp, {gateway.collectors_count} processes, {scene.seconds:.0f} s")
    bare = await _bare_http(gateway.collectors_count, scene.seconds)
    bare_per_s = bare.posts / bare.seconds
    return {
        **figures_of(measured),
        "bare_aiohttp_per_s": round(bare_per_s),
        "share_of_bare_aiohttp": round(measured.stored_per_s / bare_per_s, 3),
    }


async def _bare_http(processes: int, seconds: float) -> Load:
    async with bare_servers(processes) as port:
        mint = RequestMint("127.0.0.1", port, 1).mint
        await run_load("127.0.0.1", port, mint, events_count=1, connections=CONNECTIONS, seconds=WARM_UP_S)
        return await run_load("127.0.0.1", port, mint, events_count=1, connections=CONNECTIONS, seconds=seconds)


async def large(scene: Scene) -> Figures:
    gateway = await scene.gateway()
    say(f"{LARGE} events a request, {CONNECTIONS} connections, {scene.seconds:.0f} s")
    return figures_of(await gateway.measure(gateway.mint(LARGE, late=LATE), scene.seconds))


async def replayed(scene: Scene) -> Figures:
    gateway = await scene.gateway()
    say(f"{MANY} events a request, the times of a recording, {scene.seconds:.0f} s")
    return figures_of(await gateway.measure(gateway.mint(MANY, replayed=True), scene.seconds))


async def resent(scene: Scene) -> Figures:
    """In turns with none resent, as the machine's speed drifts; ratios are medians of pairs."""
    gateway = await scene.gateway()
    seconds = max(2.0, scene.seconds / 2)
    rates: dict[float, list[float]] = {share: [] for share in (0.0, *RESENT)}
    last: dict[float, Measured] = {}
    figures: dict[str, Any] = {"all_stored": True}
    for number in range(ROUNDS):
        for share in rates if number % 2 == 0 else reversed(rates):
            say(f"{share:.0%} resent, {seconds:.0f} s, round {number + 1} of {ROUNDS}")
            measured = last[share] = await gateway.measure(gateway.mint(MANY, resent=share), seconds)
            figures["all_stored"] = figures["all_stored"] and measured.all_stored
            rates[share].append(measured.stored_per_s)
    figures["stored_per_s"] = {f"{share:.0%}": [round(one) for one in rates[share]] for share in rates}
    for share in RESENT:
        ratios = sorted(some / none for some, none in zip(rates[share], rates[0.0], strict=True))
        figures[f"share_of_none_resent_{share:.0%}"] = round(ratios[len(ratios) // 2], 3)
        figures[f"last_{share:.0%}"] = figures_of(last[share])
    return figures


async def disk(scene: Scene) -> Figures:
    """What the log's disk can promise alone: one frame, and a group of them."""
    await scene.gateway()  # idle beside it, as in the other parts
    say("fdatasync alone")
    return {
        name: {"size_bytes": size_bytes, "per_s": round(bare.per_s), "ms_p50": bare.ms_p50, "ms_p99": bare.ms_p99}
        for name, size_bytes in (("frame", FRAME_BYTES), ("group", FRAME_BYTES * GROUP_FRAMES))
        for bare in [bare_fsync(scene.directory, size_bytes, scene.seconds / 4)]
    }


PARTS: Final = (
    Part("many", "20 events a request, and a bare COPY of the same rows", 4 * GIB, many),
    Part("single", "one event a request, and a bare aiohttp handler", GIB, single),
    Part("large", "200 events a request", 4 * GIB, large),
    Part("replayed", "20 events a request, times of a recording", 3 * GIB, replayed),
    Part("resent", "20 events a request, 0, 1 and 10 % of them sent again", 6 * GIB, resent),
    Part("disk", "fdatasync alone", GIB, disk),
)
