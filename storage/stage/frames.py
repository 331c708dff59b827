"""Verdicts as the frames of the stage's own log. Pure.

A frame is of one kind, one month and one class of heartbeats, and a stream's events go from kind to kind. Readers are
to meet them in their order, also one that is so late that it waits for nobody: so frames come in layers, signals, rows,
signals, …, and each stream goes on in the next layer that takes its next event. There are as many as the stream that
changes most often needs, not as many as there are streams.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from ingest.batch import (
    HEARTBEAT_SHIFT,
    KIND_PLAYBACK,
    KIND_SIGNAL,
    MONTH_UNSETTLED,
    SCHEMA_PLAYBACK,
    FrameBody,
)
from ingest.core import chosen
from storage.stage.line import Key
from storage.stage.row import month, tuple_of
from storage.stage.verdict import Verdict

ROWS_MAX: Final = 1_000
"""In a frame: as many as a request may bring."""
LAYERS_MAX: Final = 32
"""What changes more often comes together in the last two."""


def bodies_of(verdicts: Sequence[Verdict]) -> list[FrameBody]:
    """Those of one stream in the order in which they are given; signals are in even layers."""
    frames: dict[tuple[int, int, int], list[Verdict]] = {}
    layers: dict[Key, int] = {}
    before: Key | None = None
    layer = heartbeat = 0
    signals: list[Verdict] = []
    for one in verdicts:
        line, is_row = one.line, not one.is_signal
        key = line.key
        if key is not before:
            if before is not None:
                layers[before] = layer
            before, layer, signals = key, layers.get(key, 0), []
        elif signals and not is_row and line.heartbeat == heartbeat:  # it goes on, and on
            signals.append(one)
            continue
        if layer & 1 != is_row:
            layer += 1 if layer < LAYERS_MAX - 1 else -1
        heartbeat = line.heartbeat
        form = layer, month(one) if is_row else MONTH_UNSETTLED, heartbeat
        found = frames.setdefault(form, [])
        found.append(one)
        signals = [] if is_row else found
    return [body for form, found in sorted(frames.items()) for body in _bodies(*form, found)]


def _bodies(layer: int, number: int, heartbeat: int, verdicts: list[Verdict]) -> Iterator[FrameBody]:
    kind = KIND_PLAYBACK if layer & 1 else KIND_SIGNAL
    for begin in range(0, len(verdicts), ROWS_MAX):
        yield body_of(kind, heartbeat << HEARTBEAT_SHIFT, number, verdicts[begin : begin + ROWS_MAX])


def body_of(kind: int, flags: int, number: int, verdicts: list[Verdict]) -> FrameBody:
    """Of all of these. ValueError when a line is no whole tuple."""
    rust = chosen.rust
    found = None if rust is None else rust.staged_rows(verdicts)
    if found is None:
        return FrameBody.of(kind, flags, number, [tuple_of(one) for one in verdicts])
    return FrameBody(kind, flags, SCHEMA_PLAYBACK, number, len(verdicts), *found)
