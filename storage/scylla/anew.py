"""The way on where the keyspace, or DATA/scylla, is lost: from what the spool still has, the rest booked as lost.

    incarnation in the spool   the first frame whose segment is there; 0 where nothing of it was removed
    incarnation buried         its end, as its tombstone says

Rows below are booked as `quarantined`, so that the equation holds: they may be in the keyspace, or not; nothing here
can tell. What is delivered again goes under the same keys.
"""

from pathlib import Path

from config.scylla import ScyllaSettings
from ingest.batch import MONTH_AD, MONTH_CMCD
from ingest.spool import segment
from ingest.spool.disk import Disk
from ingest.spool.ending import ENDED, TOMBSTONES, DamagedEnding, Ending, NewerEnding, read_ending
from ingest.spool.recovery import incarnations
from ingest.spool.state import State
from ingest.spool.window import segment_window
from storage.postgres.totals import Books, MonthBook, Quarantined, balanced, month_name
from storage.scylla import registration
from storage.scylla.positions import Position, PositionFiles
from storage.scylla.scanning import connected
from storage.sink import SinkUnavailable


def first_kept(data_dir: Path, disk: Disk) -> dict[str, Position]:
    """Of every incarnation that begins later than at 0. Raises OSError, NewerEnding, UnknownVersion."""
    root = data_dir / "spool"
    found = {name: _position(_ending_of(disk, root / TOMBSTONES / name)) for name in _buried(disk, root)}
    for name in incarnations(disk, root):
        state = _begin(disk, root / name)
        if state.sequence:
            found[name] = _position(state)
    return found


async def begin(
    settings: ScyllaSettings, data_dir: Path, disk: Disk, reader: str, positions: dict[str, Position]
) -> None:
    """Register this data directory anew, at these positions. Raises SinkUnavailable, SinkLost, SinkRefused."""
    async with connected(settings) as driver:
        made = await registration.register(driver, reader)
    try:
        PositionFiles(data_dir, disk).begin_anew(made, positions)
    except OSError as error:
        raise SinkUnavailable(f"The positions cannot be kept: {error}") from error


def _buried(disk: Disk, root: Path) -> list[str]:
    return [name for name in disk.list(root / TOMBSTONES) if len(name) == 32]


def _ending_of(disk: Disk, path: Path) -> State:
    try:
        ending = read_ending(disk, path)
    except NewerEnding:
        raise
    except DamagedEnding:
        return State(1)  # to be known is all that a damaged tombstone asks of a position (storage.feed)
    return _at(ending) if ending is not None else State()


def _begin(disk: Disk, directory: Path) -> State:
    """Where the first segment that says where it begins, begins."""
    bases = sorted(base for base in map(segment.base_of, disk.list(directory)) if base is not None)
    for base in bases:
        if base == 0:
            return State()
        try:
            head, _ = segment_window(disk, directory, base).segment_head()
        except segment.TornSegment:
            continue
        return State(base, head.totals, head.months, head.rejected_by_code)
    ending = read_ending(disk, directory / ENDED)
    return _at(ending) if ending is not None else State()


def _at(ending: Ending) -> State:
    return State(ending.sequence, ending.totals, ending.months, ending.rejected_by_code)


def _position(state: State) -> Position:
    months = {month_name(number): MonthBook(*totals) for number, totals in sorted(state.months.items())}
    staged, elsewhere = (state.months[month].rows if month in state.months else 0 for month in (MONTH_CMCD, MONTH_AD))
    books = Books(
        *state.totals,
        rejected_by_code=state.rejected_by_code,
        staged=staged,
        elsewhere=elsewhere,
        quarantined=Quarantined(state.totals.rows - staged - elsewhere, 0),
        read_months=months,
    )
    assert balanced(books)
    return Position(state.sequence, books)
