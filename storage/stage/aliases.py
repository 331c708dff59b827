"""Contents whose names are no uuids: which were met for the first time, so that somebody can tell their names. Pure.

A row has the uuid that a name became (`storage.stage.identity`), and no uuid says what it was. So a turn keeps the
names that it met in the state file, in the same transaction as its rows; from there they go into the table
`content_alias`. What was met lately is remembered: a name costs its first line, and no other.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from storage.stage import identity
from storage.stage.verdict import Verdict

REMEMBERED_MAX: Final = 65_536
"""Names; of more all are forgotten, and kept once more when they are met, to no effect."""


class Alias(NamedTuple):
    """What a content was called."""

    content: bytes
    """The uuid, 16 bytes."""
    owner: str
    """Of the write key."""
    name: str
    """`cid`, as sent."""


class Aliases:
    """Those that were met."""

    def __init__(self) -> None:
        self._met: set[tuple[bytes, bytes]] = set()

    def met(self, verdicts: Iterable[Verdict]) -> list[Alias]:
        """The new ones. Where these are not kept after all, everything is to begin anew."""
        found, owner_before, content_before = [], None, None
        for one in verdicts:
            owner, content = one.line.key[0], one.content
            if owner is owner_before and content is content_before:  # most are of the stream of the one before
                continue
            owner_before, content_before = owner, content
            named = owner, content
            if named not in self._met:
                if len(self._met) >= REMEMBERED_MAX:
                    self._met.clear()
                self._met.add(named)
                if content and not identity.is_uuid(content):
                    found.append(Alias(identity.content_id(owner, content), owner.decode(), content.decode()))
        return found
