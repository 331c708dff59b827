"""`stage status | anew`: how far lines of CMCD are judged, and what became of them."""

import sqlite3
from pathlib import Path

import click

from gateway.command import Failed, config_option, data_dir_option
from gateway.spool_group import spooled


@click.group()
def stage() -> None:
    """The session stage, which makes events of lines of CMCD."""


@stage.command("status")
@config_option
@data_dir_option
def stage_status(config: Path | None, data_dir: str | None) -> None:
    """What became of the lines that were read."""
    from storage.stage import state_file
    from storage.stage.state_file import Damaged, StateFile
    from storage.stage.store import DIRECTORY

    path = spooled(config, data_dir).root / DIRECTORY / state_file.NAME
    try:
        file = StateFile(path, reads_only=True)
        try:
            books, open_streams = file.books(), file.open_streams()
        finally:
            file.close()
    except FileNotFoundError:
        raise Failed(f"{path} is not there") from None
    except (sqlite3.Error, Damaged) as error:
        raise Failed(str(error)) from error
    for name, number in books._asdict().items():
        click.echo(f"{name:<8}{number:>14,}")
    click.echo(f"{'open':<8}{open_streams:>14,}  streams of which more is expected")


@stage.command("anew")
@config_option
@data_dir_option
def stage_anew(config: Path | None, data_dir: str | None) -> None:
    """Give up the stage's state: it begins anew with what the spool still holds.

    For a state file that is lost or damaged. Lines that are still in the spool are judged again and make the same rows,
    which the stores know. The gateway may run; one that does not will do it at its next start.
    """
    from ingest.spool.disk import FileDisk, write_whole
    from storage.stage.store import ANEW, DIRECTORY

    directory, disk = spooled(config, data_dir).root / DIRECTORY, FileDisk()
    disk.make_directory(directory)
    write_whole(disk, directory / ANEW, b"")
    click.echo("it begins anew when it is opened next: within ten seconds where it is red, else with its next start")
