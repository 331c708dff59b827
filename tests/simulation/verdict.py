"""What must be true of a world, asked of the disk and the stores by code that is not the gateway's."""

import json
from base64 import b64decode
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from xxhash import xxh3_64_intdigest

from tests.simulation.archive import tuples_below
from tests.simulation.places import DEAD, QUARANTINE, SPOOL
from tests.simulation.player import Name
from tests.simulation.rows import Stored, read
from tests.simulation.world import ROOMY_BYTES, World

MASK = 2**64 - 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLOCK_TOLERANCE_US = 300 * 10**6
AHEAD_MAX_US = 24 * 3_600 * 10**6
HOUR_US = 3_600 * 10**6


def endings(world: World) -> dict[str, int]:
    """Incarnation → its frames, of all that have ended; those whose ending is damaged are left out."""
    platter, found = world.platter, {}
    graves = SPOOL / "tombstones"
    paths = [SPOOL / name / "ended" for name in platter.names(SPOOL) if len(name) == 32]
    for path in [*paths, *(graves / name for name in platter.names(graves) if len(name) == 32)]:
        name = path.name if path.parent == graves else path.parent.name
        try:
            found[name] = int(json.loads(bytes(platter.file(path).data).partition(b"\n")[0])["sequence"])
        except (FileNotFoundError, ValueError):
            continue
    return found


def check_positions(world: World) -> None:
    """After a recovery: no store is ahead of the disk, and of what a store knows, the disk has something to say."""
    ended = endings(world)
    known = {*world.platter.names(SPOOL), *world.platter.names(SPOOL / "tombstones")}
    stores: dict[str, dict[str, int]] = {
        "postgres": {name: position.sequence for name, position in world.relational.state.positions.items()},
        "redis": world.counters.counts.positions,
        "archive": world.archive.positions,
    }
    for store, positions in stores.items():
        for name, sequence in positions.items():
            assert name in known or not sequence, f"{store} knows {name}, the disk does not"
            if name in ended and name not in world.damage.incarnations:
                assert sequence <= ended[name], f"{store} is at {sequence} of {name}, the disk ends at {ended[name]}"


def judge(world: World) -> None:
    """Once all is delivered, or the store is red and says so. Raises AssertionError."""
    table = [row for rows in world.relational.state.rows.values() for row in rows]
    stored = [read(row) for row in table]
    dead = _dead(world)
    _kept_long_enough(world)
    _nothing_promised_in_vain(world)
    _nothing_twice(stored, world)
    _nothing_lost(stored, dead, world)
    _nothing_skipped(stored, dead, world)
    _as_sent(stored, world)
    _books_balance(table, world)
    if "redis" not in world.given_up:
        _counted_once(stored, dead, world)


def _dead(world: World) -> set[Name]:
    """Whose letter is on the disk, and rightly so."""
    names = set()
    for file in world.platter.names(DEAD):
        for line in bytes(world.platter.file(DEAD / file).data).split(b"\n"):
            try:
                letter = json.loads(line)
            except ValueError:  # cut short by a crash
                continue
            row = read(b64decode(letter["tuple"]))
            names.add((row.session, row.sequence))
            if letter["reason"] == "month_dropped":
                assert "clock jumps" in world.happened, letter
            else:
                assert letter["reason"] == "sqlstate_23514" and row.platform == b"poison", letter
    return names


def _kept_long_enough(world: World) -> None:
    """A store that fell back by less than delivered segments are kept gets all of it again from them."""
    spool, depth_s = world.settings.spool, world.relational.depth_s
    excused = {"clock jumps", "bit flip"} & world.happened.keys()
    if spool.quota_bytes < ROOMY_BYTES or depth_s >= spool.kept_s or excused:
        return
    assert "postgres" not in world.given_up, f"gone {depth_s:.3f} s after delivery, kept for {spool.kept_s} s"


def _nothing_promised_in_vain(world: World) -> None:
    """No disk here loses what it has synced, however its power was cut: no watermark is ahead of it."""
    notes = [name for name in world.platter.names(QUARANTINE) if "-promised-" in name]
    assert not notes, f"frames are said to be missing that were never on disk: {notes}"


def _nothing_twice(stored: list[Stored], world: World) -> None:
    counts = Counter((row.session, row.sequence) for row in stored)
    doubled = {name: count for name, count in counts.items() if count > 1}
    assert not doubled, f"stored twice: {_named(doubled, stored, world)}"


def _nothing_lost(stored: list[Stored], dead: set[Name], world: World) -> None:
    missing = world.ledger.acknowledged - {(row.session, row.sequence) for row in stored} - dead
    if "postgres" in world.given_up:
        return  # `_nothing_skipped` asks for all that the position claims
    damaged = {name: world.damage.events[name] for name in missing if name in world.damage.events}
    missing -= damaged.keys()
    assert not missing, f"acknowledged and lost: {_named(missing, stored, world)}"
    told = sum(
        json.loads(position.totals)["quarantined"]["rows"] for position in world.relational.state.positions.values()
    )
    silent = [
        name for name, incarnations in damaged.items() if not incarnations & (world.damage.cut | world.damage.open)
    ]
    assert len(silent) <= told, f"damage took {len(silent)} rows, the books say {told}"


