"""`spool status | verify | dump`: the log as it lies on disk, read only, beside a running gateway or without one."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson

from gateway.layout import DataDir
from ingest import ad, cmcd
from ingest import tuple as copy_tuple
from ingest.ad import AD_SCHEMAS
from ingest.batch import FLAGS, KIND_AD, KIND_CMCD, KIND_PLAYBACK, KIND_SIGNAL, KINDS
from ingest.cmcd import CMCD_SCHEMAS
from ingest.spool import frame, segment
from ingest.spool.disk import FileDisk
from ingest.spool.ending import ENDED, TOMBSTONES, DamagedEnding, Ending, NewerEnding, read_ending
from ingest.spool.frame import Frame
from ingest.spool.quarantine import held
from ingest.spool.recovery import incarnations, watermark_of
from ingest.spool.shortfall import noted

Echo = Callable[[str], Any]
KIND_NAMES = {KIND_PLAYBACK: "playback", KIND_AD: "ad", KIND_SIGNAL: "signal", KIND_CMCD: "cmcd"}
_OTHER_SCHEMAS = {KIND_AD: AD_SCHEMAS, KIND_CMCD: CMCD_SCHEMAS}
"""Kind → its schemas, where they are not those of playback."""


def segments(data: DataDir, incarnation: str = "") -> Iterator[Path]:
    """Every segment, by incarnation and base sequence; only of those whose name begins with `incarnation`."""
    disk = FileDisk()
    for name in sorted(incarnations(disk, data.spool)):
        if not name.startswith(incarnation):
            continue
        for file in disk.list(data.spool / name):
            if segment.base_of(file) is not None:
                yield data.spool / name / file


class Wrong(NamedTuple):
    """What cannot be read."""

    kind: Literal["damaged", "newer"]
    detail: str


def frames(path: Path) -> Iterator[tuple[int, Frame | Wrong]]:
    """Offset and frame, or what is wrong there. A torn tail of an open segment is not wrong: it is being written."""
    seed = frame.seed_of(path.parent.name)
    content = b""
    for name in (path, path.with_suffix(segment.SEALED)):  # sealed since it was listed, or removed
        try:
            content = name.read_bytes()
            break
        except FileNotFoundError:
            continue
    else:
        return
    try:
        _, at = segment.decode(content)
    except segment.UnknownVersion as error:
        yield 0, Wrong("newer", str(error))
        return
    except segment.TornSegment as error:
        yield 0, Wrong("damaged", f"header: {error}")
        at = 0
    while at < len(content):
        try:
            found, after = frame.decode(content, at, seed)
        except frame.TornFrame as error:
            following = frame.find_next(content, (at + 8) // 8 * 8, seed)
            if following is None and path.suffix == segment.OPEN:
                return
            yield at, Wrong("damaged", f"{error} ({(following or len(content)) - at} bytes)")
            if following is None:
                return
            at = following
        else:
            yield at, found
            at = after


def schema_ids(data: DataDir) -> frozenset[int]:
    """Schema ids of the frames in the spool; a segment that a newer gateway wrote may hold any."""
    ids: set[int] = set()
    for path in segments(data):
        for _, found in frames(path):
            if isinstance(found, Frame):
                ids.add(found.schema)
            elif found.kind == "newer":
                ids.update(copy_tuple.SCHEMAS, AD_SCHEMAS, CMCD_SCHEMAS)
    return frozenset(ids)


def status(data: DataDir, echo: Echo) -> None:
    """A line an incarnation, then a line a tombstone, one about the quarantine, one an incarnation that ended short of
    its watermark, a line a reader; JSON."""
    disk = FileDisk()
    for name in sorted(incarnations(disk, data.spool)):
        directory = data.spool / name
        ending, wrong = _ending(disk, directory / ENDED)
        files = [file for file in disk.list(directory) if segment.base_of(file) is not None]
        echo(
            _line(
                incarnation=name,
                state=wrong.kind if wrong else "ended" if ending else "open",
                segments=len(files),
                size_bytes=sum(disk.size(directory / file) for file in files),
                first_sequence=min((segment.base_of(file) or 0 for file in files), default=None),
                sequence=ending.sequence if ending else None,
                totals=ending.totals._asdict() if ending else None,
                **_named(wrong),
            )
        )
    for name in disk.list(data.spool / TOMBSTONES):
        ending, wrong = _ending(disk, data.spool / TOMBSTONES / name)
        if wrong:
            echo(_line(incarnation=name, state=wrong.kind, **_named(wrong)))
        if ending:
            echo(_line(incarnation=name, state="gone", sequence=ending.sequence, totals=ending.totals._asdict()))
    quarantined = held(disk, data.quarantine)
    if quarantined.files:
        echo(_line(quarantined_files=quarantined.files, quarantined_bytes=quarantined.size_bytes))
    for one in noted(disk, data.quarantine):
        echo(_line(**one._asdict(), missing_frames=one.frames))
    for path in sorted(data.run.glob("*.json")):
        reader = orjson.loads(path.read_bytes())
        if "reader" in reader:  # doors tell about themselves beside them
            echo(_line(**{key: reader.get(key) for key in ("reader", "state", "reason", "lag_frames", "positions")}))


def _ending(disk: FileDisk, path: Path) -> tuple[Ending | None, Wrong | None]:
    """What an ending says, or what is wrong with it."""
    try:
        return read_ending(disk, path), None
    except DamagedEnding as error:
        return None, Wrong("newer" if isinstance(error, NewerEnding) else "damaged", str(error))


def _named(wrong: Wrong | None) -> dict[str, str]:
    return {wrong.kind: wrong.detail} if wrong else {}


def verify(data: DataDir, echo: Echo) -> bool:
    """Whether every frame that was promised is there and whole; what is not is named by file and offset."""
    whole = damaged = 0
    disk = FileDisk()
    endings = [data.spool / name / ENDED for name in sorted(incarnations(disk, data.spool))]
    for path in [*endings, *(data.spool / TOMBSTONES / name for name in disk.list(data.spool / TOMBSTONES))]:
        if (wrong := _ending(disk, path)[1]) is not None:
            damaged += 1
            echo(f"{wrong.kind}: {wrong.detail}")
    for name in sorted(incarnations(disk, data.spool)):
        promised = _promised(disk, data.spool / name)
        expected: int | None = None
        for path in segments(data, name):
            expected = segment.base_of(path.name) if expected is None else expected  # what was before it is delivered
            for at, found in frames(path):
                place = f"{path.relative_to(data.root)} at {at}"
                if isinstance(found, Wrong):
                    damaged += 1
                    echo(f"{found.kind}: {place}: {found.detail}")
                    continue
                schemas = _OTHER_SCHEMAS.get(found.kind, copy_tuple.SCHEMAS)
                if found.schema not in schemas or found.kind not in KINDS or found.flags not in FLAGS:
                    damaged += 1
                    echo(f"newer: {place}: kind {found.kind}, schema {found.schema}, flags {found.flags}")
                whole += 1
                if expected is not None and found.sequence != expected:
                    damaged += 1
                    echo(f"missing: {place}: sequence {found.sequence} follows {expected - 1}")
                totals = found.totals
                if totals.received != totals.rows + totals.signals + totals.duplicates + totals.rejected:
                    damaged += 1
                    echo(f"unequal: {place}: {totals}")
                expected = found.sequence + 1
        if expected is not None and expected < promised:
            damaged += 1
            echo(f"missing: {name}: it ends before sequence {expected}, {promised} were acknowledged")
    echo(f"{whole} frames whole, {damaged} places damaged")
    return damaged == 0


def _promised(disk: FileDisk, directory: Path) -> int:
    """How many frames this incarnation acknowledged, as far as it says."""
    ending, _ = _ending(disk, directory / ENDED)
    if ending is not None:
        return ending.sequence
    return watermark_of(disk, directory)


def dump(data: DataDir, echo: Echo, incarnation: str, limit: int | None) -> None:
    """A JSON object a frame, its events decoded; bytes that are no event as base64."""
    left = limit if limit is not None else -1
    for path in segments(data, incarnation):
        for at, found in frames(path):
            if left == 0:
                return
            left -= 1
            if isinstance(found, Wrong):
                echo(_line(segment=str(path.relative_to(data.spool)), offset=at, **_named(found)))
                continue
            head = found._asdict() | {"kind": KIND_NAMES.get(found.kind, found.kind), "totals": found.totals._asdict()}
            for name in ("rows", "ends_table", "month_totals", "rejected_by_code"):
                head.pop(name)
            echo(_line(segment=str(path.relative_to(data.spool)), offset=at, **head, events=_events(found)))


def _events(found: Frame) -> list[Any]:
    if found.schema not in _OTHER_SCHEMAS.get(found.kind, copy_tuple.SCHEMAS):
        return [base64.b64encode(row).decode() for row in found.tuples()]
    rows: list[dict[str, Any]]
    if found.kind == KIND_AD:
        rows = [ad.decode(row)._asdict() for row in found.tuples()]
    elif found.kind == KIND_CMCD:
        rows = [cmcd.decode(row)._asdict() for row in found.tuples()]
    else:
        rows = [copy_tuple.decode(row)._asdict() for row in found.tuples()]
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _line(**fields: Any) -> str:
    return orjson.dumps(fields, default=str).decode()
