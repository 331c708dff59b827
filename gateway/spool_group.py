"""`spool status | verify | dump | salvage`: the log as it lies on disk, gateway running or not."""

import sys
from pathlib import Path

import click

from gateway.command import Failed, config_option, data_dir_option, data_of
from gateway.layout import DataDir


@click.group()
def spool() -> None:
    """The durable log in the data directory. Reads only."""


def spooled(config: Path | None, data_dir: str | None) -> DataDir:
    """The data directory. Raises Failed when there is no spool in it."""
    data = data_of(config, data_dir)
    if not data.spool.is_dir():
        raise Failed(f"no spool in {data.root}")
    return data


@spool.command("status")
@config_option
@data_dir_option
def spool_status(config: Path | None, data_dir: str | None) -> None:
    """Incarnations, what they hold, and how far each reader is."""
    from gateway import spool_commands

    spool_commands.status(spooled(config, data_dir), click.echo)


@spool.command("verify")
@config_option
@data_dir_option
def spool_verify(config: Path | None, data_dir: str | None) -> None:
    """Check every frame; exit code 1 when one is damaged."""
    from gateway import spool_commands

    sys.exit(0 if spool_commands.verify(spooled(config, data_dir), click.echo) else 1)


@spool.command("dump")
@config_option
@data_dir_option
@click.option("--incarnation", help="Only this one (its first digits are enough).")
@click.option("--limit", type=click.IntRange(1), help="At most so many frames.")
def spool_dump(config: Path | None, data_dir: str | None, incarnation: str | None, limit: int | None) -> None:
    """Frames and their events, a JSON object a line."""
    from gateway import spool_commands

    spool_commands.dump(spooled(config, data_dir), click.echo, incarnation or "", limit)


@spool.command("salvage")
@config_option
@data_dir_option
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(allow_dash=True), help="Where the events go, a line each; - is the output.")
@click.option("--uncertain", is_flag=True, help="Also events that no checksum vouches for, behind the others.")
@click.option("--incarnation", help="32 hex digits, where neither a header nor a name says whose a file is.")
def spool_salvage(
    config: Path | None,
    data_dir: str | None,
    paths: tuple[Path, ...],
    output: str | None,
    uncertain: bool,
    incarnation: str | None,
) -> None:
    """Read damaged segments and quarantined pieces, by themselves or a whole data directory; change nothing.

    Says what can still be told, JSON lines, and writes the events so that they can be posted to the front again
    (application/x-ndjson, at most 1,000 lines a request): what is in the store already is the same row.
    """
    from gateway import salvage_commands

    data = data_of(config, data_dir)
    there = [path for path in (data.spool, data.quarantine) if path.is_dir()]
    if not paths and not there:
        raise Failed(f"no spool in {data.root}; segments can be named by themselves")
    try:
        nothing = salvage_commands.salvage(list(paths) or there, output, uncertain, incarnation)
    except BrokenPipeError:  # who read what is printed has seen enough
        raise
    except (salvage_commands.NothingFound, OSError) as error:
        raise Failed(str(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if nothing:
        raise Failed(f"nothing of a spool in {', '.join(nothing[:3])}{', …' if len(nothing) > 3 else ''}")
