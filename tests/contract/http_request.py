"""Requests as bytes: a valid one with something changed."""

import json
from collections.abc import Sequence
from typing import Final

from ingest.intake import EVENTS_PATH
from tests.builders import an_event

REQUIRED: Final = ("event_id", "event_type", "content_id", "session_id", "occurred_at")


def a_request(
    body: bytes = b"", method: str = "POST", target: str = EVENTS_PATH, lines: Sequence[str] = (), **changes: str | None
) -> bytes:
    """A request with its usual headers, with `changes` (content_type="text/plain"; None leaves one out) and `lines`."""
    headers: dict[str, str | None] = {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    headers |= {name.replace("_", "-").title(): value for name, value in changes.items()}
    written = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"{method} {target} HTTP/1.1", *written, *lines, "", ""]).encode("latin-1") + body


def an_event_text() -> bytes:
    """The shortest valid event, with a new event_id; every one has the same length."""
    event = an_event()
    return json.dumps({name: event[name] for name in REQUIRED}, separators=(",", ":")).encode()


def chunked(body: bytes, *, size_bytes: int = 1 << 16) -> bytes:
    """The same in chunks."""
    parts = [body[at : at + size_bytes] for at in range(0, len(body), size_bytes)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def byte_by_byte(data: bytes) -> list[bytes]:
    """The same as so many pieces."""
    return [data[at : at + 1] for at in range(len(data))]
