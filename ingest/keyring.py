"""Write keys as the door knows them: who may send what to which door, from where, how much, and whose it is. Pure.

A key is `svp_` or `svs_` (public, secret) and 192 random bits in base64url. Only its SHA-256 is kept anywhere. A slow
hash protects what people think of, since it can be guessed; 192 random bits cannot, so a slow one would protect nothing
more and cost every request 100 ms.

Public keys stand in pages and apps for all to read: they say whose events these are, and are bounded by origins and a
rate; they prove nothing. Secret keys are for servers; one that comes with an Origin has leaked into a page: refused.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Final, Literal, NamedTuple

from msgspec import Struct

Door = Literal["events", "ads", "cmcd"]
DOORS: Final[tuple[Door, ...]] = ("events", "ads", "cmcd")
"""POST /v1/events · /v1/ad/… · /v1/cmcd."""

PUBLIC_PREFIX: Final = "svp_"
SECRET_PREFIX: Final = "svs_"  # noqa: S105  what every secret one begins with
"""Scanners of repositories know a leaked key by it."""
RANDOM_BYTES: Final = 24
ID_CHARS: Final = 12
"""Of the hash in hexadecimal: a key in hand can be told from the others, and the id tells nothing of the key."""

FOUND_MAX: Final = 4_096
"""Answers remembered: keys times the origins they come from."""
FOUND_MAX_CHARS: Final = 256
"""Of a key and an origin that are remembered."""

_ORIGIN: Final = re.compile(r"https?://(\*\.)?([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::([0-9]{1,5}))?", re.ASCII)
_BELOW: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*", re.ASCII)
"""What may stand for the star of a pattern."""


class Key(Struct, frozen=True):
    """One write key, without the key itself."""

    id: str
    hash: bytes
    """SHA-256 of the key, 32 bytes."""
    owner: str
    """Whose events these are, at most 64 characters: part of the identity of what has no event_id. Several keys may
    have one owner; it stays when a key is rotated.
    """
    secret: bool = False
    doors: tuple[Door, ...] = DOORS
    origins: tuple[str, ...] = ()
    """`https://player.example`, or `https://*.example` for every host below it; none: any origin."""
    origins_only: bool = False
    """A request without an Origin is refused: apps, televisions and `<img>` send none."""
    rate: int | None = None
    """Events a second; None: as many as come."""
    burst: int = 0
    """Events at once, on top of the rate."""
    bucket: str = ""
    """What the rate is counted under: the id of the first key of a line of rotations."""
    off: bool = False
    not_after_us: int | None = None
    """When it is off by itself: the end of a rotation's grace, microseconds since 1970."""
    heartbeat_s: int | None = None
    """How often its players send heartbeats (`config.heartbeat`); None: as `redis.heartbeat_s` says."""

    def names(self, origin: str) -> bool:
        """Whether pages of this origin may use it, and read what they are told."""
        if self.secret:
            return False
        return not self.origins or any(_fits(pattern, origin) for pattern in self.origins)


class Refused(NamedTuple):
    """A request is not taken: `code` and `status` are told at /v1/events, and counted at every door."""

    code: str
    status: int
    message: str
    key_id: str = ""
    """Where there is such a key."""
    wait_s: float = 0.0
    """When it is worth trying again; 0: never."""


MISSING_KEY: Final = Refused(
    "missing_key", 401, "A write key is needed: ?key=…, or Authorization: Bearer …, as a secret one."
)
UNKNOWN_KEY: Final = Refused("unknown_key", 401, "There is no such write key.")
KEYS_UNAVAILABLE: Final = Refused("keys_unavailable", 503, "This gateway has not been told its write keys yet.")
KEY_OFF: Final = Refused("key_off", 403, "This write key was revoked, or has been replaced.")
ORIGIN_REFUSED: Final = Refused("origin_refused", 403, "This write key is not for pages of this origin.")
DOOR_REFUSED: Final = Refused("door_refused", 403, "This write key is not for this kind of events.")


