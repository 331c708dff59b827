"""Cross-origin answers (Fetch standard). sendBeacon sends credentials, so a browser's origin is named, never `*`."""

METHODS = "POST, OPTIONS"
PIXEL_METHODS = "GET, HEAD, POST, OPTIONS"
HEADERS = "content-type, content-encoding, authorization, prefer"
MAX_AGE_S = 7_200
"""Chromium's own ceiling; with 0 every POST has its own preflight."""


def headers(origin: str | None) -> dict[str, str]:
    """For every answer. Until keys exist any origin is mirrored."""
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
