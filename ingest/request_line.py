"""Request lines of pixels and of CMCD whose URL holds what no URL may: raw UTF-8, and spaces. Pure.

Players fire what a VAST document or a title gave them, unescaped; every HTTP parser refuses that, and the event would
be lost. Such bytes are percent-encoded here, in the URL alone and before anything is parsed: between the first space of
the line and the ` HTTP/1.1` at its end. What ends a line, and every other control character, stays as it is and is
refused as ever, so no request becomes longer or another one by it (RFC 9112 §11.2).
"""

import re
from typing import Final

from ingest import pixel
from ingest.decode import cmcd_context

_METHODS: Final = (b"GET ", b"HEAD ", b"POST ")
_PATHS: Final = (pixel.PATH.encode(), cmcd_context.PATH.encode())
_BEGINNINGS: Final = tuple(method + path for method in _METHODS for path in _PATHS)
_LINE: Final = re.compile(rb"[^\x00-\x1f\x7f]*+\r?")
_VERSION: Final = re.compile(rb" HTTP/1\.[01]$")
_RAW: Final = re.compile(rb"[ \x80-\xff]")


def may_be_mended(data: bytes) -> bool:
    """Whether `data` is the beginning of such a request line, and not all of it."""
    return _LINE.fullmatch(data) is not None and any(data.startswith(one[: len(data)]) for one in _BEGINNINGS)


def mended(data: bytes) -> bytes:
    """What begins with a request's head, its request line mended; `data` itself where there is nothing to mend, or
    the line is not whole.
    """
    end = data.find(b"\r\n")
    if end < 0 or not data.startswith(_BEGINNINGS):
        return data
    version = _VERSION.search(data, 0, end)
    if version is None:
        return data
    begin = data.find(b" ") + 1
    url = data[begin : version.start()]
    if url.isascii() and b" " not in url:
        return data
    encoded = _RAW.sub(lambda raw: f"%{raw[0][0]:02X}".encode(), url)
    return data[:begin] + encoded + data[version.start() :]
