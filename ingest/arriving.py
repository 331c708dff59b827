"""A body on its way: what of it is here, and booked."""

from ingest.intake import AnyHead, Intake


class ArrivingBody:
    """The body of one request, admitted and not whole yet."""

    __slots__ = ("_intake", "_parts", "booked_bytes", "head", "missing_bytes")

    def __init__(self, intake: Intake, head: AnyHead, length_bytes: int, first: bytes) -> None:
        """`first`: what is here of `length_bytes`. Raises Refusal, and then nothing is booked."""
        assert len(first) < length_bytes
        intake.arrive(len(first))
        self._intake = intake
        self.head = head
        self._parts = [first]
        self.booked_bytes = len(first)
        self.missing_bytes = length_bytes - len(first)

    def more(self, data: bytes) -> None:
        """The next bytes, fewer than are missing. Raises Refusal; what was booked before stays so."""
        assert len(data) < self.missing_bytes
        self._intake.arrive(len(data))
        self._parts.append(data)
        self.booked_bytes += len(data)
        self.missing_bytes -= len(data)

    def whole(self, last: bytes) -> bytes:
        """With its last bytes, which `Intake.take` books."""
        assert len(last) == self.missing_bytes
        return b"".join([*self._parts, last])

    def drop(self) -> None:
        """The rest will not come."""
        self._intake.drop(self.booked_bytes)
