"""Which letters a person means: by their ids, or by what they have in common. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from storage.dead_letter.letter import Identity, Letter, id_of

ID = re.compile(r"([0-9a-f]{1,32})-([0-9]{1,20})-([0-9]{1,10})")


def parsed_id(text: str) -> Identity:
    """An id as a person gives it: the first digits of the incarnation are enough. Raises ValueError."""
    match = ID.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no id of a dead letter (INCARNATION-SEQUENCE-INDEX, as `list` shows them)")
    return match[1], int(match[2]), int(match[3])


class Choice(Struct, frozen=True):
    """A letter is meant when it fits everything that is given; times are of its writing, microseconds since 1970."""

    ids: tuple[Identity, ...] = ()
    reason: str | None = None
    sqlstate: str | None = None
    event_id: str | None = None
    """Lower case, 8-4-4-4-12."""
    incarnation: str = ""
    """Its first digits."""
    since_us: int | None = None
    until_us: int | None = None
    """Of the first moment that is not meant any more."""

    @property
    def is_everything(self) -> bool:
        """Nothing is given."""
        return self == Choice()

    def takes(self, letter: Letter) -> bool:
        """Whether this letter is meant."""
        return (
            (self.reason is None or letter.reason == self.reason)
            and (self.sqlstate is None or letter.sqlstate == self.sqlstate)
            and (self.event_id is None or letter.event_id == self.event_id)
            and letter.incarnation.startswith(self.incarnation)
            and (self.since_us is None or letter.at_us >= self.since_us)
            and (self.until_us is None or letter.at_us < self.until_us)
            and (not self.ids or any(_is(letter, one) for one in self.ids))
        )


class UnknownId(Exception):
    """There is no letter with this id, or more than one that begins so."""


def chosen(letters: Iterable[Letter], choice: Choice, limit: int | None = None) -> Iterator[Letter]:
    """The letters that are meant, at most `limit`."""
    left = -1 if limit is None else limit
    for letter in letters:
        if left == 0:
            return
        if choice.takes(letter):
            left -= 1
            yield letter


def resolved(letters: Iterable[Letter], ids: Sequence[Identity]) -> dict[Identity, Letter]:
    """The letters with these ids, each by the id that was given. Raises UnknownId."""
    found: dict[Identity, Letter] = {}
    for letter in letters:
        for one in ids:
            if _is(letter, one):
                if one in found:
                    raise UnknownId(f"{id_of(one)} may be {found[one].id} or {letter.id}")
                found[one] = letter
    for one in ids:
        if one not in found:
            raise UnknownId(f"there is no dead letter {id_of(one)}")
    return found


def _is(letter: Letter, one: Identity) -> bool:
    return (letter.sequence, letter.index) == one[1:] and letter.incarnation.startswith(one[0])