class Keyring:
    """All keys, as they are at one moment."""

    def __init__(self, keys: Iterable[Key] = (), now_us: int = 0) -> None:
        """A key whose time is up by `now_us` is off."""
        self.keys = tuple(keys)
        self._by_hash = {key.hash: key for key in self.keys}
        self._found: dict[tuple[str, Door, str | None], Key] = {}
        self._named: dict[tuple[str, str], bool] = {}
        self._now_us = now_us
        ends = (key.not_after_us for key in self.keys if key.not_after_us is not None)
        self.good_until_us = min((end for end in ends if end > now_us), default=None)
        """When the next key's time is up, and this ring is to be made anew; None: never."""

    def find(self, key: str, door: Door, origin: str | None) -> Key | Refused:
        """`key` as sent, empty when none was; `origin` None when there is no such header. Costs a look-up where the
        same was found before, and some microseconds otherwise.
        """
        asked = key, door, origin
        if (found := self._found.get(asked)) is not None:
            return found
        judged = self._judge(key, door, origin)
        if isinstance(judged, Key) and len(key) + len(origin or "") <= FOUND_MAX_CHARS:
            if len(self._found) >= FOUND_MAX:
                self._found.clear()
            self._found[asked] = judged
        return judged

    def names(self, key: str, origin: str) -> bool:
        """Whether an answer to this key may be read by pages of this origin. A preflight tells no header's key: with
        `key` empty, whether any key would.
        """
        asked = key, origin
        if (found := self._named.get(asked)) is None:
            found = self._reads(key, origin)
            if len(key) + len(origin) <= FOUND_MAX_CHARS:
                if len(self._named) >= FOUND_MAX:
                    self._named.clear()
                self._named[asked] = found
        return found

    def _reads(self, key: str, origin: str) -> bool:
        if not key:
            return any(one.names(origin) for one in self.keys if not self._is_off(one))
        known = self._by_hash.get(hash_of(key))
        return known is not None and known.names(origin)

    def _judge(self, key: str, door: Door, origin: str | None) -> Key | Refused:
        if not key:
            return MISSING_KEY
        known = self._by_hash.get(hash_of(key))
        if known is None:
            return UNKNOWN_KEY
        if self._is_off(known):
            return KEY_OFF._replace(key_id=known.id)
        if known.origins_only if origin is None else not known.names(origin):
            return ORIGIN_REFUSED._replace(key_id=known.id)
        if door not in known.doors:
            return DOOR_REFUSED._replace(key_id=known.id)
        return known

    def _is_off(self, key: Key) -> bool:
        return key.off or (key.not_after_us is not None and key.not_after_us <= self._now_us)


class _Always(Keyring):
    """One answer to all."""

    def __init__(self, answer: Key | Refused) -> None:
        super().__init__()
        self._answer = answer

    def find(self, key: str, door: Door, origin: str | None) -> Key | Refused:
        return self._answer

    def names(self, key: str, origin: str) -> bool:
        return True


OPEN: Final[Keyring] = _Always(Key("", b"", ""))
"""Nobody needs a key, and none is looked at: everything is taken, for the owner ""."""
UNPUBLISHED: Final[Keyring] = _Always(KEYS_UNAVAILABLE)
"""Keys are needed, and nobody has said which there are."""


def hash_of(key: str) -> bytes:
    """Of a key as sent, whatever it is: 32 bytes."""
    return sha256(key.encode("utf-8", "surrogatepass")).digest()


def id_of(key: str) -> str:
    """What a key is called."""
    return hash_of(key).hex()[:ID_CHARS]


def new_key(random_bytes: Callable[[int], bytes], *, secret: bool) -> str:
    """A key that nobody has; `random_bytes(count)` from the system's source for secrets."""
    tail = urlsafe_b64encode(random_bytes(RANDOM_BYTES)).decode("ascii")
    return (SECRET_PREFIX if secret else PUBLIC_PREFIX) + tail


def is_origin(text: str) -> bool:
    """Whether it can stand in `Key.origins`: as browsers write an origin, in lower case, without a path; not `null`,
    which every sandboxed page has.
    """
    if (match := _ORIGIN.fullmatch(text)) is None:
        return False
    star, host, port = match.groups()
    return not (star and "." not in host) and int(port or 0) <= 65_535  # not every host below .com


def _fits(pattern: str, origin: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return origin == pattern
    middle = origin[len(before) : -len(after)]
    return origin.startswith(before) and origin.endswith(after) and _BELOW.fullmatch(middle) is not None
