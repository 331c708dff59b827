"""What `verify` found, for machines and for people."""

from collections import Counter
from typing import Any

import orjson
from msgspec import Struct, field

NAMED_MAX = 100
"""Differences named in one report; the rest are counted."""


class Difference(Struct, frozen=True):
    """One thing that does not agree."""

    what: str
    """equation · month · row_missing · row_altered · row_doubled · row_unknown · table · views · position · ending ·
    missing"""
    where: str
    detail: str


class Report(Struct):
    """What was compared, and what differs."""

    totals: dict[str, int] = field(default_factory=dict)
    in_spool: int = 0
    """Frames that are acknowledged and not yet in the store."""
    months: dict[str, dict[str, int]] = field(default_factory=dict)
    views: int | None = None
    """Views of the tables that the counters were held against; None when they are at another position."""
    differences: list[Difference] = field(default_factory=list)
    unnamed: int = 0
    """Differing rows beyond the first NAMED_MAX."""
    notes: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return not self.differences

    def differs(self, what: str, where: str, detail: str) -> None:
        if len(self.differences) < NAMED_MAX:
            self.differences.append(Difference(what, where, detail))
        else:
            self.unnamed += 1


def as_json(report: Report) -> str:
    """For machines."""
    differences = [{"what": d.what, "where": d.where, "detail": d.detail} for d in report.differences]
    fields: dict[str, Any] = {
        "agrees": report.agrees,
        "totals": report.totals,
        "in_spool_frames": report.in_spool,
        "months": report.months,
        "views": report.views,
        "differences": differences,
        "unnamed": report.unnamed,
        "notes": report.notes,
    }
    return orjson.dumps(fields, option=orjson.OPT_INDENT_2).decode()


def as_text(report: Report) -> str:
    """For people."""
    totals = Counter(report.totals)
    lines = [
        f"received    {totals['received']:>12,}  events, up to the store's position",
        f"= stored    {totals['stored']:>12,}",
        f"+ duplicate {totals['duplicate'] + totals['duplicates']:>12,}  {totals['duplicate']:,} found by the store",
        f"+ signal    {totals['signals']:>12,}  heartbeats: counted, not stored",
        f"+ staged    {totals['staged']:>12,}  lines of CMCD, of which the session stage makes events",
        *(
            [f"+ elsewhere {totals['elsewhere']:>12,}  ad events, which PostgreSQL keeps"]
            if totals["elsewhere"]
            else []
        ),
        f"+ rejected  {totals['rejected']:>12,}",
        f"+ dead      {totals['dead']:>12,}",
        f"+ quarantined {totals['quarantined']:>10,}",
        f"in spool    {report.in_spool:>12,}  frames still to be delivered",
        *(
            f"{month}     {m['in_table']:>12,}  rows in the table, {m['stored']:,} stored"
            for month, m in report.months.items()
        ),
    ]
    if report.views is not None:
        lines.append(f"views       {report.views:>12,}  by the tables and by Redis")
    lines += [f"note: {note}" for note in report.notes]
    lines += [f"DIFFERS {d.what}: {d.where}: {d.detail}" for d in report.differences]
    if report.unnamed:
        lines.append(f"DIFFERS in {report.unnamed} more places")
    lines.append("everything agrees" if report.agrees else "it does not agree")
    return "\n".join(lines)
