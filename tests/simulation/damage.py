"""Bits that flip on the platter, and what they may cost: the frames they are in and no other."""

from pathlib import Path
from random import Random

from ingest.spool import frame, segment
from ingest.spool.recovery import IDENTITY
from tests.simulation.places import SPOOL
from tests.simulation.platter import Platter
from tests.simulation.player import Name
from tests.simulation.rows import read


class Damage:
    """Of one world."""

    def __init__(self, platter: Platter) -> None:
        self.incarnations: set[str] = set()
        """In which something flipped."""
        self.open: set[str] = set()
        """In which something flipped while they were open: of a last frame whose head is hit nobody knows the rows."""
        self.cut: set[str] = set()
        """Incarnations that were open when the power was cut: their end may be taken for torn (ingest.spool), and of
        frames that were on their way together a later one may be whole and an earlier one not."""
        self.events: dict[Name, set[str]] = {}
        """In frames that were hit → incarnations."""
        self.rows: dict[str, int] = {}
        """Incarnation → rows of the frames that were hit."""
        self._platter = platter
        self._hit: set[tuple[str, str, int]] = set()

    def flip(self, chance: Random) -> str | None:
        """One bit of one segment; where, None when there is none."""
        paths = [
            SPOOL / name / file
            for name in self._platter.names(SPOOL)
            if IDENTITY.fullmatch(name)
            for file in self._platter.names(SPOOL / name)
            if segment.base_of(file) is not None
        ]
        if not paths:
            return None
        path = chance.choice(paths)
        file = self._platter.file(path)
        if not file.data:
            return None
        return self._flip_at(path, chance.randrange(len(file.data)), chance)

    def flip_end(self, chance: Random) -> str | None:
        """One bit in the head of each of the last frames of an open segment, delivered or not."""
        paths = [
            SPOOL / name / file
            for name in self._platter.names(SPOOL)
            if IDENTITY.fullmatch(name)
            for file in self._platter.names(SPOOL / name)
            if file.endswith(segment.OPEN)
        ]
        if not paths:
            return None
        path = chance.choice(paths)
        data, seed = bytes(self._platter.file(path).data), frame.seed_of(path.parent.name)
        heads, at = [], 0
        while (found := frame.find_next(data, at, seed)) is not None:
            heads.append(found)
            at = frame.decode(data, found, seed)[1]
        hit = [
            self._flip_at(path, head + chance.randrange(frame.HEAD_BYTES), chance)
            for head in heads[-chance.randrange(1, 4) :]
        ]
        return ", ".join(hit) or None

    def _flip_at(self, path: Path, offset: int, chance: Random) -> str:
        file, bit = self._platter.file(path), 1 << chance.randrange(8)
        self._note(path, bytes(file.data), offset)
        file.data[offset] ^= bit
        if offset < len(file.synced):
            synced = bytearray(file.synced)
            synced[offset] ^= bit
            file.synced = bytes(synced)
        return f"{path.parent.name}/{path.name} at {offset} of {len(file.data)}"

    def power_cut(self) -> None:
        """Who has no ending by now has lost its watermark."""
        for name in self._platter.names(SPOOL):
            if "ended" not in self._platter.names(SPOOL / name):
                self.cut.add(name)

    def _note(self, path: Path, data: bytes, offset: int) -> None:
        """Whose frame it is, if any: found by looking for whole ones, as it was before."""
        name = path.parent.name
        self.incarnations.add(name)
        if "ended" not in self._platter.names(path.parent):
            self.open.add(name)
        seed, at = frame.seed_of(name), 0
        while (found := frame.find_next(data, at, seed)) is not None:
            whole, after = frame.decode(data, found, seed)
            if found <= offset < after and (name, path.stem, found) not in self._hit:
                self._hit.add((name, path.stem, found))
                self.rows[name] = self.rows.get(name, 0) + whole.count
                for row in whole.tuples():
                    stored = read(row)
                    self.events.setdefault((stored.session, stored.sequence), set()).add(name)
            at = after
