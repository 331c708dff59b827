"""Options that say which dead letters a command means."""

from collections.abc import Callable
from typing import Any

import click

from gateway.command import config_option, data_dir_option
from ingest.decode.time import text_us
from storage.dead_letter.choice import Choice, parsed_id
from storage.dead_letter.letter import Identity


class Id(click.ParamType[Any]):
    """A letter's id, of whose incarnation the first digits are enough."""

    name = "id"

    def convert(self, value: Any, param: Any, ctx: Any) -> Identity:
        try:
            return parsed_id(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Moment(click.ParamType[Any]):
    """RFC 3339 with an offset, or a date in UTC → microseconds since 1970."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        try:
            return text_us(value if len(value) > 10 else value + "T00:00:00Z")
        except ValueError:
            self.fail(f"{value!r} is no time like 2026-11-22T20:00:00Z, and no date like 2026-11-22", param, ctx)


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which letters; they arrive as one Choice."""

    def chosen_by(ctx: click.Context, /, **options: Any) -> Any:
        event_id = options.pop("event_id")
        choice = Choice(
            ids=tuple(options.pop("ids", ())),
            reason=options.pop("reason"),
            sqlstate=options.pop("sqlstate"),
            event_id=str(event_id) if event_id else None,
            incarnation=(options.pop("incarnation") or "").lower(),
            since_us=options.pop("since"),
            until_us=options.pop("until"),
        )
        return ctx.invoke(command, choice=choice, **options)

    for option in (
        click.option("--limit", type=click.IntRange(1), help="At most so many, oldest first."),
        click.option("--incarnation", help="First digits of the spool's incarnation."),
        click.option("--until", type=Moment(), help="Written before this time."),
        click.option("--since", type=Moment(), help="Written at this time or later."),
        click.option("--event-id", type=click.UUID, help="Of this event."),
        click.option("--sqlstate", help="Of the database's refusal."),
        click.option("--reason", help="month_dropped, sqlstate_23514, …"),
        data_dir_option,
        config_option,
    ):
        chosen_by = option(chosen_by)
    chosen_by.__doc__ = command.__doc__
    chosen_by.__name__ = command.__name__
    return click.pass_context(chosen_by)


def ids(command: Callable[..., Any]) -> Callable[..., Any]:
    """Ids, or --all where a command that changes something has nothing else to go by."""
    command = click.option("--all", "everything", is_flag=True, help="Every letter there is.")(command)
    return click.argument("ids", type=Id(), nargs=-1)(command)
