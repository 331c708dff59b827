"""Events → one request's body, in every form the door takes (DESIGN §3). Pure: clock and chance are arguments."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

FORMS: Final = ("envelope", "envelope_gzip", "envelope_deflate", "array", "single", "ndjson", "ndjson_gzip", "beacon")
FORMS_WITH_SENT_AT: Final = frozenset({"envelope", "envelope_gzip", "envelope_deflate", "beacon"})
FORM_SHARES: Final = (40, 15, 5, 12, 8, 8, 5, 7)  # in the order of FORMS: most players use the envelope
GZIP_LEVEL: Final = 1  # players compress on phones


@dataclass(frozen=True, slots=True)
class Body:
    """What goes on the wire: the headers that describe it, its bytes, and the query it needs."""

    headers: Mapping[str, str]
    data: bytes
    query: str = ""


def some_form(rng: random.Random, *, needs_sent_at: bool, last: bool) -> str:
    """A form to a player's liking; the last words of a page are a beacon as often as not."""
    form = "beacon" if last and rng.random() < 0.5 else rng.choices(FORMS, FORM_SHARES)[0]
    return "envelope" if needs_sent_at and form not in FORMS_WITH_SENT_AT else form


def body(form: str, events: Sequence[Mapping[str, Any]], sent_at: str | int | None, key: str = "demo") -> Body:
    """Write `events` in `form`, one of FORMS; `sent_at` as on the wire, for the forms that carry it.

    "single" takes exactly one event. A beacon cannot set a header beyond its type, so its key is in the query.
    """
    if form in FORMS_WITH_SENT_AT:
        envelope: dict[str, Any] = {"events": events} if sent_at is None else {"sent_at": sent_at, "events": events}
        data = orjson.dumps(envelope)
    elif form == "array":
        data = orjson.dumps(events)
    elif form == "single":
        assert len(events) == 1
        data = orjson.dumps(events[0])
    else:
        data = b"".join(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in events)
    if form == "beacon":
        return Body({"Content-Type": "text/plain;charset=UTF-8"}, data, f"?key={key}")
    headers = {"Content-Type": "application/x-ndjson" if form.startswith("ndjson") else "application/json"}
    if form.endswith("_gzip"):
        headers["Content-Encoding"] = "gzip"
        data = gzip.compress(data, GZIP_LEVEL)
    elif form.endswith("_deflate"):
        headers["Content-Encoding"] = "deflate"
        data = zlib.compress(data, GZIP_LEVEL)
    return Body(headers, data)
