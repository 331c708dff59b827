"""A reader's way through one incarnation: frames in order, from any sequence on, never beyond the watermark."""

from pathlib import Path
from typing import Any, NamedTuple

import structlog

from ingest.spool import quarantine, segment
from ingest.spool.disk import Disk
from ingest.spool.durable import Durable
from ingest.spool.ending import Ending
from ingest.spool.frame import Frame, TornFrame
from ingest.spool.lost import Lost, lost_before, lost_until
from ingest.spool.run import Run
from ingest.spool.state import State
from ingest.spool.window import Window, segment_window

__all__ = ["Lost", "PositionAhead", "Reader", "Reading", "SegmentsGone"]

log: Any = structlog.get_logger()


class SegmentsGone(Exception):
    """The frames at this position are no longer in the spool; `first` is the oldest sequence that is."""

    def __init__(self, first: int) -> None:
        super().__init__(f"first kept sequence {first}")
        self.first = first


class PositionAhead(SegmentsGone):
    """The position is behind the incarnation's end, which is `first`: the disk lost what it had promised to hold."""


class Reading(NamedTuple):
    """What one `read` brought."""

    runs: list[Run]
    state: State
    """Behind the last frame, or behind the damage at the end."""
    lost: list[Lost]

    @property
    def frames(self) -> list[Frame]:
        """Of all runs, one by one."""
        return [one for run in self.runs for one in run.frames]


