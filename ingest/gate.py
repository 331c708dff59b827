"""What write keys decide at the doors of one process: who comes in, what they are told, and which pages may read it."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from ingest import cors
from ingest.answer import Answer, refusal, try_again
from ingest.clock import Clock
from ingest.keyring import KEYS_UNAVAILABLE, OPEN, SECRET_PREFIX, UNPUBLISHED, Door, Key, Keyring, Refused
from ingest.rate import Rates
from ingest.tally import Tally

RATE_LIMITED: Final = Refused("rate_limited", 429, "More events than this write key may send; send them again later.")
UNPUBLISHED_WAIT_S: Final = 2.0
"""Until there are keys: they are published every second."""
REFUSALS: Final = (401, 403)
_BEARER: Final = "bearer "


class Gate:
    """`keyring` is replaced as keys change."""

    def __init__(self, tally: Tally, clock: Clock, chance: Callable[[], float], *, required: bool) -> None:
        """`required`: without it the gate is open, and stays so."""
        self.closed = required
        self.keyring: Keyring = UNPUBLISHED if required else OPEN
        self.rates = Rates()
        self._tally = tally
        self._clock = clock
        self._chance = chance

    def enter(self, key: str, door: Door, origin: str | None) -> Key | Refused:
        """Whose request it is, or why it is not taken: the caller's to count. `key` empty when none was sent, `origin`
        None without the header.
        """
        found = self.keyring.find(key, door, origin)
        if isinstance(found, Refused) or found.rate is None:
            return found
        if wait_s := self.rates.wait_s(found, self._clock.monotonic_s()):
            return RATE_LIMITED._replace(key_id=found.id, wait_s=wait_s)
        return found

    def charge(self, key: Key, received: int, rejected: int = 0) -> None:
        """Of who came in: how many events there were, and how many of them were wrong. A request costs one at least."""
        if key.rate is not None:
            self.rates.charge(key, max(received, 1), self._clock.monotonic_s())
        if key.id:
            self._tally.key_events(key.id, received - rejected, rejected)

    def answer(self, refused: Refused) -> Answer:
        """Where it is told: 401, 403, 429 or 503."""
        status, code, message = refused.status, refused.code, refused.message
        if refused.code == KEYS_UNAVAILABLE.code:
            return try_again(status, code, message, UNPUBLISHED_WAIT_S, self._chance())
        if refused.code == RATE_LIMITED.code:
            return try_again(status, code, message, refused.wait_s, self._chance())
        answer = refusal(status, code, message)
        # RFC 9110 §11.6.1; no browser asks its user for a Bearer's
        return answer._replace(headers=(("WWW-Authenticate", "Bearer"),)) if status == 401 else answer

    def named(self, key: str, origin: str | None, status: int) -> cors.Named:
        """Whose pages may read an answer with this status."""
        if not self.closed:
            return origin
        if not origin:
            return cors.UNNAMED
        if self.keyring.names(key, origin):
            return origin
        return cors.Stranger(origin) if status in REFUSALS else cors.UNNAMED


class Asked(NamedTuple):
    """What the query of events says."""

    dry_run: bool
    key: str


@lru_cache(1_024)
def asked(query: str) -> Asked:
    """Of a query as sent; of doubled names the first counts."""
    said = dict(reversed(parse_qsl(query)))
    return Asked(said.get("dry_run") in ("1", "true"), shown(said.get("key", "")))


def shown(key: str) -> str:
    """A key in a URL; none where it is a secret one: URLs stand in logs, and nobody shall get used to it."""
    return "" if key.startswith(SECRET_PREFIX) else key


def bearer(authorization: str) -> str:
    """The key in an Authorization header as sent (RFC 6750 §2.1); empty when it is of another scheme, or absent."""
    return authorization[len(_BEARER) :].strip() if authorization[: len(_BEARER)].lower() == _BEARER else ""
