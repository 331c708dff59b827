"""`dead-letters list | show | replay | drop`: beside a running gateway, and without one where none is needed."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway import dead_letter_list
from gateway.command import Failed, config_option, data_dir_option, data_of
from gateway.layout import DataDir
from gateway.letter_options import Id, filters, ids
from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from storage.dead_letter.box import Damage, extent, read
from storage.dead_letter.choice import Choice, UnknownId, chosen, resolved
from storage.dead_letter.handled import Handling, handled
from storage.dead_letter.letter import Identity, Letter
from storage.dead_letter.sweep import sweep

CHUNK = 1_000
"""Letters dropped with one fsync."""


@click.group("dead-letters")
def dead_letters() -> None:
    """Acknowledged events that the store refused: kept with their reason, until they are replayed or dropped."""


@dead_letters.command("list")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@filters
def list_(choice: Choice, config: Path | None, data_dir: str | None, limit: int | None, as_json: bool) -> None:
    """The letters, oldest first, and how many there are by reason."""
    data = _data(config, data_dir)
    with _reading() as damaged:
        letters = chosen(read(data.root, damaged), choice)
        dead_letter_list.show(data.dead, letters, limit, as_json, click.echo)


@dead_letters.command()
@config_option
@data_dir_option
@click.argument("letter_id", metavar="ID", type=Id())
def show(config: Path | None, data_dir: str | None, letter_id: Identity) -> None:
    """One letter with its event, as a player would post it; JSON."""
    data = _data(config, data_dir)
    with _reading() as damaged:
        (letter,) = _resolved(data, (letter_id,), damaged).values()
        click.echo(msgspec.json.format(msgspec.json.encode(dead_letter_list.described(letter)), indent=2).decode())


@dead_letters.command()
@ids
@click.option("--dry-run", is_flag=True, help="Only ask the front what it would say; nothing is changed.")
@click.option("--edit", "edits", multiple=True, metavar="FIELD=VALUE", help="Change a field first; null takes it away.")
@click.option("--edit-file", type=click.File("rb"), help="Post this JSON (as `show` prints it) instead of the event.")
@click.option("--url", help="Of the front; default: that of the gateway running in the data directory.")
@filters
def replay(
    choice: Choice,
    config: Path | None,
    data_dir: str | None,
    limit: int | None,
    everything: bool,
    dry_run: bool,
    edits: tuple[str, ...],
    edit_file: Any,
    url: str | None,
) -> None:
    """Post letters to the front again; the accepted ones are gone from here, the others stay.

    Ids and times of the events stay as they are: a second replay, whatever happened to the first, is the same row.
    """
    from gateway.front import Front, FrontRefused, FrontUnavailable
    from gateway.replay import replay as post

    data = _data(config, data_dir)
    choice = _named(data, choice, everything)
    change = _change(data, choice, edits, edit_file)
    try:
        front = Front(url or _url(data))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    clock = SystemClock()
    with _reading() as damaged:
        handling = None if dry_run else Handling(data.root, FileDisk(), clock)
        tally: Counter[bool] = Counter()

        def tell(letter: Letter, accepted: bool, words: str) -> None:
            tally[accepted] += 1
            click.echo(f"{letter.id}  {words}")

        within = extent(data.root)  # what the store refuses again comes back, as another letter
        try:
            letters = chosen(read(data.root, damaged, within), choice, limit)
            post(letters, change, front, handling, clock, tell)
        except (FrontUnavailable, FrontRefused) as error:
            raise Failed(f"{error}; {tally[True]} replayed, what was not stays") from error
        finally:
            if handling is not None:
                handling.close()
        if handling is not None:
            sweep(FileDisk(), data.root)
        if tally[False]:
            raise Failed(f"{tally[False]} of {tally.total()} refused{'' if dry_run else '; they stay'}")
        click.echo(f"{tally[True]} {'would be accepted' if dry_run else 'replayed'}")


@dead_letters.command()
@ids
@click.option("--dry-run", is_flag=True, help="Only say which; nothing is changed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--damaged", is_flag=True, help="Also what is no letter any more, in files that no drain writes.")
@filters
def drop(
    choice: Choice,
    config: Path | None,
    data_dir: str | None,
    limit: int | None,
    everything: bool,
    dry_run: bool,
    yes: bool,
    damaged: bool,
) -> None:
    """Take letters away for good; what was in them is in no store. `verify` goes on counting them as dead."""
    data = _data(config, data_dir)
    only_damaged = damaged and choice.is_everything and not everything
    choice = choice if only_damaged else _named(data, choice, everything)

    def letters() -> Iterator[Letter]:
        return iter(()) if only_damaged else chosen(read(data.root, found, within), choice, limit)

    with _reading(tolerant=damaged) as found:
        within = extent(data.root)  # what comes while somebody makes up his mind was not asked about
        reasons = Counter(letter.reason for letter in letters())
        if only_damaged:
            for _ in read(data.root, found):
                pass
        told = dead_letter_list.summary(reasons, "no dead letter")
        if damaged:
            told += f", {len(found)} damaged lines"
        if dry_run or not (reasons or (damaged and found)):
            click.echo(f"{told}{' would be dropped' if dry_run else ' to drop'}")
            return
        if not yes:
            click.confirm(f"Drop {told} for good?", abort=True)
        found.clear()
        handling = Handling(data.root, FileDisk(), SystemClock())
        count = 0
        try:
            todo = letters()
            while chunk := list(islice(todo, CHUNK)):
                handling.take_away([letter.identity for letter in chunk], "dropped")
                count += len(chunk)
        finally:
            handling.close()
        swept = sweep(FileDisk(), data.root, damaged_too=damaged)
        gone = f" and {swept.damaged if swept else 0} damaged lines" if damaged else ""
        click.echo(f"{count} dropped{gone}")


def _data(config: Path | None, data_dir: str | None) -> DataDir:
    """Raises Failed when no gateway has ever been at work in it."""
    data = data_of(config, data_dir)
    if not data.spool.is_dir() and not data.dead.is_dir():
        raise Failed(f"no gateway's data in {data.root}")
    return data


@contextmanager
def _reading(*, tolerant: bool = False) -> Iterator[list[Damage]]:
    """Around a command that reads letters: what it meets of damage is told at its end, and is a failure."""
    damaged: list[Damage] = []
    try:
        yield damaged
    except BrokenPipeError:  # who read what is printed has seen enough
        raise
    except OSError as error:
        raise Failed(str(error)) from error
    if damaged and not tolerant:
        places = ", ".join(f"{path} line {line}" for path, line in damaged[:3])
        more = ", …" if len(damaged) > 3 else ""
        raise Failed(f"{len(damaged)} damaged lines were passed over: {places}{more}")


def _resolved(data: DataDir, wanted: Iterable[Identity], damaged: list[Damage]) -> dict[Identity, Letter]:
    """Raises Failed for an id that means no letter, saying what became of it where that is known."""
    wanted = tuple(wanted)
    try:
        return resolved(read(data.root, damaged), wanted)
    except UnknownId as error:
        known = handled(FileDisk(), data.root)
        for one in wanted:
            if one in known:
                at = datetime.fromtimestamp(known[one].at_us / 1e6, UTC).isoformat(timespec="seconds")
                raise Failed(f"{error}: it was {known[one].outcome} at {at}") from error
        raise Failed(str(error)) from error


def _named(data: DataDir, choice: Choice, everything: bool) -> Choice:
    """What a changing command works on: named by somebody and, where by ids, there. Raises UsageError, Failed."""
    if choice.is_everything and not everything:
        raise click.UsageError("say which letters: ids, filters, or --all")
    if not choice.ids:
        return choice
    with _reading(tolerant=True) as damaged:
        found = _resolved(data, choice.ids, damaged).values()
    return msgspec.structs.replace(choice, ids=tuple(letter.identity for letter in found))


def _change(data: DataDir, choice: Choice, edits: tuple[str, ...], edit_file: Any) -> Any:
    """Raises UsageError, Failed."""
    from gateway.edit import BadEdit, event_in, parsed_edit, with_key
    from gateway.replay import Change
    from gateway.wire_event import NotAnEvent, event_of, row_of

    try:
        fields = dict(map(parsed_edit, edits))
        if edit_file is None:
            return Change(fields)
        if fields:
            raise BadEdit("--edit and --edit-file exclude each other")
        if len(choice.ids) != 1:
            raise BadEdit("--edit-file needs the id of one letter")
        event = event_in(edit_file.read())
        with _reading(tolerant=True) as damaged:
            (letter,) = _resolved(data, choice.ids, damaged).values()
        try:
            return Change({}, with_key(event, event_of(row_of(letter.row(), letter.schema))))
        except (NotAnEvent, ValueError):
            return Change({}, event)
    except BadEdit as error:
        raise click.UsageError(str(error)) from error


def _url(data: DataDir) -> str:
    try:
        running = data.endpoints_of_running()
    except msgspec.DecodeError as error:
        raise Failed(f"{data.endpoints}: {error}") from error
    if running is None or "http" not in running:
        raise Failed(f"no gateway is running in {data.root}; --url names another front")
    return running["http"]
