"""`cql begin-anew`: the way on where the keyspace, or what the data directory knows of it, is lost."""

import asyncio
from pathlib import Path

import click

from gateway.command import Failed, config_option, data_dir_option, given, settings_of
from ingest.spool.disk import FileDisk
from ingest.spool.ending import NewerEnding
from ingest.spool.segment import UnknownVersion
from storage.sink import StoreError


@click.group()
def cql() -> None:
    """The CQL store of this data directory (store = "scylla")."""


@cql.command("begin-anew")
@config_option
@data_dir_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def cql_begin_anew(config: Path | None, data_dir: str | None, yes: bool) -> None:
    """Register the data directory anew, and deliver again what the spool still holds.

    For a keyspace that was lost, emptied, or put back as it was before, and for a lost DATA/scylla. What the spool has
    no more is booked as quarantined: it is in the keyspace, or lost. A gateway may be running; its drain begins anew.
    """
    from storage.scylla import anew
    from storage.scylla.sink import ScyllaSink

    settings = settings_of(config, **given(data_dir=data_dir))
    if settings.store != "scylla":
        raise Failed('only with store = "scylla"')
    root, disk = Path(settings.data_dir).absolute(), FileDisk()
    try:
        positions = anew.first_kept(root, disk)
        lost = sum(one.books.quarantined.rows for one in positions.values())
        click.echo(f"{lost} events are not in the spool of {root} any more: they will be booked as quarantined.")
        if not yes:
            click.confirm("Begin anew?", abort=True)
        asyncio.run(anew.begin(settings.scylla, root, disk, ScyllaSink.reader, positions))
    except (StoreError, OSError, NewerEnding, UnknownVersion) as error:
        raise Failed(str(error)) from error
    click.echo("Begun anew: the drain delivers what the spool holds, under the same keys as before.")
