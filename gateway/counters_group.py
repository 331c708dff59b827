"""`counters rebuild`: what Redis counts, counted anew."""

import asyncio
import os
from pathlib import Path

import click

from gateway import logs
from gateway.command import Failed, config_option, data_dir_option, given, postgres_url, redis_url, settings_of
from gateway.spool_group import spooled


@click.group()
def counters() -> None:
    """What Redis counts: views by hour, live viewers."""


@counters.command("rebuild")
@config_option
@data_dir_option
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
def counters_rebuild(config: Path | None, data_dir: str | None, dry_run: bool) -> None:
    """Count views anew from the store, beside the counters in force, and put them into force at once.

    For a Redis that was lost, was cut loose (`rebuild_needed`) or counts wrongly. The gateway may run, and need not be
    started again. One that was ended is begun anew; with store = "scylla" the next one goes on with it, or says why
    not.
    """
    from gateway import counters_commands
    from gateway.role import READERS_NICENESS

    settings = settings_of(config, **given(data_dir=data_dir))
    data = spooled(config, data_dir)
    postgres, redis = postgres_url(settings), redis_url(settings)
    if not redis:
        raise Failed("INGEST_REDIS_URL is not set")
    logs.configure("rebuild", settings.log.level)
    os.nice(READERS_NICENESS)
    try:
        if dry_run:
            found = asyncio.run(counters_commands.apart(data, settings, postgres, redis))
            click.echo(f"tables {found.views:,} views, Redis {found.counted:,}: {found.differing:,} counts differ")
            return
        done = asyncio.run(counters_commands.rebuild(data, settings, postgres, redis, click.echo))
    except counters_commands.CannotRebuild as error:
        raise Failed(str(error)) from error
    click.echo(f"in force: {done.views:,} views of {done.plays:,} plays; the counters go on from there")
