"""Admit or refuse, before the body is read. Pure but for the numbers it keeps."""

from typing import Final, Literal

from config.limits import RETRY_AFTER_MIN_S

Refused = Literal["body_too_large", "spool_full", "spool_unavailable", "draining", "overloaded", "ad_deadline"]

BODY_TOO_LARGE: Final = "body_too_large"
SPOOL_FULL: Final = "spool_full"
SPOOL_UNAVAILABLE: Final = "spool_unavailable"
DRAINING: Final = "draining"
OVERLOADED: Final = "overloaded"
AD_DEADLINE: Final = "ad_deadline"

REASONS: dict[str, str] = {
    BODY_TOO_LARGE: "The body is larger than one request may be; split it.",
    SPOOL_FULL: "The spool is at its high mark; the stores are behind.",
    SPOOL_UNAVAILABLE: "The spool could not be written; nothing of this request is certain to be kept.",
    DRAINING: "This gateway is shutting down.",
    OVERLOADED: "Too many bytes of requests, or too many connections, are in flight.",
    AD_DEADLINE: "The event could not be put on disk in time; it may be kept, and can be fired again.",
}
WAITS_S: dict[str, float] = {
    SPOOL_UNAVAILABLE: 2.0,  # a new incarnation is tried every second
    DRAINING: 2.0,  # until another gateway has the port, or the balancer knows
    OVERLOADED: 1.0,  # bodies come and go within milliseconds
    AD_DEADLINE: 2.0,  # a disk that hangs
}
"""When it is worth trying again; for a full spool, `Admission.room_in_s` says."""

ARRIVING_SHARE: Final = 0.75
"""Of the budget, what bodies may take that are not whole yet: however many stall, requests that come whole get in."""
PIXELS_SHARE: Final = 1 / 16
"""Of the budget, what pixels may take beyond it: they are a few hundred bytes each, and bodies cannot keep them out."""


class Admission:
    """One byte budget for bodies in flight, and the states that close the door.

    Bytes are booked as they come, not as they are announced: an announcement costs its sender nothing.
    """

    def __init__(self, body_max_bytes: int, inflight_max_bytes: int) -> None:
        assert body_max_bytes <= inflight_max_bytes
        self._body_max_bytes = body_max_bytes
        self._inflight_max_bytes = inflight_max_bytes
        self._arriving_max_bytes = int(inflight_max_bytes * ARRIVING_SHARE)
        self._pixels_max_bytes = int(inflight_max_bytes * (1 + PIXELS_SHARE))
        self.inflight_bytes = 0
        """Of all bodies, whole or not, and of what they inflated to, until they are answered."""
        self.arriving_bytes = 0
        """Of those, what belongs to bodies that are not whole."""
        self.spool_full = False
        self.room_in_s: float = RETRY_AFTER_MIN_S
        """Until the spool has room again."""
        self.leaving = False
        """Every answer is its connection's last; requests are taken as ever."""
        self.draining = False
        """The time for requests under way is up."""

    def admit(self, length_bytes: int | None) -> Refused | None:
        """None: its body may come. `length_bytes` as announced, None when the body is chunked."""
        if self.draining:
            return DRAINING
        if length_bytes is not None and length_bytes > self._body_max_bytes:
            return BODY_TOO_LARGE
        if self.spool_full:
            return SPOOL_FULL
        most_bytes = self._body_max_bytes if length_bytes is None else length_bytes
        return None if self.inflight_bytes + most_bytes <= self._inflight_max_bytes else OVERLOADED

    def admit_pixel(self, size_bytes: int) -> Refused | None:
        """None: there is room for `size_bytes` of a request that is its head alone; `occupy` takes them."""
        if self.draining:
            return DRAINING
        if self.spool_full:
            return SPOOL_FULL
        return None if self.inflight_bytes + size_bytes <= self._pixels_max_bytes else OVERLOADED

    def occupy(self, size_bytes: int) -> None:
        """Take what was admitted a moment ago, until `release`."""
        self.inflight_bytes += size_bytes

    def wait_s(self, reason: str) -> float:
        """When it is worth trying again, in seconds."""
        return self.room_in_s if reason == SPOOL_FULL else WAITS_S[reason]

    def book(self, size_bytes: int) -> bool:
        """Take from the budget, for a whole body or what it has inflated to; False, and nothing taken, when spent."""
        if self.inflight_bytes + size_bytes > self._inflight_max_bytes:
            return False
        self.inflight_bytes += size_bytes
        return True

    def arrive(self, size_bytes: int) -> bool:
        """More of a body that is not whole; False, and nothing taken, when there are too many such bytes."""
        if self.arriving_bytes + size_bytes > self._arriving_max_bytes or not self.book(size_bytes):
            return False
        self.arriving_bytes += size_bytes
        return True

    def completed(self, size_bytes: int) -> None:
        """Of a body that is whole now, what arrived; it stays booked."""
        self.arriving_bytes -= size_bytes
        assert self.arriving_bytes >= 0

    def release(self, size_bytes: int) -> None:
        """What was booked is done with."""
        self.inflight_bytes -= size_bytes
        assert self.inflight_bytes >= self.arriving_bytes
