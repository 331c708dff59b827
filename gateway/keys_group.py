"""`keys create | list | update | rotate | revoke`: write keys, in the database that the gateway works with."""

import asyncio
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from config.heartbeat import INTERVAL_MAX_S, INTERVAL_MIN_S, INTERVALS_S, class_of
from gateway.command import Failed, config_option, data_dir_option, given, postgres_url, settings_of
from ingest.keyring import DOORS, Door, Key, hash_of, id_of, is_origin, new_key

if TYPE_CHECKING:
    import asyncpg

    from storage.postgres.write_keys import WriteKey

T = TypeVar("T")

CONNECT_TIMEOUT_S: Final = 10.0
GRACE_DEFAULT: Final = "7d"
BURST_S: Final = 2
"""Of the rate, what may come at once unless it is said."""
_OWNER: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_DURATION: Final = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
IN_FORCE: Final = "In force within two seconds wherever a gateway with keys.required runs."


class Duration(click.ParamType[Any]):
    """30s, 15m, 12h, 7d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        if (match := _DURATION.fullmatch(value)) is None:
            self.fail(f"{value!r} is not 30s, 15m, 12h or 7d", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])})


@click.group()
def keys() -> None:
    """Write keys: who may send events. The door asks for them with keys.required = true."""


@keys.command()
@config_option
@data_dir_option
@click.option("--name", required=True, help="For people; at most 100 characters.")
@click.option("--owner", help="Whose events these are: a part of their identity, the same in all of an owner's keys. "
              "Letters, digits and ._-; default: the key's id.")  # fmt: skip
@click.option("--secret", is_flag=True, help="For servers, as Authorization: Bearer; no page may use it.")
@click.option("--door", "doors", multiple=True, type=click.Choice(DOORS), help="What it is for; default: all.")
@click.option("--origin", "origins", multiple=True, help="https://player.example, or https://*.example; default: any.")
@click.option("--origins-only", is_flag=True, help="Not without an Origin either: apps, televisions, <img> send none.")
@click.option("--rate", type=click.IntRange(1, 2**31 - 1), help="Events a second; default: any number.")
@click.option("--burst", type=click.IntRange(1, 2**31 - 1), help="Events at once; default: two seconds of the rate.")
@click.option("--heartbeat-s", type=click.IntRange(INTERVAL_MIN_S, INTERVAL_MAX_S), help="How often its players send "
              "heartbeats: they are viewers for 2.5 of it; default: redis.heartbeat_s.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def create(
    config: Path | None,
    data_dir: str | None,
    name: str,
    owner: str | None,
    secret: bool,
    doors: tuple[Door, ...],
    origins: tuple[str, ...],
    origins_only: bool,
    rate: int | None,
    burst: int | None,
    heartbeat_s: int | None,
    as_json: bool,
) -> None:
    """Make a key, and print it: this once, since only its hash is kept."""
    from storage.postgres import write_keys

    if not 0 < len(name) <= 100 or not name.isprintable():
        raise click.UsageError("--name is not 1 to 100 printable characters")
    if owner is not None and not _OWNER.fullmatch(owner):
        raise click.UsageError("--owner is not 1 to 64 letters, digits and ._-")
    if wrong := [origin for origin in origins if not is_origin(origin)]:
        raise click.UsageError(f"--origin {wrong[0]} is none: scheme and host in lower case, https://player.example")
    if secret and (origins or origins_only):
        raise click.UsageError("--secret keys are refused to every page, so they take no --origin")
    if burst is not None and rate is None:
        raise click.UsageError("--burst goes with --rate")
    if origins_only and not origins:
        raise click.UsageError("--origins-only goes with --origin")
    text = new_key(secrets.token_bytes, secret=secret)
    key = Key(
        id_of(text), hash_of(text), owner or id_of(text), secret, tuple(dict.fromkeys(doors)) or DOORS, origins,
        origins_only, rate, burst or min((rate or 0) * BURST_S, 2**31 - 1), heartbeat_s=heartbeat_s,
    )  # fmt: skip
    _asked(config, data_dir, lambda connection: write_keys.create(connection, key, name))
    _tell(text, key.owner, as_json, f"owner {key.owner}")


@keys.command("list")
@config_option
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def list_(config: Path | None, data_dir: str | None, as_json: bool) -> None:
    """All keys, the oldest first; never the keys themselves."""
    from storage.postgres import write_keys

    found = _asked(config, data_dir, write_keys.every)
    if as_json:
        click.echo(json.dumps([described(one) for one in found], indent=2))
        return
    now = datetime.now(UTC)
    rows = [
        ("id", "kind", "owner", "doors", "rate", "heartbeat", "state", "origins", "name"),
        *(row(one, now) for one in found),
    ]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(rows[0]))]
    for cells in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


@keys.command()
@config_option
@data_dir_option
@click.argument("key_id", metavar="ID")
@click.option("--heartbeat-s", required=True, type=click.IntRange(0, INTERVAL_MAX_S), help="How often its players send "
              f"heartbeats, seconds, {INTERVAL_MIN_S} at least; 0: as redis.heartbeat_s says.")  # fmt: skip
def update(config: Path | None, data_dir: str | None, key_id: str, heartbeat_s: int) -> None:
    """Change what ID says of its players."""
    from storage.postgres import write_keys

    if 0 < heartbeat_s < INTERVAL_MIN_S:
        raise click.BadParameter(f"0, or {INTERVAL_MIN_S} to {INTERVAL_MAX_S}", param_hint="--heartbeat-s")
    if not _asked(config, data_dir, lambda asked: write_keys.set_heartbeat(asked, key_id, heartbeat_s or None)):
        raise Failed(f"there is no key {key_id}")
    counted_s = INTERVALS_S[class_of(heartbeat_s or None)]
    as_is = "redis.heartbeat_s" if not heartbeat_s else f"{counted_s} s"
    click.echo(f"{key_id}: a heartbeat each {as_is}, a viewer for 2.5 of it. {IN_FORCE}")


@keys.command()
@config_option
@data_dir_option
@click.argument("key_id", metavar="ID")
@click.option("--grace", type=Duration(), default=GRACE_DEFAULT, show_default=True, help="The old key goes on so long.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def rotate(config: Path | None, data_dir: str | None, key_id: str, grace: timedelta, as_json: bool) -> None:
    """Put a new key in the place of ID, with its owner, its rate and all it may, and print it."""

    from storage.postgres import write_keys

    async def work(connection: "asyncpg.Connection") -> tuple[str, datetime | None]:
        secret = await write_keys.is_secret(connection, key_id)
        if secret is None:
            raise Failed(f"there is no key {key_id}")
        text = new_key(secrets.token_bytes, secret=secret)
        return text, await write_keys.rotate(connection, key_id, id_of(text), hash_of(text), grace)

    text, until = _asked(config, data_dir, work)
    if until is None:
        raise Failed(f"{key_id} is off, or was rotated before: create another, or rotate the one that replaced it")
    _tell(text, None, as_json, f"{key_id} goes on until {until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")


@keys.command()
@config_option
@data_dir_option
@click.argument("key_id", metavar="ID")
def revoke(config: Path | None, data_dir: str | None, key_id: str) -> None:
    """Refuse ID from now on, for ever."""
    from storage.postgres import write_keys

    if not _asked(config, data_dir, lambda connection: write_keys.revoke(connection, key_id)):
        raise Failed(f"there is no key {key_id}")
    click.echo(f"{key_id} is revoked. {IN_FORCE}")


def described(one: "WriteKey") -> dict[str, Any]:
    """A key for machines; times in RFC 3339."""
    key = one.key
    return {
        "id": key.id, "name": one.name, "owner": key.owner, "secret": key.secret, "doors": list(key.doors),
        "origins": list(key.origins), "origins_only": key.origins_only, "rate": key.rate,
        "burst": None if key.rate is None else key.burst, "heartbeat_s": key.heartbeat_s,
        "created_at": one.created_at.isoformat(), "replaced_by": one.replaced_by,
        "not_after": one.not_after and one.not_after.isoformat(),
        "revoked_at": one.revoked_at and one.revoked_at.isoformat(),
    }  # fmt: skip


def row(one: "WriteKey", now: datetime) -> tuple[str, ...]:
    """A key for people, as it is at this time."""
    key, state = one.key, "on"
    if one.revoked_at is not None:
        state = "revoked"
    elif one.not_after is not None:
        ended = one.not_after <= now
        state = "replaced" if ended else f"until {one.not_after.astimezone(UTC):%Y-%m-%d %H:%M}"
    rate = "any" if key.rate is None else f"{key.rate:,}/s, {key.burst:,}"
    origins = ",".join(key.origins) or ("none" if key.secret else "any")
    kind = "secret" if key.secret else "public"
    heartbeat = "setting" if key.heartbeat_s is None else f"{key.heartbeat_s} s"
    return key.id, kind, key.owner, ",".join(key.doors), rate, heartbeat, state, origins, one.name


def _tell(text: str, owner: str | None, as_json: bool, more: str) -> None:
    """The key alone on standard output, what people want to know on standard error."""
    if as_json:
        click.echo(json.dumps({"key": text, "id": id_of(text)} | given(owner=owner)))
        return
    click.echo(text)
    click.echo(f"id {id_of(text)}, {more}. Shown this once. {IN_FORCE}", err=True)


def _asked(config: Path | None, data_dir: str | None, work: "Callable[[asyncpg.Connection], Awaitable[T]]") -> T:
    """What `work` finds. Raises Failed."""
    import asyncpg

    url = postgres_url(settings_of(config, **given(data_dir=data_dir)))

    async def run() -> T:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, command_timeout=CONNECT_TIMEOUT_S)
        try:
            return await work(connection)
        finally:
            await connection.close()

    try:
        return asyncio.run(run())
    except asyncpg.UndefinedTableError as error:
        raise Failed("there is no table write_keys: streamverse-ingest migrate up") from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Failed(str(error) or type(error).__name__) from error
