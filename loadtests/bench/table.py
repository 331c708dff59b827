"""The figures of a run for people, and the marks that bind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

Report = dict[str, Any]


class Mark(NamedTuple):
    """A figure that binds: where it stands in the report, the bound, and from which side."""

    part: str
    path: tuple[str, ...]
    what: str
    bound: float
    at_least: bool
    beside: Callable[[Report], str] = lambda figures: ""

    def value(self, report: Report) -> float | None:
        """None when it was not measured."""
        found: Any = report["parts"].get(self.part)
        for name in self.path:
            found = found.get(name) if isinstance(found, dict) else None
        return None if found is None else float(found)

    def holds(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


def _copy(figures: Report) -> str:
    return f"{figures['stored_per_s']:,} rows/s; bare COPY {figures['bare_copy_per_s']:,}"


def _aiohttp(figures: Report) -> str:
    return f"{figures['stored_per_s']:,} a second; bare aiohttp {figures['bare_aiohttp_per_s']:,}"


def _pixels(figures: Report) -> str:
    ours, bare = (sorted(figures[name])[len(figures[name]) // 2] for name in ("per_s", "bare_aiohttp_per_s"))
    return f"{ours:,} a second; bare aiohttp {bare:,}"


def _by_process(figures: Report) -> str:
    cpu = figures["cpu_us_per_event"]
    return (
        f"collectors {cpu['collectors']}, PostgreSQL drain {cpu['postgres_drain']}, other readers {cpu['redis_reader']}"
    )


def _crowd(figures: Report) -> str:
    counted = f"{figures['told']:,} told of {figures['viewers']:,}: {figures['off_share']:.2%} off"
    return f"{counted}; what is known of each session: {figures['sessions_mib']:,} MiB more"


def _cql(figures: Report) -> str:
    return f"{figures['rows_per_s']:,} rows/s; the loop {figures['bare_rows_per_s']:,}"


def _cql_cpu(figures: Report) -> str:
    return f"{figures['drain_us_per_row']} µs; the loop {figures['bare_us_per_row']}"


def _hot(figures: Report) -> str:
    at_full_scale = f"{figures['partition_mean_mb']} by arithmetic, {figures['row_bytes']['events_by_content']} B a row"
    return f"{figures['rows']:,} rows, 1/{figures['scale']} of an hour; {at_full_scale}"


MARKS: Final = (
    Mark("many", ("share_of_bare_copy",), "rows stored, 20 a request: share of bare COPY", 0.5, True, _copy),
    Mark("single", ("share_of_bare_aiohttp",), "single events: share of bare aiohttp", 0.5, True, _aiohttp),
    Mark("pixel", ("share_of_bare_aiohttp",), "pixels: share of bare aiohttp", 0.7, True, _pixels),
    Mark("cmcd", ("share_of_bare_aiohttp",), "CMCD, a line a request: share of bare aiohttp", 0.7, True, _pixels),
    Mark("cmcd", ("collectors_us_per_line", "of 20"), "collectors' CPU, µs a line of CMCD, 20 a request", 20.0, False),
    Mark("stage", ("us_per_line",), "session stage's CPU, µs a line of CMCD, 10 a request", 15.0, False),
    Mark("many", ("cpu_us_per_event", "gateway"), "gateway CPU, µs an event", 4.0, False, _by_process),
    Mark("many", ("cpu_us_per_event", "postgres"), "PostgreSQL CPU, µs a row", 5.0, False),
    Mark("ads", ("cpu_us_per_event", "postgres"), "PostgreSQL CPU, µs an ad event", 15.0, False),
    Mark("resent", ("share_of_none_resent_1%",), "rows/s with 1 % resent, of none", 0.9, True),
    Mark("resent", ("share_of_none_resent_10%",), "rows/s with 10 % resent, of none", 0.6, True),
    Mark("latency", ("50%", "latency_ms", "p99"), "answer p99 at half of saturation, ms", 15.0, False),
    Mark("outage", ("memory_mib_max",), "memory of the gateway, MiB, an outage included", 350, False),
    Mark("crowd", ("sets_mib",), "ten million viewers of one channel, MiB", 64, False, _crowd),
    Mark("crowd", ("read_ms_p50",), "their number, ms a read", 5.0, False),
    Mark("scylla", ("share_of_bare_loop",), "CQL drain, rows/s: share of its driver's own loop", 0.8, True, _cql),
    Mark("scylla", ("share_of_bare_cpu",), "CQL drain, CPU a row: the loop's, of it", 0.8, True, _cql_cpu),
    Mark("scylla", ("session_read_ms",), "CQL: a session's 1,000 events, ms", 20.0, False),
    Mark("scylla", ("content_read_ms",), "CQL: a content's last hour, 1,000 events, ms", 20.0, False),
    Mark("partitions", ("partition_max_mb",), "CQL: largest partition, half is of one content, MB", 100.0, False, _hot),
    Mark("peers", ("rows_of_telegraf",), "rows stored, 20 a request: times Telegraf", 2.0, True),
    Mark("peers", ("single_of_telegraf",), "single events: times Telegraf", 1.0, True),
)
QUICK: Final = ("many", "single")


def lines(report: Report) -> Iterator[str]:
    """The marks that were measured, then whether every acknowledged event was counted in the table."""
    rows = [("", "figure", "mark", "", "")]
    for mark in MARKS:
        if (value := mark.value(report)) is not None:
            bound = f"{'≥' if mark.at_least else '≤'} {mark.bound:g}"
            verdict = "holds" if mark.holds(value) else "MISSED"
            rows.append((mark.what, f"{value:g}", bound, verdict, mark.beside(report["parts"][mark.part])))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        yield "  ".join(
            (row[0].ljust(widths[0]), row[1].rjust(widths[1]), *map(str.ljust, row[2:4], widths[2:]), row[4])
        ).rstrip()
    for name, figures in report["parts"].items():
        if "acknowledged" in figures:
            equal = "equal" if figures["all_stored"] else "NOT EQUAL"
            yield f"{name}: acknowledged {figures['acknowledged']:,}, count(*) {figures['stored_count']:,}: {equal}"


def all_stored(report: Report) -> bool:
    """In every part: each acknowledged event once."""
    return all(figures.get("all_stored", True) for figures in report["parts"].values())
