"""The command line, `streamverse-ingest`. Every error a user can cause ends in one clear line and exit code 1 or 2."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click
import uvloop

from config.settings import Settings, SettingsError, decided
from gateway import cql_schema, logs
from gateway.ad_urls_command import ad_urls_command
from gateway.command import (
    Failed,
    config_option,
    data_dir_option,
    data_of,
    given,
    loaded,
    postgres_url,
    redis_url,
    settings_of,
    stored_rows,
)
from gateway.counters_group import counters
from gateway.cql_group import cql
from gateway.dead_letter_commands import dead_letters
from gateway.events_group import events
from gateway.keys_group import keys
from gateway.layout import DataDir, DataDirBusy
from gateway.spool_group import spool
from gateway.stage_group import stage

PROGRAM = "streamverse-ingest"
T = TypeVar("T")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name=PROGRAM)
@click.pass_context
def main(context: click.Context) -> None:
    """StreamVerse Ingest: a durable telemetry gateway for video players."""
    if context.invoked_subcommand != "serve":  # what a command prints is for machines, too: no log among it
        logs.configure("command", "warning")


@main.command()
@click.option("--embedded", is_flag=True, help="Start PostgreSQL and Valkey in the data directory.")
@data_dir_option
@config_option
@click.option("--port", type=click.IntRange(0, 65535), help="For players. Default 8080; 0: any free one.")
@click.option("--admin-port", type=click.IntRange(0, 65535), help="For engineers and Prometheus. Default 9090.")
@click.option("--workers", type=click.IntRange(1, 64), help="Collector processes.")
@click.option("--check", is_flag=True, help="Read the settings, load the code, and end.")
def serve(
    embedded: bool,
    data_dir: str | None,
    config: Path | None,
    port: int | None,
    admin_port: int | None,
    workers: int | None,
    check: bool,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C. SIGHUP restarts it rolling, see `restart`."""
    from gateway import handover
    from gateway.embedded.server import EmbeddedServerError
    from gateway.supervisor import Supervisor
    from storage.postgres.migration import MigrationError

    arguments: dict[str, Any] = {"http": given(port=port), "admin": given(port=admin_port)}
    arguments |= given(data_dir=data_dir, workers=workers)

    def reload() -> Settings:
        return decided(loaded(config, **arguments), embedded=embedded)

    try:
        settings = reload()
        logs.configure("supervisor", settings.log.level)
        if check:
            import_module("gateway.loaded")
            return
        for number in (signal.SIGHUP, signal.SIGUSR2):  # who asks too early asks in vain
            signal.signal(number, signal.SIG_IGN)
        inherited = handover.received()
        data = DataDir(Path(settings.data_dir).absolute())
        if inherited is None:
            data.make()
        lock = data.lock() if inherited is None else inherited.lock

        async def run() -> None:
            await Supervisor(settings, data, lock, embedded=embedded, reload=reload, inherited=inherited).run()

        uvloop.run(run())
    except (SettingsError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    except (DataDirBusy, EmbeddedServerError, MigrationError, OSError) as error:
        raise Failed(str(error)) from error


@main.command()
@data_dir_option
@config_option
@click.option("--supervisor", is_flag=True, help="Replace the supervising process, too.")
def restart(data_dir: str | None, config: Path | None, supervisor: bool) -> None:
    """Replace the processes of a running gateway, one after the other, by new ones with the code and the settings of
    now. No request is lost: a new process is ready before the old one closes.
    """
    from gateway import restart_command

    try:
        restart_command.restart(data_of(config, data_dir), click.echo, with_supervisor=supervisor)
    except restart_command.NotRestarted as error:
        raise Failed(str(error)) from error


@main.group()
def migrate() -> None:
    """The schema in PostgreSQL (golang-migrate's files and table)."""


def _migrating(config: Path | None, data_dir: str | None, work: Any) -> None:
    import asyncpg

    from storage.postgres.migration import MigrationError

    settings = settings_of(config, **given(data_dir=data_dir))
    url = postgres_url(settings)

    async def run() -> None:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            await work(connection, settings)
        finally:
            await connection.close()

    try:
        asyncio.run(run())
    except (
        MigrationError,
        OSError,
        TimeoutError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ) as error:
        raise Failed(str(error) or type(error).__name__) from error


@migrate.command("up")
@config_option
@data_dir_option
@click.argument("steps", type=click.IntRange(1), required=False)
def migrate_up(config: Path | None, data_dir: str | None, steps: int | None) -> None:
    """Apply the next STEPS migrations; all without it, and then those of the CQL store, too, where there is one."""
    from gateway.spool_commands import schema_ids
    from storage.postgres import migration

    async def work(connection: Any, settings: Settings) -> None:
        spooled = schema_ids(DataDir(Path(settings.data_dir)))
        count = await migration.up(connection, steps, spooled_schema_ids=spooled)
        click.echo(f"{count} applied")

    _migrating(config, data_dir, work)
    settings = settings_of(config, **given(data_dir=data_dir))
    if settings.store == "scylla" and steps is None:
        click.echo(f"{_in_cql(lambda: cql_schema.prepare(settings.scylla))} applied in CQL")


def _in_cql(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    from storage.scylla.driver import CqlError
    from storage.scylla.migration_lock import MigrationError

    try:
        return asyncio.run(work())
    except (CqlError, MigrationError) as error:
        raise Failed(f"CQL: {error}") from error


@migrate.command("down")
@config_option
@data_dir_option
@click.argument("steps", type=click.IntRange(1), required=False, default=1)
@click.option("--all", "everything", is_flag=True, help="Back to an empty database.")
def migrate_down(config: Path | None, data_dir: str | None, steps: int, everything: bool) -> None:
    """Take back the last STEPS migrations (1 without it). Data in what they made is gone."""
    from gateway.spool_commands import schema_ids
    from storage.postgres import migration

    async def work(connection: Any, settings: Settings) -> None:
        spooled = schema_ids(DataDir(Path(settings.data_dir)))
        count = await migration.down(connection, None if everything else steps, spooled_schema_ids=spooled)
        click.echo(f"{count} taken back")
        if settings.store == "scylla":
            click.echo("the CQL store stays as it is: its migrations go upwards only")

    _migrating(config, data_dir, work)


@migrate.command("status")
@config_option
@data_dir_option
def migrate_status(config: Path | None, data_dir: str | None) -> None:
    """Which migrations are applied; then those of the CQL store, too, where there is one."""
    from storage.postgres import migration

    async def work(connection: Any, _: Settings) -> None:
        status = await migration.status(connection)
        version = "none" if status.version is None else status.version
        click.echo(f"version {version}{', dirty' if status.dirty else ''}")
        for step in status.available:
            applied = status.version is not None and step.version <= status.version
            click.echo(f"  {step.version:06d}  {'applied' if applied else 'pending'}  {step.name}")

    _migrating(config, data_dir, work)
    settings = settings_of(config, **given(data_dir=data_dir))
    if settings.store == "scylla":
        for line in _in_cql(lambda: cql_schema.status(settings.scylla)):
            click.echo(line)


@migrate.command("force")
@config_option
@data_dir_option
@click.argument("version", type=int)
def migrate_force(config: Path | None, data_dir: str | None, version: int) -> None:
    """Set VERSION and clear "dirty" without running anything; -1: nothing is applied."""
    from storage.postgres import migration

    async def work(connection: Any, _: Settings) -> None:
        await migration.force(connection, version)
        click.echo(f"version {version}")

    _migrating(config, data_dir, work)


main.add_command(spool)
main.add_command(dead_letters)
main.add_command(counters)
main.add_command(stage)
main.add_command(ad_urls_command)
main.add_command(keys)
main.add_command(events)
main.add_command(cql)


@main.command()
@config_option
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def verify(config: Path | None, data_dir: str | None, as_json: bool) -> None:
    """Compare spool, positions, tables and counters; exit code 1 when they differ, naming what.

    It only reads. One that was ended is begun anew; of the CQL store it says on the error output how far it is.
    """
    from gateway import report, verifying

    settings = settings_of(config, **given(data_dir=data_dir))
    data = DataDir(Path(settings.data_dir))
    try:
        urls = postgres_url(settings), redis_url(settings)
        rows = stored_rows(settings, lambda words: click.echo(words, err=True))
        found = asyncio.run(verifying.verify(data, *urls, settings.redis.view_memory_s, rows))
    except verifying.CannotVerify as error:
        raise Failed(str(error)) from error
    click.echo(report.as_json(found) if as_json else report.as_text(found))
    sys.exit(0 if found.agrees else 1)


if __name__ == "__main__":
    main(prog_name="./gw")  # which runs this module; "try … --help" is then a command that is there
