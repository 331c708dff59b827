"""The comparison for people: one line a system, and beneath it what the columns mean and who was left out. Pure."""

from __future__ import annotations

from typing import Any, Final

REFERENCE: Final = "gateway"
IN_MEMORY: Final = "in memory"
OTHERS_MAX: Final = 0.1  # of all cores
SIZES: Final = ("20", "1")  # events a request
HEADINGS: Final = (
    "",
    "an answer means",
    "rows/s, 20 a POST",
    "share",
    "single/s",
    "share",
    "own CPU µs",
    "PostgreSQL µs",
    "p50 / p99 ms",
    "single p50 / p99",
    "others' CPU",
    "not stored",
    "lost at kill -9",
)


def table(figures: dict[str, Any]) -> str:
    """`figures` of comparison.compare. Shares are of the gateway's rate; CPU is per event at 20 a request."""
    systems, settings = figures["systems"], figures["settings"]
    reference = systems.get(REFERENCE)
    rows = [HEADINGS]
    for name, system in systems.items():
        many, single = system["20"], system["1"]
        rows.append(
            (
                name,
                system["answer_means"],
                f"{many['stored_per_s']:,}",
                _share(many, reference and reference["20"]),
                f"{single['stored_per_s']:,}",
                _share(single, reference and reference["1"]),
                f"{many['cpu_us_per_event']:.1f}",
                f"{many['postgres_cpu_us_per_event']:.1f}",
                f"{many['latency_ms_p50']:.1f} / {many['latency_ms_p99']:.1f}",
                f"{single['latency_ms_p50']:.1f} / {single['latency_ms_p99']:.1f}",
                f"{many['others_cpu_share']:.0%} / {single['others_cpu_share']:.0%}",
                f"{many['missing'] + single['missing']:,}",
                f"{system['killed_lost']:,} of {system['killed_acknowledged']:,}" if settings["kills"] else "–",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", *notes(figures)])


def notes(figures: dict[str, Any]) -> list[str]:
    """What one has to know to read the table."""
    systems, settings, loads = figures["systems"], figures["settings"], figures["load_averages"]
    lines = [f"{name}: {system['remark']}" for name, system in systems.items()]
    lines += [f"{name}: LEFT OUT: {reason}" for name, reason in figures["left_out"].items()]
    lines += [
        f"The same bodies, client and PostgreSQL for all; {settings['connections']} connections in a closed loop, so "
        f"times are those of saturation; means of {settings['rounds']} rounds of {settings['seconds']:g} s.",
        "Shares are of the gateway's rate; its own CPU includes Valkey's.",
        f"kill -9 of all processes at {settings['kill_events_per_s']:,} events/s, {settings['kills']} times, each "
        "followed by a restart and a wait; the gateway's PostgreSQL dies with it, the peers' lives on.",
        f"Load average {loads[0]} before, up to {max(loads)} during it; others' CPU is the most that the rest of "
        "the machine took of all cores during a load, at 20 / 1 a request.",
    ]
    if _others(systems) > OTHERS_MAX:
        lines.append(
            f"NOT A QUIET MACHINE: where others took over {OTHERS_MAX:.0%}, figures compare nothing; measure again."
        )
    if REFERENCE in systems:
        lines += [f"{_against_the_best(systems, size)} ({size} a request)." for size in SIZES if _in_memory(systems)]
    return lines


def _in_memory(systems: dict[str, Any]) -> list[str]:
    return [name for name, system in systems.items() if system["answer_means"] == IN_MEMORY]


def _against_the_best(systems: dict[str, Any], size: str) -> str:
    rates = {name: systems[name][size]["stored_per_s"] for name in _in_memory(systems)}
    best = max(rates, key=rates.__getitem__)
    ratio = systems[REFERENCE][size]["stored_per_s"] / max(1, rates[best])
    return f"The gateway against {best}, the fastest that answers from memory: × {ratio:.2f}"


def _share(figures: dict[str, Any], reference: dict[str, Any] | None) -> str:
    return f"{figures['stored_per_s'] / reference['stored_per_s']:.2f}" if reference else "–"


def _others(systems: dict[str, Any]) -> float:
    return max((system[size]["others_cpu_share"] for system in systems.values() for size in SIZES), default=0.0)
