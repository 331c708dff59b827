"""`events session | content | profile | errors | plan`: what happened, as JSON lines."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click
import orjson

from gateway.command import Failed, config_option, data_dir_option, given, postgres_url, settings_of
from gateway.letter_options import Moment
from storage.scylla.content_buckets import PlanRefused
from storage.sink import StoreError

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
LIMIT: Final = 1_000


@click.group()
def events() -> None:
    """Events that are stored, a JSON line each: of PostgreSQL, or of the CQL store where that keeps them.

    Times in a line are microseconds since 1970 UTC, absent values are left out. PostgreSQL reads all that occurred in
    the span; CQL reads the partitions of what is asked for.
    """


def _command(what: str, kind: click.ParamType[Any], hours: int, text: str) -> None:
    """`events WHAT`, which looks back `hours` unless told otherwise."""

    @events.command(what, help=text)
    @config_option
    @data_dir_option
    @click.option("--since", type=Moment(), help=f"Occurred then or later; without it {hours} h before --until.")
    @click.option("--until", type=Moment(), help="Occurred before then; without it an hour from now.")
    @click.option("--limit", type=click.IntRange(1, 100_000), default=LIMIT, show_default=True, help="At most so many.")
    @click.option("--times", type=click.IntRange(1), help="Read it so often, and say on stderr how long that takes.")
    @click.argument("of", metavar="EDGE" if what == "errors" else "ID", type=kind)
    def command(
        config: Path | None,
        data_dir: str | None,
        since: int | None,
        until: int | None,
        limit: int,
        times: int | None,
        of: Any,
    ) -> None:
        from gateway import event_reads

        settings = settings_of(config, **given(data_dir=data_dir))
        until_us = until if until is not None else time.time_ns() // 1_000 + HOUR_US
        since_us = since if since is not None else until_us - hours * HOUR_US
        try:
            found, ms = event_reads.read(
                settings, lambda: postgres_url(settings), what, str(of), since_us, until_us, limit, times or 1
            )
        except StoreError as error:
            raise Failed(str(error)) from error
        for event in found:
            click.echo(orjson.dumps(event).decode())
        if times:
            click.echo(f"{len(found)} events in {ms:.1f} ms, the median of the later half of {times}", err=True)


_command("session", click.UUID, 48, "A session's timeline, the oldest first.")
_command("content", click.UUID, 2, "What happened around a content, the newest first.")
_command("profile", click.UUID, 30 * 24, "What a profile did, the newest first; in CQL of some columns alone.")
_command("errors", click.STRING, 2, "What failed at a CDN edge, the newest first; '' is where players named none.")


@events.command("plan")
@config_option
@data_dir_option
@click.argument("content_id", type=click.UUID)
@click.argument("day", type=click.DateTime(["%Y-%m-%d"]))
@click.argument("buckets", type=click.IntRange(1))
def events_plan(config: Path | None, data_dir: str | None, content_id: UUID, day: datetime, buckets: int) -> None:
    """Divide CONTENT_ID into BUCKETS partitions an hour on DAY (UTC), in CQL: for a premiere, two days before it."""
    from gateway import event_reads

    settings = settings_of(config, **given(data_dir=data_dir))
    if settings.store != "scylla":
        raise Failed('only with store = "scylla"')
    number = int(day.replace(tzinfo=UTC).timestamp() * 1e6) // DAY_US
    try:
        event_reads.plan_content(settings, content_id, number, buckets, time.time_ns() // 1_000)
    except (StoreError, PlanRefused) as error:
        raise Failed(str(error)) from error
