"""The command line, `streamverse-ingest`. Every error a user can cause ends in one clear line and exit code 1 or 2."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
import uvloop

from config.settings import Settings, SettingsError, load
from gateway import logs
from gateway.layout import DataDir, DataDirBusy

PROGRAM = "streamverse-ingest"


class Failed(click.ClickException):
    """Said on standard error; exit code 1."""


def settings_of(config: Path | None, **arguments: Any) -> Settings:
    """As config.settings.load; `gateway.toml` in the working directory is read when no file is named."""
    default = Path("gateway.toml")
    try:
        return load(config or (default if default.exists() else None), **arguments)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error


config_option = click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings; default gateway.toml if it is there."
)
data_dir_option = click.option("--data-dir", type=click.Path(file_okay=False), help="The gateway's directory.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name=PROGRAM)
def main() -> None:
    """StreamVerse Ingest: a durable telemetry gateway for video players."""


@main.command()
@click.option("--embedded", is_flag=True, help="Start PostgreSQL and Valkey in the data directory.")
@data_dir_option
@config_option
@click.option("--port", type=click.IntRange(0, 65535), help="For players. Default 8080; 0: any free one.")
@click.option("--admin-port", type=click.IntRange(0, 65535), help="For engineers and Prometheus. Default 9090.")
@click.option("--workers", type=click.IntRange(1, 64), help="Collector processes.")
def serve(
    embedded: bool,
    data_dir: str | None,
    config: Path | None,
    port: int | None,
    admin_port: int | None,
    workers: int | None,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C."""
    from gateway.embedded.server import EmbeddedServerError
    from gateway.supervisor import Supervisor
    from storage.postgres.migration import MigrationError

    arguments: dict[str, Any] = {"http": _given(port=port), "admin": _given(port=admin_port)}
    settings = settings_of(config, **arguments, **_given(data_dir=data_dir, workers=workers))
    data = DataDir(Path(settings.data_dir))

    async def run() -> None:
        await Supervisor(settings, data, embedded=embedded).run()

    try:
        logs.configure("supervisor", settings.log.level)
        data.make()
        data.lock()
        uvloop.run(run())
    except (SettingsError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    except (DataDirBusy, EmbeddedServerError, MigrationError, OSError) as error:
        raise Failed(str(error)) from error


def _given(**arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def postgres_url(settings: Settings) -> str:
    """Of the running gateway in the data directory, else of the settings. Raises Failed."""
    running = DataDir(Path(settings.data_dir)).endpoints_of_running()
    url = settings.postgres.url or (running or {}).get("postgres", "")
    if not url:
        raise Failed(f"no gateway is running in {settings.data_dir}, and INGEST_POSTGRES_URL is not set")
    return url


def redis_url(settings: Settings) -> str:
    """As `postgres_url`, for Redis; empty when there is none."""
    running = DataDir(Path(settings.data_dir)).endpoints_of_running()
    return settings.redis.url or (running or {}).get("redis", "")


@main.group()
def migrate() -> None:
    """The schema in PostgreSQL (golang-migrate's files and table)."""


def _migrating(config: Path | None, data_dir: str | None, work: Any) -> None:
    import asyncpg

    from storage.postgres.migration import MigrationError

    settings = settings_of(config, **_given(data_dir=data_dir))
    url = postgres_url(settings)

    async def run() -> None:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            await work(connection, settings)
        finally:
            await connection.close()

    try:
        asyncio.run(run())
    except (MigrationError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Failed(str(error) or type(error).__name__) from error


@migrate.command("up")
@config_option
@data_dir_option
@click.argument("steps", type=click.IntRange(1), required=False)
def migrate_up(config: Path | None, data_dir: str | None, steps: int | None) -> None:
    """Apply the next STEPS migrations; all without it."""
    from gateway.spool_commands import schema_ids
    from storage.postgres import migration

    async def work(connection: Any, settings: Settings) -> None:
        spooled = schema_ids(DataDir(Path(settings.data_dir)))
        count = await migration.up(connection, steps, spooled_schema_ids=spooled)
        click.echo(f"{count} applied")

    _migrating(config, data_dir, work)


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

    _migrating(config, data_dir, work)


@migrate.command("status")
@config_option
@data_dir_option
def migrate_status(config: Path | None, data_dir: str | None) -> None:
    """Which migrations are applied."""
    from storage.postgres import migration

    async def work(connection: Any, _: Settings) -> None:
        status = await migration.status(connection)
        version = "none" if status.version is None else status.version
        click.echo(f"version {version}{', dirty' if status.dirty else ''}")
        for step in status.available:
            applied = status.version is not None and step.version <= status.version
            click.echo(f"  {step.version:06d}  {'applied' if applied else 'pending'}  {step.name}")

    _migrating(config, data_dir, work)


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


@main.group()
def spool() -> None:
    """The durable log in the data directory. Reads only."""


def _spooled(config: Path | None, data_dir: str | None) -> DataDir:
    """The data directory. Raises Failed when there is no spool in it."""
    data = DataDir(Path(settings_of(config, **_given(data_dir=data_dir)).data_dir))
    if not data.spool.is_dir():
        raise Failed(f"no spool in {data.root}")
    return data


@spool.command("status")
@config_option
@data_dir_option
def spool_status(config: Path | None, data_dir: str | None) -> None:
    """Incarnations, what they hold, and how far each reader is."""
    from gateway import spool_commands

    spool_commands.status(_spooled(config, data_dir), click.echo)


@spool.command("verify")
@config_option
@data_dir_option
def spool_verify(config: Path | None, data_dir: str | None) -> None:
    """Check every frame; exit code 1 when one is damaged."""
    from gateway import spool_commands

    sys.exit(0 if spool_commands.verify(_spooled(config, data_dir), click.echo) else 1)


@spool.command("dump")
@config_option
@data_dir_option
@click.option("--incarnation", help="Only this one (its first digits are enough).")
@click.option("--limit", type=click.IntRange(1), help="At most so many frames.")
def spool_dump(config: Path | None, data_dir: str | None, incarnation: str | None, limit: int | None) -> None:
    """Frames and their events, a JSON object a line."""
    from gateway import spool_commands

    spool_commands.dump(_spooled(config, data_dir), click.echo, incarnation or "", limit)


@main.command()
@config_option
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def verify(config: Path | None, data_dir: str | None, as_json: bool) -> None:
    """Compare spool, positions, tables and counters; exit code 1 when they differ, naming what."""
    from gateway import report, verifying

    settings = settings_of(config, **_given(data_dir=data_dir))
    data = DataDir(Path(settings.data_dir))
    try:
        found = asyncio.run(verifying.verify(data, postgres_url(settings), redis_url(settings)))
    except verifying.CannotVerify as error:
        raise Failed(str(error)) from error
    click.echo(report.as_json(found) if as_json else report.as_text(found))
    sys.exit(0 if found.agrees else 1)


if __name__ == "__main__":
    main(prog_name=PROGRAM)
