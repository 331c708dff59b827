"""The streams of a turn: from memory where they were lately, else from the file; what it touched goes back there."""

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

from config.limits import MIB
from storage.stage.line import Key
from storage.stage.state_file import StateFile
from storage.stage.stream import Stream, a_stream

IN_MEMORY_MAX: Final = 50_000
IN_MEMORY_MAX_BYTES: Final = 64 * MIB
"""Some 1 KB each; one of a player that jumps about in its numbers, and stalls, up to 50."""


def stream_id(key: Key) -> bytes:
    """16 bytes. Of a cryptographic hash: players choose their names."""
    owner, session, target = key
    name = len(owner).to_bytes(2, "big") + owner + target.to_bytes(8, "big", signed=True) + session
    return blake2b(name, digest_size=16).digest()


def weight_bytes(stream: Stream) -> int:
    """Of one in memory, nearly."""
    holes = sum(len(run.gaps) for run in stream.runs)
    texts = len(stream.stall) + len(stream.content) + len(stream.error_code or b"")
    return 700 + 250 * len(stream.runs) + 130 * holes + 40 * len(stream.completed) + texts


class Streams:
    """`opened`, `kept`: what this turn touched, until `settle`. Reading may raise sqlite3.Error."""

    def __init__(
        self, file: StateFile, in_memory_max: int = IN_MEMORY_MAX, in_memory_max_bytes: int = IN_MEMORY_MAX_BYTES
    ) -> None:
        self.opened: dict[bytes, Stream] = {}
        """New ones, and those that go on behind their end."""
        self.kept: dict[bytes, Stream] = {}
        self._file = file
        self._in_memory_max = in_memory_max
        self._in_memory_max_bytes = in_memory_max_bytes
        self._known: OrderedDict[bytes, Stream] = OrderedDict()
        self._weights: dict[bytes, int] = {}
        self._weight_bytes = 0

    def touched(self, key: Key) -> Stream:
        """To be changed."""
        name = stream_id(key)
        stream = self.opened.get(name) or self._known.get(name)
        if stream is not None:
            if name not in self.opened:
                self.kept[name] = stream
                self._known.move_to_end(name)
            return stream
        found = self._file.stream(name)
        stream, is_open = (found[0], not found[1]) if found is not None else (a_stream(), False)
        (self.kept if is_open else self.opened)[name] = stream
        self._known[name] = stream
        return stream

    def settle(self) -> None:
        """What was touched is in the file."""
        for touched in (self.opened, self.kept):
            for name, stream in touched.items():
                weight = weight_bytes(stream)
                self._weight_bytes += weight - self._weights.get(name, 0)
                self._weights[name] = weight
        self.opened, self.kept = {}, {}
        while self._known and (
            len(self._known) > self._in_memory_max or self._weight_bytes > self._in_memory_max_bytes
        ):
            name, _ = self._known.popitem(last=False)
            self._weight_bytes -= self._weights.pop(name, 0)

    def silent(self, since_us: int, number_max: int) -> dict[bytes, Stream]:
        """Open ones of which nothing was received since, some of them; they leave the memory."""
        found = self._file.silent(since_us, number_max)
        for name, _ in found:
            self._weight_bytes -= self._weights.pop(name, 0)
        return {name: self._known.pop(name, stream) for name, stream in found}
