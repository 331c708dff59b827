"""The figures of a run as a page, docs/benchmarks.md: Markdown, a section a part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from loadtests.bench.table import MARKS, Report

LOADS: Final = ("many", "single", "large", "replayed")
LOAD_HEADINGS: Final = (
    "",
    "rows stored/s",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "acknowledged",
    "count(*)",
    "others' CPU",
)
CPU_NAMES: Final = (
    *("gateway", "collectors", "collectors_kernel", "postgres_drain", "redis_reader", "readers_kernel"),
    *("supervisor", "postgres", "redis", "client"),
)
PEER_HEADINGS: Final = (
    *("", "an answer means", "rows/s, 20 a request", "single/s", "own CPU µs", "PostgreSQL µs", "p99 ms"),
    *("acknowledged, lost at kill -9", "what it does"),
)
GROWTH_HEADINGS: Final = ("requests/s", "gateway µs", "PostgreSQL µs", "gateway, yardsticks", "PostgreSQL, yardsticks")


def page(report: Report) -> str:
    """All that the report has."""
    sections = (_about, _marks, _loads, _resent, _latency, _disk, _peers, _growth, _outage)
    return "\n".join(line for section in sections for line in section(report)).rstrip() + "\n"


def _about(report: Report) -> Iterator[str]:
    about = report["about"]
    yield "# Benchmarks"
    yield ""
    yield f"Written by `{about['command']}` on {about['time'][:10]}. Ratios within the run bind: the machine's"
    yield "speed drifts. The load generator, the gateway, PostgreSQL and Valkey share the cores; an fsync before every"
    yield "answer; all readers on; every event id new; live-like times, of 1 % of the requests up to six hours late;"
    yield "`count(*)` after each load."
    yield ""
    facts = {"cores": about["cores"], "core": about["core"], "collectors": about["collectors"]}
    yield " · ".join(f"{name} {value}" for name, value in {**facts, **about["versions"], **about["settings"]}.items())
    yield ""


def _marks(report: Report) -> Iterator[str]:
    rows = []
    for mark in MARKS:
        if (value := mark.value(report)) is not None:
            bound = f"{'≥' if mark.at_least else '≤'} {mark.bound:g}"
            verdict = "holds" if mark.holds(value) else "**missed**"
            rows.append((mark.what, f"{value:g}", bound, verdict, mark.beside(report["parts"][mark.part])))
    yield from _section("Marks", "", ("", "figure", "mark", "", "beside"), rows)


def _loads(report: Report) -> Iterator[str]:
    loads = {name: report["parts"][name] for name in LOADS if name in report["parts"]}
    if not loads:
        return
    rows = []
    for name, one in loads.items():
        latency, others = one["latency_ms"], f"{one['others_cpu_share']:.0%}"
        counts = (f"{one['acknowledged']:,}", f"{one['stored_count']:,}", others)
        rows.append((name, f"{one['stored_per_s']:,}", f"{one['posts_per_s']:,}", *_ms(latency, "p50", "p99"), *counts))
    text = (
        "many: 20 events a request, the median of three rounds in turns with bare COPY, each behind a checkpoint; "
        "large: 200; replayed: 20, with the times of a recording."
    )
    yield from _section("HTTP to committed rows", text, LOAD_HEADINGS, rows)
    rows = [(name, *(f"{one['cpu_us_per_event'][of]:g}" for of in CPU_NAMES)) for name, one in loads.items()]
    yield from _section("CPU, µs an event", "…_kernel: of it, in system calls and page faults.", ("", *CPU_NAMES), rows)


def _resent(report: Report) -> Iterator[str]:
    if part := report["parts"].get("resent"):
        rows = [(name, ", ".join(f"{one:,}" for one in rates)) for name, rates in part["stored_per_s"].items()]
        text = "Rows stored a second; an event that came again is none."
        yield from _section("Events sent again", text, ("sent again", "rounds, in turns"), rows)


def _latency(report: Report) -> Iterator[str]:
    if part := report["parts"].get("latency"):
        shares = {name: one for name, one in part.items() if name.endswith("%")}
        rows = [
            (name, f"{one['posts_per_s']:,}", *_ms(one["latency_ms"], "p50", "p99", "p99.9"))
            for name, one in shares.items()
        ]
        text = f"Of {part['saturation_per_s']:,} events a second; latencies count from when a request was due."
        headings = ("of saturation", "requests/s", "p50 ms", "p99 ms", "p99.9 ms")
        yield from _section("Answers, open loop", text, headings, rows)


def _disk(report: Report) -> Iterator[str]:
    if part := report["parts"].get("disk"):
        rows = [(f"{one['size_bytes']:,}", f"{one['per_s']:,}", *_ms(one, "ms_p50", "ms_p99")) for one in part.values()]
        headings = ("bytes appended, then fdatasync", "a second", "p50 ms", "p99 ms")
        yield from _section("The disk alone", "", headings, rows)


def _peers(report: Report) -> Iterator[str]:
    if part := report["parts"].get("peers"):
        rows = []
        for name, one in part["systems"].items():
            many, single = one["20"], one["1"]
            rates = (f"{many['stored_per_s']:,}", f"{single['stored_per_s']:,}")
            cpu = (f"{many['cpu_us_per_event']:g}", f"{many['postgres_cpu_us_per_event']:g}")
            lost = f"{one['killed_lost']:,} of {one['killed_acknowledged']:,}"
            rows.append((name, one["answer_means"], *rates, *cpu, f"{many['latency_ms_p99']:g}", lost, one["remark"]))
        yield from _section("Beside others", "The gateway's own CPU includes Valkey's.", PEER_HEADINGS, rows)
        for name, why in part["left_out"].items():
            yield f"Left out: {name}: {why}"
            yield ""


def _growth(report: Report) -> Iterator[str]:
    text = "CPU an event, and in yardsticks a million: the time of a fixed piece of work just before and after."
    for name, heading, column in (
        ("connections", "More connections", "connections"),
        ("growth", "More rows", "rows stored"),
    ):
        rows = []
        for key, one in report["parts"].get(name, {}).items():
            if isinstance(one, dict):
                cpu, yards = one["cpu_us_per_event"], one["yardsticks_per_million_events"]
                costs = (f"{cpu['gateway']:g}", f"{cpu['postgres']:g}")
                rows.append((key, f"{one['posts_per_s']:,}", *costs, f"{yards['gateway']:,}", f"{yards['postgres']:,}"))
        if rows:
            yield from _section(heading, text, (column, *GROWTH_HEADINGS), rows)


def _outage(report: Report) -> Iterator[str]:
    if part := report["parts"].get("outage"):
        memory = part["memory_mib"]
        text = (
            f"Of the gateway's processes, at a quarter of saturation; PostgreSQL stood still {part['outage_s']:.0f} s."
        )
        headings = tuple(name.replace("_", " ") for name in memory)
        yield from _section("Memory, MiB", text, headings, [tuple(str(one) for one in memory.values())])


def _ms(figures: Report, *names: str) -> tuple[str, ...]:
    return tuple(f"{figures[name]:.2f}" for name in names)


def _section(heading: str, text: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"## {heading}"
    yield ""
    if text:
        yield text
        yield ""
    for row in (headings, ("---",) * len(headings), *rows):
        yield "| " + " | ".join(row) + " |"
    yield ""