def _nothing_skipped(stored: list[Stored], dead: set[Name], world: World) -> None:
    """What lies below a position of the store is in the store."""
    have = {(row.session, row.sequence) for row in stored} | dead | world.damage.events.keys()
    for name, frames in world.archive.frames.items():
        position = world.relational.state.positions.get(name)
        below = map(read, tuples_below(frames, position.sequence if position else 0))
        skipped = {(row.session, row.sequence) for row in below} - have
        assert not skipped, f"{name}: below the position and not stored: {sorted(skipped)}"


def _as_sent(stored: list[Stored], world: World) -> None:
    for row in stored:
        fields = world.ledger.sent.get((row.session, row.sequence))
        assert fields is not None, f"nobody sent {row}"
        assert (row.event_type.decode(), row.content.hex()) == (
            fields["event_type"], fields["content_id"].replace("-", "")
        ), f"{row} was sent as {fields}"  # fmt: skip


def _books_balance(table: list[bytes], world: World) -> None:
    """received = stored + duplicate + signal + rejected + dead + quarantined + in_spool, and the table agrees."""
    ended, months = endings(world), dict[str, tuple[int, int]]()
    stored = 0
    for name, position in world.relational.state.positions.items():
        books = json.loads(position.totals)
        quarantined = books["quarantined"]
        assert books["received"] == books["rows"] + books["signals"] + books["duplicates"] + books["rejected"], books
        assert books["rows"] == books["stored"] + books["duplicate"] + sum(books["dead"].values()) + (
            quarantined["rows"]
        ), books  # fmt: skip
        stored += books["stored"]
        for month, book in books["months"].items():
            rows, hashes = months.get(month, (0, 0))
            months[month] = rows + book["rows"], (hashes + book["hash"]) & MASK
        if name not in world.damage.incarnations:
            assert name in world.damage.cut or quarantined == {"rows": 0, "signals": 0}, f"{name}: {books}"
            assert not books["unaccounted"], f"{name}: {books}"
            if position.sequence == ended.get(name) and world.archive.positions.get(name) == position.sequence:
                delivered = len(tuples_below(world.archive.frames[name], position.sequence))
                assert books["rows"] == delivered + quarantined["rows"], f"{name}: {books}, {delivered} delivered"
        else:
            assert name in world.damage.cut or quarantined["rows"] <= world.damage.rows.get(name, 0), f"{name}: {books}"
    assert stored == len(table), f"the books say {stored} rows, the table has {len(table)}"
    assert months == _by_month(table), "the books and the table differ by month"


def _by_month(table: list[bytes]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for row in table:
        moment = EPOCH + timedelta(microseconds=read(row).occurred_us)
        month = f"{moment:%Y-%m}"
        rows, hashes = found.get(month, (0, 0))
        found[month] = rows + 1, (hashes + xxh3_64_intdigest(row)) & MASK
    return found


def _counted_once(stored: list[Stored], dead: set[Name], world: World) -> None:
    """Every frame is in the counts once; a view is in the hour of its earliest play."""
    counts, archive = world.counters.counts, world.archive
    if not world.damage.incarnations:
        assert counts.rows == archive.rows(), f"{counts.rows} rows counted, {archive.rows()} delivered"
        assert counts.signals == archive.signals(), f"{counts.signals} signals counted, {archive.signals()} delivered"
        assert counts.signals >= len(world.ledger.signals)
    expected: dict[bytes, int] = {}
    for frames in archive.frames.values():
        for row in map(read, tuples_below(frames, 2**63)):
            if row.event_type == b"play":
                key, hour = row.session + row.content, _corrected_us(row) // HOUR_US
                expected[key] = min(hour, expected.get(key, hour))
    if not world.damage.incarnations:
        assert counts.views == expected, "views differ"


def _corrected_us(row: Stored) -> int:
    """When it happened, by the clock of who received it, if the player's is more than five minutes off."""
    if row.sent_us is None or abs(row.received_us - row.sent_us) <= CLOCK_TOLERANCE_US:
        return row.occurred_us
    return row.received_us + min(row.occurred_us - row.sent_us, AHEAD_MAX_US)


def _named(names: Any, stored: list[Stored], world: World) -> str:
    """For people: how it was sent, how it is stored, in which frames it came."""
    told = []
    for name in sorted(names)[:3]:
        session, sequence = name
        kept = [row for row in stored if (row.session, row.sequence) == name]
        came = [
            f"{incarnation}/{filed.sequence}"
            for incarnation, frames in world.archive.frames.items()
            for filed in frames
            for row in map(read, filed.tuples)
            if (row.session, row.sequence) == name
        ]
        told.append(f"{session.hex()} {sequence}: sent {world.ledger.sent.get(name)}, stored {kept}, in frames {came}")
    return f"{len(names)}, such as\n" + "\n".join(told)
