"""The page's files over HTTP: each read once, answered with its type, its ETag, and nothing from anywhere else allowed.

GET /                the page
GET /page/{file}     what it is made of
"""

import hashlib
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import web

DIRECTORY: Final = Path(__file__).parent
PAGE: Final = "index.html"
TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    "": "text/plain",  # LICENSE
}
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # asked for again every time, and mostly answered 304: a new release is seen at once
}


class File(NamedTuple):
    """One of them."""

    body: bytes
    content_type: str
    etag: str


def files(directory: Path = DIRECTORY) -> dict[str, File]:
    """Name (with / for directories) → file, of all that the page is made of. Raises OSError."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file() and (content_type := TYPES.get(path.suffix)) is not None:
            body = path.read_bytes()
            etag = hashlib.sha256(body).hexdigest()[:32]
            found[path.relative_to(directory).as_posix()] = File(body, content_type, etag)
    return found


class Page:
    """The routes."""

    def __init__(self) -> None:
        self._files = files()

    def routes(self) -> list[web.RouteDef]:
        """To be added to an application."""
        return [web.get("/", self._page), web.get("/page/{file:.+}", self._file)]

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return _answered(request, self._files[PAGE])

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["file"]
        if (file := self._files.get(name)) is None or name == PAGE:
            raise web.HTTPNotFound
        return _answered(request, file)


def _answered(request: web.Request, file: File) -> web.StreamResponse:
    if any(etag.value in (file.etag, "*") for etag in request.if_none_match or ()):
        response = web.Response(status=304, headers=HEADERS)
    else:
        response = web.Response(body=file.body, headers=HEADERS, content_type=file.content_type, charset="utf-8")
    response.etag = file.etag
    return response
