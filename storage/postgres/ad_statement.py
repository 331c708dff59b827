"""The statements of ads.sql, their lists of columns filled in from the vocabulary. Pure."""

import re
from pathlib import Path
from typing import Final

from ingest.ad import PROGRESS, TIMED_EVENTS
from storage.postgres.statement import parse

EVENTS: Final = tuple(event for event in TIMED_EVENTS if event != PROGRESS)
"""Those that have a time column in ad_impressions: firstQuartile → first_quartile_at."""
ATTRIBUTES: Final = (
    "campaign_id", "creative_id", "content_id", "profile_id", "session_id", "error_code", "duration",
)  # fmt: skip
"""Columns that say what an ad was; each with a <name>_told_at."""
FIGURES: Final = {
    "impressions": "impression", "starts": "start", "first_quartiles": "firstQuartile", "midpoints": "midpoint",
    "third_quartiles": "thirdQuartile", "completions": "complete", "clicks": "click", "skips": "skip",
    "errors": "error", "viewables": "viewable",
}  # fmt: skip
"""Column of ad_campaign_hours → the event whose earliest time says the hour."""
STAGES: Final = ("impression", "start", "firstQuartile", "midpoint", "thirdQuartile", "complete")
"""In the order in which an ad passes them."""
NUMBERS: Final = {
    event: number for number, event in enumerate((*STAGES, *(one for one in EVENTS if one not in STAGES)), 1)
}
"""Event → `staged_ads.event_number`, by which it is told from the others: some fifty times an event, and a text takes
longer. Stages first: of most events the number is found within six looks.
"""
OTHERS_MAX: Final = 100
"""Distinct events without a column that an impression keeps; more of them count as repeats."""


def time_column(event: str) -> str:
    """firstQuartile → first_quartile_at."""
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", event) + "_at"


def _each(form: str, between: str = ", ") -> str:
    """`form` for every event of EVENTS."""
    return between.join(form.format(number=NUMBERS[event], column=time_column(event)) for event in EVENTS)


def _of_attributes(form: str) -> str:
    return ", ".join(form.format(name=name) for name in ATTRIBUTES)


def _hour(column: str) -> str:
    return f"date_bin('1 hour', known.{column}, 'epoch')"


_TIMES = [time_column(event) for event in EVENTS]
COLUMNS: Final = [
    "events", "repeats", "received_at", "test", *_TIMES, *ATTRIBUTES, *(f"{name}_told_at" for name in ATTRIBUTES),
    "other_events",
]  # fmt: skip
"""Of ad_impressions, what the merge writes beside the key."""
_ALL_FIGURES = [*FIGURES, "implausible", "tests"]
_HALF = "known.duration * interval '0.0005 s' - interval '1 s'"
_NOTHING = ", ".join(["NULL"] * len(FIGURES))
_COUNTING = "known.campaign_id IS NOT NULL AND NOT known.test AND NOT known.implausible"
_HOURS = (
    f"CASE WHEN known.test THEN ARRAY[{_NOTHING}, NULL, {_hour('received_at')}] "
    f"WHEN known.implausible THEN ARRAY[{_NOTHING}, {_hour('received_at')}, NULL] "
    f"ELSE ARRAY[{', '.join(_hour(time_column(event)) for event in FIGURES.values())}] END"
)
_TOLD_BEFORE = "coalesce(known.{name}_told_at, known.received_at)"
_IS_NEW = "sent.{name} IS NOT NULL AND (known.{name} IS NULL OR (sent.{name}_told_at, sent.{name}) < (" + (
    _TOLD_BEFORE + ", known.{name}))"
)


def _in_turn() -> str:
    """Whether a stage is the latest so far, by its place and by its time, so that no row becomes implausible by it."""
    columns = [f"known.{time_column(event)}" for event in STAGES]
    start, end = columns[STAGES.index("start")], NUMBERS["complete"]
    later = " ".join(
        f"WHEN {number} THEN coalesce({', '.join(columns[number:])}) IS NULL" for number in range(1, len(columns))
    )
    return (
        f"CASE staged.event_number {later} ELSE TRUE END AND staged.occurred_at >= "
        f"coalesce(greatest({', '.join(columns)}), staged.occurred_at) AND (staged.event_number <> {end} "
        f"OR coalesce(staged.occurred_at - {start} >= greatest(interval '1 s', {_HALF}), TRUE))"
    )


