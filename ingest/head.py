"""What of the head of a request with events matters. Pure."""

from typing import Final, NamedTuple

from ingest.crawler import is_crawler
from ingest.decode import trusted_country
from ingest.gate import asked, bearer

MEDIA_TYPES: Final = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "text/plain": "text",
    "": "text",
}
"""Content types of events; a beacon's text/plain (and none at all) may be either form of JSON."""


class Head(NamedTuple):
    """What of a request's head matters, but for its length: the same for every request of most connections."""

    media: str | None
    """json, ndjson or text; None for what is not taken."""
    content_encoding: str | None
    dry_run: bool
    country: str | None
    """Of the trusted CDN's header, where it is one."""
    minimal: bool
    """Prefer: return=minimal."""
    crawler: bool
    """By its User-Agent: no viewer."""
    key: str = ""
    """Write key as sent; of two the header's."""
    origin: str | None = None

    @classmethod
    def of(
        cls,
        content_type: str,
        content_encoding: str | None,
        query: str,
        country: str | None,
        user_agent: str,
        *,
        minimal: bool,
        authorization: str = "",
        origin: str | None = None,
    ) -> "Head":
        """From texts as sent; `content_type`, `user_agent` and `authorization` empty when absent, `query` what is
        behind the question mark.
        """
        media = MEDIA_TYPES.get(content_type) or MEDIA_TYPES.get(content_type.partition(";")[0].strip().lower())
        dry_run, key = asked(query)
        return cls(
            media, content_encoding, dry_run, trusted_country(country), minimal, is_crawler(user_agent),
            bearer(authorization) or key, origin,
        )  # fmt: skip
