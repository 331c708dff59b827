"""Files and directories, as a process sees them and as a power cut leaves them."""

from random import Random

SECTOR_BYTES = 64
"""Written whole or not at all; small, so that a frame has several."""


class File:
    """What a process sees of a file, and what a power cut leaves of it for certain."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = b""
        self.untrusted = 0
        """From here on the pages are marked clean though their write failed: no later sync brings them to the disk."""
        self.modified_s = 0.0

    def sync(self) -> None:
        if self.untrusted:
            good = bytes(self.data[: self.untrusted])
            self.synced = good + self.synced[len(good) :]
        else:
            self.synced = bytes(self.data)

    def sync_failed(self) -> None:
        self.untrusted = self.untrusted or len(self.synced) or 1

    def truncate(self, size_bytes: int) -> None:
        del self.data[size_bytes:]
        if size_bytes <= self.untrusted:
            self.untrusted = 0

    def cut_power(self, chance: Random) -> None:
        data, synced = bytes(self.data), self.synced
        if len(data) < len(synced):  # truncated, and perhaps the disk knows
            kept = chance.choice([data, synced])
        elif len(synced) == 8 == len(data):  # a watermark: whatever it was in between
            low, high = int.from_bytes(synced, "little"), int.from_bytes(data, "little")
            kept = chance.randint(min(low, high), high).to_bytes(8, "little")
        else:
            tail = data[len(synced) : chance.randint(len(synced), len(data))]
            sectors = [tail[at : at + SECTOR_BYTES] for at in range(0, len(tail), SECTOR_BYTES)]
            kept = synced + b"".join(_after_the_cut(one, chance) for one in sectors)
        self.data, self.synced, self.untrusted = bytearray(kept), kept, 0


def _after_the_cut(sector: bytes, chance: Random) -> bytes:
    """Of a sector that was never synced: written, never written, or, on bad hardware, half and something else."""
    luck = chance.random()
    if luck < 0.65:
        return sector
    return bytes(len(sector)) if luck < 0.95 else sector[: len(sector) // 2] + chance.randbytes((len(sector) + 1) // 2)


class Directory:
    """Entries, and the changes to them that a power cut may undo from the last one on."""

    def __init__(self) -> None:
        self.entries: dict[str, File | Directory] = {}
        self.synced: dict[str, File | Directory] = {}
        self.changes: list[tuple[str | None, str | None]] = []
        """(old name or None, new name or None): link, rename, unlink."""
        self.nodes: list[File | Directory] = []

    def change(self, old: str | None, new: str | None, node: "File | Directory") -> None:
        self._apply(self.entries, old, new, node)
        self.changes.append((old, new))
        self.nodes.append(node)

    def sync(self) -> None:
        self.synced, self.changes, self.nodes = dict(self.entries), [], []

    def cut_power(self, chance: Random) -> None:
        self.entries = dict(self.synced)
        for (old, new), node in list(zip(self.changes, self.nodes, strict=True))[
            : chance.randint(0, len(self.changes))
        ]:
            self._apply(self.entries, old, new, node)
        self.sync()
        for node in self.entries.values():
            node.cut_power(chance)

    @staticmethod
    def _apply(
        entries: "dict[str, File | Directory]", old: str | None, new: str | None, node: "File | Directory"
    ) -> None:
        if old is not None:
            entries.pop(old, None)
        if new is not None:
            entries[new] = node