_LISTS: Final = {
    "numbers": " ".join(f"WHEN '{event}' THEN {number}" for event, number in NUMBERS.items()),
    "times": ", ".join(_TIMES),
    "columns": ", ".join(COLUMNS),
    "merged_columns": ", ".join(f"merged.{name}" for name in COLUMNS),
    "single_times": _each("CASE WHEN event_number = {number} THEN occurred_at END AS {column}"),
    "gathered_times": _each("min(occurred_at) FILTER (WHERE event_number = {number})"),
    "merged_times": _each("least(known.{column}, sent.{column}) AS {column}"),
    "next_times": _each(
        "{column} = coalesce(known.{column}, CASE WHEN staged.event_number = {number} THEN staged.occurred_at END)"
    ),
    "next_cases": _each("WHEN {number} THEN known.{column} IS NULL", " "),
    "in_turn": _in_turn(),
    "told_at": ", ".join(f"known.{name}_told_at" for name in ATTRIBUTES),
    "same_attributes": " AND ".join(f"(staged.{name} IS NULL OR known.{name} IS NOT NULL)" for name in ATTRIBUTES),
    "attributes": ", ".join(ATTRIBUTES),
    "first_cases": " ".join(
        f"WHEN known.{time_column(event)} IS NOT NULL THEN '{event}'" for event in FIGURES.values()
    ),
    "figure_times": ", ".join(f"known.{time_column(event)}" for event in FIGURES.values()),
    "stages_number": str(len(STAGES)),
    "known_cases": _each("WHEN {number} THEN known.{column} IS NOT NULL", " "),
    "single_attributes": _of_attributes("{name}, received_at AS {name}_told_at"),
    "gathered_attributes": _of_attributes(
        "(array_agg({name} ORDER BY received_at, {name}) FILTER (WHERE {name} IS NOT NULL))[1], "
        "min(received_at) FILTER (WHERE {name} IS NOT NULL)"
    ),
    "merged_attributes": _of_attributes(
        f"CASE WHEN {_IS_NEW} THEN sent.{{name}} ELSE known.{{name}} END AS {{name}}, "
        f"nullif(CASE WHEN {_IS_NEW} THEN sent.{{name}}_told_at "
        f"WHEN known.{{name}} IS NOT NULL THEN {_TOLD_BEFORE} END, "
        "least(known.received_at, sent.received_at)) AS {name}_told_at"
    ),
    "other": "staged.event || coalesce(' ' || staged.progress_offset, '') COLLATE \"C\"",
    "others_max": str(OTHERS_MAX),
    "counting": _COUNTING,
    "hours": _HOURS,
    "behind": (
        f"known.campaign_id AS campaign, {_COUNTING} AS counts, {_HOURS} AS hours, known.profile_id AS profile, "
        f"known.repeats AS repeats, {_hour('received_at')} AS received_hour"
    ),
    "figure_events": ", ".join(f"'{event}'" for event in FIGURES.values()),
    "figure_cases": " ".join(f"WHEN '{event}' THEN {number}" for number, event in enumerate(FIGURES.values(), 1)),
    "figures": ", ".join(_ALL_FIGURES),
    "figures_number": str(len(_ALL_FIGURES)),
    "figure_sums": ", ".join(
        f"coalesce(sum(amount) FILTER (WHERE figure = {number}), 0) AS {name}"
        for number, name in enumerate(_ALL_FIGURES, 1)
    ),
    "figure_moves": ", ".join(f"{name} = sums.{name} + excluded.{name}" for name in _ALL_FIGURES),
}

STATEMENTS: Final = {
    name: statement.format(**_LISTS)
    for name, statement in parse((Path(__file__).parent / "ads.sql").read_text("utf-8")).items()
}
