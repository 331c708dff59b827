"""The browser module (`sdk/`) over HTTP: read once, so that what a gateway answers is of one release.

    GET, HEAD /sdk/v1.js      the ES module
    GET, HEAD /sdk/v1.d.ts    its types

Any page may import it, with or without credentials it is the same, so its origin is never named: caches keep one copy.
"""

import gzip
import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final, NamedTuple

import sdk
from ingest.answer import Answer

PATH: Final = "/sdk/"
METHODS: Final = "GET, HEAD"
HEADERS: Final = (
    ("Access-Control-Allow-Origin", "*"),
    ("Cache-Control", "public, max-age=3600"),  # a release is everywhere within the hour, by way of a 304 else
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    ("Vary", "Accept-Encoding"),
    ("X-Content-Type-Options", "nosniff"),
)


class File(NamedTuple):
    """One representation (RFC 9110 §3.2) of one of them."""

    body: bytes
    media: str
    etag: str
    encoding: str | None


FILES: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    PATH + "v1.js": (sdk.module, "text/javascript; charset=utf-8"),
    PATH + "v1.d.ts": (sdk.types, "text/plain; charset=utf-8"),
}


def answer(path: str, accept_encoding: str, if_none_match: str) -> Answer:
    """200 or 304, for a path of FILES; headers as sent, empty when absent. Raises OSError when it is not there."""
    plain, packed = _representations(path)
    file = packed if _takes_gzip(accept_encoding) else plain
    headers: tuple[tuple[str, str], ...] = (*HEADERS, ("ETag", file.etag))
    if any(tag in (file.etag, "*") for tag in _tags(if_none_match)):
        return Answer(304, b"", headers, file.media)
    if file.encoding is not None:
        headers = (*headers, ("Content-Encoding", file.encoding))
    return Answer(200, file.body, headers, file.media)


@cache
def _representations(path: str) -> tuple[File, File]:
    """As it is, and gzipped. They are other bytes, so they have other strong tags."""
    read, media = FILES[path]
    body = read()
    packed = gzip.compress(body, 9, mtime=0)
    return tuple(  # type: ignore[return-value]
        File(one, media, f'"{hashlib.sha256(one).hexdigest()[:32]}"', encoding)
        for one, encoding in ((body, None), (packed, "gzip"))
    )


def _tags(if_none_match: str) -> Iterator[str]:
    """Compared weakly (RFC 9110 §13.1.2)."""
    for tag in if_none_match.split(","):
        yield tag.strip().removeprefix("W/")


def _takes_gzip(accept_encoding: str) -> bool:
    """Whether gzip is named, and not with a weight of nothing (RFC 9110 §12.5.3)."""
    for offered in accept_encoding.lower().split(","):
        coding, _, weight = offered.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            return weight.replace(" ", "").rstrip("0") not in ("q=", "q=0.")
    return False