class Reader:
    """Delivers one incarnation's frames from `sequence` on.

    Raises SegmentsGone when they are no longer there, UnknownVersion, OSError. Segments that are removed under a reader
    are not an error: nothing more comes, and a new Reader says SegmentsGone.
    """

    def __init__(self, directory: Path, disk: Disk, quarantine: Path, sequence: int) -> None:
        self.directory = directory
        self.finished = False
        """Everything of an ended incarnation was read."""
        self.state = State()
        """Behind what was read so far."""
        self._disk = disk
        self._quarantine = quarantine
        self._durable = Durable(directory, disk)
        self._lost: list[Lost] = []
        self._totals_known = True
        """Whether `state` has the totals of its sequence, so that a jump tells a loss."""
        self._settled = False
        """Whether no frame was lost since the last header: then none can be missing before the next in sequence."""
        self._base = -1
        self._pending: int | None = None
        """The segment to enter before the next frame."""
        self._window = Window(lambda offset, size_bytes: b"", 0)
        self._at = 0
        self._hopeless = (-1, -1)
        """Place and size of the segment of a search that found no frame."""
        self._open(sequence)

    def read(self, size_bytes: int) -> Reading:
        """Frames that are on disk, about `size_bytes` of them; none when there is nothing new.

        Raises UnknownVersion, OSError.
        """
        durable = self.durable()
        runs: list[Run] = []
        while size_bytes > 0 and self.state.sequence < durable:
            found = self._runs(durable, size_bytes) if self._settled else []
            if not found:
                one = self._step(durable)
                if one is None:
                    break
                found = [Run.of([one])]
            runs += found
            size_bytes -= sum(run.outline.size_bytes for run in found)
        ending = self._durable.known_ending
        if ending is not None and self.state.sequence >= ending.sequence and not self.finished:
            self.finished = True
            self._take_ending(ending)  # what no later frame told of a month
        lost, self._lost = self._lost, []
        return Reading(runs, self.state, lost)

    def durable(self) -> int:
        """How many frames are on disk. Raises OSError."""
        return self._durable.beyond(self.state.sequence)

    def close(self) -> None:
        """Let go of the watermark."""
        self._durable.close()

    # ── where to begin ──────────────────────────────────────────────────────────────────────────────────────────

    def _open(self, sequence: int) -> None:
        bases, ending = self._bases(), self._durable.ending()
        if ending is not None and sequence > ending.sequence:
            raise PositionAhead(ending.sequence)
        if not bases and sequence == 0 and ending is None:
            self._pending = 0  # nothing was in it; recovery will say so
            return
        earlier = [base for base in bases if base <= sequence]
        if not earlier:
            if ending is None or sequence < ending.sequence:
                raise SegmentsGone(bases[0] if bases else ending.sequence if ending else 0)
            self.state = _state_at(ending)  # all of it was delivered, and its segments are gone
            return
        for base in reversed(earlier):  # the nearest whole header: one that is just being made is not
            state = self._state_before(base)
            if state is not None:
                self.state, self._pending = state, base
                break
        else:
            self._pending = earlier[-1]
            self._totals_known = False
        while self.state.sequence < sequence and self._step(sequence) is not None:
            pass
        self._lost.clear()  # it was told to whoever came this far before
        if self.state.sequence < sequence:
            self.state = self.state._replace(sequence=sequence)
            self._totals_known = False

    def _state_before(self, base: int) -> State | None:
        """As the segment's header says; None when it is not whole. Before the first frame there is nothing to say."""
        if base == 0:
            return State()
        try:
            head, _ = segment_window(self._disk, self.directory, base).segment_head()
        except segment.TornSegment:
            return None
        return State(base, head.totals, head.months, head.rejected_by_code)

    # ── frame by frame ──────────────────────────────────────────────────────────────────────────────────────────

    def _runs(self, until: int, size_bytes: int) -> list[Run]:
        """Frames one behind the other in this segment, as long as nothing is in the way: the common case, in few lines.

        None when the next one is not as plain as that.
        """
        sequence, totals, months, rejected_by_code = self.state
        runs, after = self._window.runs(self._at, sequence, until, size_bytes)
        if runs:
            months = dict(months)
            for run in runs:
                outline = run.outline
                months.update(outline.months)
                totals, rejected_by_code = outline.totals, outline.rejected_by_code or rejected_by_code
            self._at, self.state = after, State(runs[-1].until, totals, months, rejected_by_code)
            self._totals_known = True
        return runs

    def _step(self, until: int) -> Frame | None:
        """The next frame below sequence `until`, or None when there is none to be had now."""
        while True:
            if self._pending is not None:
                self._enter(self._pending)
            try:
                found, after = self._window.frame(self._at)
            except TornFrame as torn:
                if not self._go_on(until, torn):
                    return None
                continue
            if found.sequence >= until:
                ending = self._durable.known_ending
                if ending is not None and until >= ending.sequence:  # frames behind the end were never promised
                    self._take_ending(ending)
                return None
            self._at = after
            if found.sequence >= self.state.sequence:
                self._account(self.state.behind(found), lost_before(found, self.state))
                return found

    def _enter(self, base: int) -> None:
        self._base, self._at, self._pending = base, 0, None
        self._window = segment_window(self._disk, self.directory, base)
        try:
            head, at = self._window.segment_head()
        except segment.TornSegment as torn:  # its bytes are damage like any other, met at the first step
            log.error("spool_segment_head_damaged", incarnation=self.directory.name, base=base, error=str(torn))
            return
        self._at = at
        self._take_over(State(base, head.totals, head.months, head.rejected_by_code))
        self._settled = True

    def _go_on(self, until: int, torn: TornFrame) -> bool:
        """Behind the end of a segment, or behind damage. False: nothing valid follows yet."""
        bases = self._bases()
        if self.state.sequence > self._base and self.state.sequence in bases:
            self._pending = self.state.sequence
            return True
        self._window.forget()
        try:
            self._window.frame(self._at)
        except TornFrame:
            pass
        else:  # when it was read ahead it was still being written
            return True
        path = self._path()
        if path is None:
            return False
        try:
            head, after = self._window.frame_head(self._at)
        except TornFrame:
            pass
        else:
            if self.state.sequence <= head.sequence < until:  # promised; its length and totals are known
                self._keep(path, after, torn)
                self._take_over(self.state.behind(head))
                self._at = after
                return True
        return self._pass_damage(path, bases, torn)

    def _pass_damage(self, path: Path, bases: list[int], torn: TornFrame) -> bool:
        size_bytes = self._disk.size(path)
        later = [base for base in bases if base > self._base]
        ending = self._durable.ending()
        if self._hopeless == (self._at, size_bytes) and not later and ending is None:
            return False
        following = self._window.find_frame(self._at, self.state.sequence)
        if following is None and not later and ending is None:
            self._hopeless = (self._at, size_bytes)
            return False
        self._keep(path, following if following is not None else size_bytes, torn)
        if following is not None:
            self._at = following
            return True
        if later:
            self._pending = later[0]
            return True
        assert ending is not None
        self._take_ending(ending)
        return False

    # ── what was lost ───────────────────────────────────────────────────────────────────────────────────────────

    def _take_over(self, after: State) -> None:
        """A state that the frames delivered may not add up to; the difference was lost."""
        self._account(after, lost_until(after, self.state))

    def _take_ending(self, ending: Ending) -> None:
        """The state at the end. What damage hid from who wrote it, and was delivered before, stays as delivered: of
        frames that nobody can read any more it knows the number, and the totals of an earlier one.
        """
        told = _state_at(ending)
        if told.totals.received < self.state.totals.received:
            log.error("spool_end_hidden", incarnation=self.directory.name, ending=ending.sequence)
        told = told.knowing(self.state)
        if told.sequence >= self.state.sequence:
            self._take_over(told)
        else:
            log.error("spool_ends_before_position", incarnation=self.directory.name, ending=ending.sequence)

    def _account(self, after: State, lost: Lost | None) -> None:
        if lost is not None and self._totals_known:
            self._lost.append(lost)
            self._settled = False
        self.state, self._totals_known = after, True

    def _keep(self, path: Path, end: int, torn: TornFrame) -> None:
        """The damaged bytes from here to `end`, as they are, in the quarantine."""
        if end <= self._at:
            return
        name = quarantine.piece_name(path, self._at)
        log.error("spool_damage", quarantine=name, size_bytes=end - self._at, error=str(torn))
        quarantine.keep(self._disk, self._quarantine, name, self._window.pieces(self._at, end))

    # ── the directory ───────────────────────────────────────────────────────────────────────────────────────────

    def _bases(self) -> list[int]:
        """Of the segments there are, ascending."""
        return sorted(base for base in map(segment.base_of, self._disk.list(self.directory)) if base is not None)

    def _path(self) -> Path | None:
        """Of the current segment, if it is still there."""
        names = self._disk.list(self.directory)
        for suffix in (segment.SEALED, segment.OPEN):
            if (name := segment.name(self._base, suffix)) in names:
                return self.directory / name
        return None


def _state_at(ending: Ending) -> State:
    return State(ending.sequence, ending.totals, ending.months, ending.rejected_by_code)
