"""Admit or refuse, before the body is read. Pure but for the numbers it keeps."""

from typing import Final, Literal

Refused = Literal["body_too_large", "spool_full", "spool_unavailable", "draining", "overloaded"]

BODY_TOO_LARGE: Final = "body_too_large"
SPOOL_FULL: Final = "spool_full"
SPOOL_UNAVAILABLE: Final = "spool_unavailable"
DRAINING: Final = "draining"
OVERLOADED: Final = "overloaded"

REASONS: dict[str, str] = {
    BODY_TOO_LARGE: "The body is larger than one request may be; split it.",
    SPOOL_FULL: "The spool is at its high mark; the stores are behind.",
    SPOOL_UNAVAILABLE: "The spool could not be written; nothing of this request is certain to be kept.",
    DRAINING: "This gateway is shutting down.",
    OVERLOADED: "Too many bytes of requests are in flight.",
}


class Admission:
    """One byte budget for bodies in flight, and the states that close the door."""

    def __init__(self, body_max_bytes: int, inflight_max_bytes: int) -> None:
        assert body_max_bytes <= inflight_max_bytes
        self._body_max_bytes = body_max_bytes
        self._inflight_max_bytes = inflight_max_bytes
        self.inflight_bytes = 0
        self.spool_full = False
        self.draining = False

    def admit(self, length_bytes: int | None) -> Refused | None:
        """`length_bytes` as announced, None when the body is chunked (then the most it may be is booked).

        None: admitted, and `booked(length_bytes)` is in the budget until it is released.
        """
        if self.draining:
            return DRAINING
        if length_bytes is not None and length_bytes > self._body_max_bytes:
            return BODY_TOO_LARGE
        if self.spool_full:
            return SPOOL_FULL
        return None if self.book(self.booked(length_bytes)) else OVERLOADED

    def book(self, size_bytes: int) -> bool:
        """Take from the budget, also for what a body has inflated to; False, and nothing taken, when it is spent."""
        if self.inflight_bytes + size_bytes > self._inflight_max_bytes:
            return False
        self.inflight_bytes += size_bytes
        return True

    def booked(self, length_bytes: int | None) -> int:
        """What a body of this announced length takes of the budget."""
        return self._body_max_bytes if length_bytes is None else length_bytes

    def release(self, size_bytes: int) -> None:
        """What was booked is done with."""
        self.inflight_bytes -= size_bytes
        assert self.inflight_bytes >= 0
