"""How many events a second a key may send: a token bucket for each, in this process. Pure.

A request is let in while its bucket holds a token, and is charged what it held once that is known; so a bucket may go
into debt, by one request at most, and is closed until the debt is paid.

    alone      the bucket fills by itself: rate a second, up to burst
    shared     the bucket holds what the pool, which all collectors and gateways share, said a moment ago, less what was
               spent since; without its word for SHARED_S it is alone again, from where it stands

`reports` is what the pool has to know, `told` its answer; who carries them is not our concern. What several collectors
spend of the same tokens before they hear of each other is a debt of the pool, and is paid before anybody spends again:
N of them take rate · t + N · (burst + a request) at most, and over a long time rate · t.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from ingest.keyring import Key

SHARED_S: Final = 1.0
"""The pool's word is good for this long: some periods of settling."""
IDLE_S: Final = 0.5
"""Without a request: nothing is asked about this bucket."""


class Report(NamedTuple):
    """Of one bucket, to the pool."""

    bucket: str
    rate: int
    burst: int
    spent: int
    """Since the last report that was answered."""


class Standing(NamedTuple):
    """The pool's answer."""

    bucket: str
    balance: int
    """What may be spent until the next one; negative: the debt of all."""


class _Bucket:
    """`balance` may be spent; it was right at `at_s`."""

    __slots__ = ("at_s", "balance", "burst", "rate", "shared_until_s", "spent", "used_at_s")

    def __init__(self, now_s: float, rate: int, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self.balance = float(burst)
        self.at_s = self.used_at_s = self.shared_until_s = now_s
        self.spent = 0
        """Since the last report that was answered."""

    def fill(self, now_s: float) -> None:
        if (begun_s := max(self.at_s, self.shared_until_s)) < now_s:
            self.balance = min(self.balance + (now_s - begun_s) * self.rate, float(self.burst))
            self.at_s = now_s


class Rates:
    """The buckets of one process."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}
        self._reported: dict[str, int] = {}
        """Bucket → what was spent, of the reports under way."""

    def wait_s(self, key: Key, now_s: float) -> float:
        """0: a request may come in; else when it is worth trying again, in seconds."""
        if key.rate is None:
            return 0.0
        bucket = self._buckets.get(key.bucket) or self._begun(key, now_s)
        bucket.used_at_s = now_s
        if now_s > bucket.shared_until_s:
            bucket.fill(now_s)
        return 0.0 if bucket.balance >= 1 else (1 - bucket.balance) / bucket.rate

    def charge(self, key: Key, events: int, now_s: float) -> None:
        """A request that was let in held so many."""
        if key.rate is None:
            return
        bucket = self._buckets.get(key.bucket) or self._begun(key, now_s)
        bucket.balance -= events
        bucket.spent += events

    def reports(self, now_s: float) -> list[Report]:
        """Of all buckets that are in use, or of which the pool does not know all; until `told` or `lost`."""
        self._reported = {}
        found = []
        for name, bucket in self._buckets.items():
            if bucket.spent or now_s - bucket.used_at_s < IDLE_S:
                self._reported[name] = bucket.spent
                found.append(Report(name, bucket.rate, bucket.burst, bucket.spent))
        return found

    def told(self, standings: Iterable[Standing], now_s: float) -> None:
        """The pool's answer to `reports`."""
        for name, balance in standings:
            bucket = self._buckets.get(name)
            if bucket is not None and name in self._reported:
                bucket.spent -= self._reported.pop(name)
                bucket.balance = float(balance - bucket.spent)
                bucket.at_s, bucket.shared_until_s = now_s, now_s + SHARED_S

    def lost(self) -> None:
        """The reports were not answered. They may have been heard, and none is sent twice: the pool may miss some."""
        for name, spent in self._reported.items():
            if (bucket := self._buckets.get(name)) is not None:
                bucket.spent -= spent
        self._reported = {}

    def keep(self, keys: Iterable[Key]) -> None:
        """These are the keys now: what they may send is in force, and others' buckets are forgotten."""
        rates = {key.bucket: (key.rate, key.burst) for key in keys if key.rate is not None}
        for name in self._buckets.keys() - rates.keys():
            del self._buckets[name]
        for name, bucket in self._buckets.items():
            bucket.rate, bucket.burst = rates[name]

    def _begun(self, key: Key, now_s: float) -> _Bucket:
        assert key.rate is not None
        bucket = self._buckets[key.bucket] = _Bucket(now_s, key.rate, key.burst)
        return bucket
