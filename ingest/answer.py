"""What a request is told: one JSON shape for verdicts, one for errors (DESIGN §3). Pure."""

from math import ceil
from typing import Any, NamedTuple

import orjson

from config.limits import ERRORS_SHOWN_MAX, RETRY_AFTER_MAX_S, RETRY_AFTER_MIN_S
from ingest.batch import Batch


class Answer(NamedTuple):
    """Status, body (empty for 204) and the headers beside the content type and CORS."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    media: str = "application/json"


def verdicts(batch: Batch, *, minimal: bool = False, dry_run: bool = False) -> Answer:
    """200 when something was accepted or nothing was sent, 400 when every event is invalid, 204 when asked for."""
    if minimal and not batch.rejected and not dry_run:
        return Answer(204, b"")
    if not batch.rejected and not dry_run:
        return Answer(200, b'{"accepted":%d,"duplicates":%d,"rejected":0}' % (batch.accepted, batch.duplicates))
    body: dict[str, Any] = {
        "accepted": batch.accepted,
        "duplicates": batch.duplicates,
        "rejected": batch.rejected,
    }
    if batch.errors:
        body["errors"] = [
            {"index": error.index, "id": error.id, "code": error.code, "path": error.path, "message": error.message}
            for error in batch.errors[:ERRORS_SHOWN_MAX]
        ]
    if dry_run:
        body |= {"dry_run": True, "unknown_fields": list(batch.unknown_names)}
    status = 400 if batch.rejected and not batch.accepted else 200
    return Answer(status, orjson.dumps(body))


def refusal(status: int, code: str, message: str, **details: Any) -> Answer:
    """The request as a whole was refused: nothing of it is kept."""
    return Answer(status, orjson.dumps({"error": code, "message": message, **details}))


def our_fault() -> Answer:
    """A bug; 500. Its connection ends, and nothing of the request was promised."""
    return refusal(500, "internal", "This is our fault, and in our log. Sending the same ids again is safe.")


def try_again(status: int, code: str, message: str, wait_s: float, chance: float) -> Answer:
    """429 or 503. Retry-After is `wait_s`, when it is expected to help, up to twice as long by `chance` in [0, 1), so
    that clients do not return as one; at most RETRY_AFTER_MAX_S, from half of it on.
    """
    least_s = ceil(min(max(wait_s, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S // 2))
    retry_after_s = least_s + int(chance * (least_s + 1))
    assert RETRY_AFTER_MIN_S <= retry_after_s <= RETRY_AFTER_MAX_S
    answer = refusal(status, code, message, retry_after_s=retry_after_s)
    return answer._replace(headers=(("Retry-After", str(retry_after_s)),))
