"""Cross-origin answers (Fetch standard). sendBeacon sends credentials, so a browser's origin is named, never `*`."""

from typing import NamedTuple

UNNAMED = ""
"""No origin: pages may not read the answer."""


class Stranger(NamedTuple):
    """An origin that a write key is not for. Its pages may read that they are refused, else they would take it for a
    broken network and try for ever; but not with credentials.
    """

    origin: str


Named = str | Stranger | None
"""Whose pages may read an answer: an origin, UNNAMED, or None where the request had none."""

METHODS = "POST, OPTIONS"
PIXEL_METHODS = "GET, HEAD, POST, OPTIONS"
CMCD_METHODS = "GET, POST, OPTIONS"
HEADERS = "content-type, content-encoding, authorization, prefer"
MAX_AGE_S = 7_200
"""Chromium's own ceiling; with 0 every POST has its own preflight."""


def headers(origin: Named) -> dict[str, str]:
    """For every answer. `origin` is mirrored: where keys are required, `ingest.gate` has judged it."""
    if isinstance(origin, Stranger):
        return {"Access-Control-Allow-Origin": origin.origin, "Vary": "Origin"}
    if origin == UNNAMED:
        return {"Vary": "Origin"}
    if origin is None:
        return {"Access-Control-Allow-Origin": "*", "Vary": "Origin"}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "Retry-After",
        "Vary": "Origin",
    }


PREFLIGHT = (
    ("Access-Control-Allow-Methods", METHODS),
    ("Access-Control-Allow-Headers", HEADERS),
    ("Access-Control-Max-Age", str(MAX_AGE_S)),
)
"""What an answer to OPTIONS has beside `headers`."""
PIXEL_PREFLIGHT = (("Access-Control-Allow-Methods", PIXEL_METHODS), *PREFLIGHT[1:])
"""The same for pixels, which Shaka fetches in CORS mode."""
CMCD_PREFLIGHT = (
    ("Access-Control-Allow-Methods", CMCD_METHODS),
    ("Access-Control-Allow-Headers", f"{HEADERS}, cmcd-request, cmcd-object, cmcd-status, cmcd-session"),
    ("Access-Control-Max-Age", str(MAX_AGE_S)),
)
"""The same for reports of CMCD, whose lines may be in headers."""
