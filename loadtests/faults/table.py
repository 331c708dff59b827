"""The table that `./gw faults` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from loadtests.faults.trial import Row

COLUMNS: Final = (
    *("fault", "rounds", "posted", "acknowledged", "resent", "stored", "missing", "doubled", "miscounted"),
    *("recovered, s", "verify"),
)


def table(rows: Sequence[Row]) -> str:
    """One line a fault, a line of sums, then what went wrong and what was left out."""
    cells = [COLUMNS, *map(_cells, rows)]
    if len(rows) > 1:
        cells.append(_cells(total(rows)))
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    lines = [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in cells)
    ]
    lines += [
        "\nposted: events sent, heartbeats included, which become no rows; acknowledged: rows that answers promised.",
        "-twin: by aiohttp and the Python core, two collectors, segments of 1 MiB; the others as installed.",
    ]
    lines += [f"\n{row.fault}: left out: {row.left_out}" for row in rows if row.left_out]
    lines += [f"\n{row.fault}: rows alone were judged, its counts are gone for good" for row in rows if not row.counts]
    lines += [f"\n{row.fault}: {wrong}" for row in rows for wrong in row.wrong]
    return "\n".join(lines)


def total(rows: Sequence[Row]) -> Row:
    """All rows in one."""
    summed = Row("all")
    for row in rows:
        for name in ("rounds", "posted", "acknowledged", "resent", "stored", "missing", "doubled", "miscounted"):
            setattr(summed, name, getattr(summed, name) + getattr(row, name))
        summed.recovered_s = max(summed.recovered_s, row.recovered_s)
        summed.wrong += row.wrong
    return summed


def _cells(row: Row) -> tuple[str, ...]:
    counts = (row.posted, row.acknowledged, row.resent, row.stored, row.missing, row.doubled)
    verdict = "agrees" if row.agrees else "WRONG"
    return (
        row.fault,
        str(row.rounds),
        *(f"{count:,}" for count in counts),
        f"{row.miscounted:,}" if row.counts else "-",
        f"{row.recovered_s:.1f}",
        "left out" if row.left_out else verdict,
    )
