"""Two refusals: of a whole request, and of one event."""

from ingest.codes import BY_NAME


class Undecodable(Exception):
    """The request cannot be taken apart: nothing of it is kept. `details` stand in the answer beside the message."""

    def __init__(self, code: str, message: str = "", **details: int | str) -> None:
        self.code = code
        self.message = message or BY_NAME[code].sentence
        self.details = details
        super().__init__(self.message)

    @property
    def status(self) -> int:
        """HTTP status of the answer: 400, 413 or 415."""
        return BY_NAME[self.code].status


class Refused(Exception):
    """One event cannot be taken: why, and which field it is."""

    def __init__(self, code: str, path: str = "$", message: str = "") -> None:
        self.code = code
        self.path = path
        self.message = message or BY_NAME[code].sentence
        super().__init__(self.message)


class Doubtful(ValueError):
    """The fast way does not vouch for this event; the slow way decides."""
