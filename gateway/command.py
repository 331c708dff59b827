"""What the commands of the command line share: their settings, their data directory, and how they fail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from config.settings import Settings, SettingsError, load
from gateway.layout import DataDir
from ingest.core import CoreMissing, chosen
from ingest.spool.disk import FileDisk
from storage.scylla.stored_rows import StoredRows


class Failed(click.ClickException):
    """Said on standard error; exit code 1."""


config_option = click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings; default gateway.toml if it is there."
)
data_dir_option = click.option("--data-dir", type=click.Path(file_okay=False), help="The gateway's directory.")


def config_file(named: Path | None) -> Path | None:
    """`gateway.toml` in the working directory when no file is named."""
    default = Path("gateway.toml")
    return named or (default if default.exists() else None)


def loaded(config: Path | None, **arguments: Any) -> Settings:
    """As config.settings.load; and the core is chosen. Raises SettingsError."""
    settings = load(config_file(config), **arguments)
    try:
        chosen.choose(settings.core)
    except CoreMissing as error:
        raise SettingsError(str(error)) from error
    return settings


def settings_of(config: Path | None, **arguments: Any) -> Settings:
    """The same. Raises UsageError."""
    try:
        return loaded(config, **arguments)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error


def given(**arguments: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in arguments.items() if value is not None}


def data_of(config: Path | None, data_dir: str | None) -> DataDir:
    """The data directory that is meant, whatever is in it."""
    return DataDir(Path(settings_of(config, **given(data_dir=data_dir)).data_dir))


def postgres_url(settings: Settings) -> str:
    """Of the running gateway in the data directory, else of the settings. Raises Failed."""
    running = DataDir(Path(settings.data_dir)).endpoints_of_running()
    url = settings.postgres.url or (running or {}).get("postgres", "")
    if not url:
        raise Failed(f"no gateway is running in {settings.data_dir}, and INGEST_POSTGRES_URL is not set")
    return url


def stored_rows(settings: Settings, tell: Callable[[str], object]) -> StoredRows | None:
    """Rows of the CQL store, where that keeps them."""
    if settings.store != "scylla":
        return None
    return StoredRows(settings.scylla, Path(settings.data_dir).absolute(), FileDisk(), tell)


def redis_url(settings: Settings) -> str:
    """As `postgres_url`, for Redis; empty when there is none."""
    running = DataDir(Path(settings.data_dir)).endpoints_of_running()
    return settings.redis.url or (running or {}).get("redis", "")
