"""Which requests are plain: the ones players really send. Pure.

    POST /v1/events[?query] HTTP/1.1      with Host and one Content-Length within the bound
    POST /v1/cmcd[?query] HTTP/1.1        the same: a report of CMCD; or GET, without a body
    GET /v1/ad/…[?query] HTTP/1.1         with Host and no body: a pixel; HEAD, too
    OPTIONS … HTTP/1.1                    of either, with Host and no body: a browser's preflight

and no header twice, none that changes how the rest is read, no Connection but keep-alive and close, nothing but ASCII.
The head is parsed by llhttp, as aiohttp does it, and its end is found a second time by its blank line: a request on
whose end the two do not agree is not plain, so that nothing can be smuggled between them (RFC 9112 §11.2).
"""

import re
from typing import Any, Final

import httptools

from config.limits import KIB
from ingest import cmcd_report, cors, pixel
from ingest.answer import Answer
from ingest.cmcd_report import CmcdHead
from ingest.head import Head
from ingest.intake import EVENTS_PATH, AnyHead
from ingest.pixel import PixelHead
from ingest.request_line import may_be_mended, mended

HEAD_END: Final = b"\r\n\r\n"
HEAD_MAX_BYTES: Final = 16 * KIB
HEADERS_MAX: Final = 128
"""A longer head is not plain, nor one with more headers; aiohttp then refuses it, or does not."""
LENGTH_DIGITS_MAX: Final = 20
"""Of a plain Content-Length; longer ones are mostly zeros, and int() has its limit."""
NOT_WHOLE: Final = 0
NOT_PLAIN: Final = -1
SAME_DIGITS_MAX: Final = 8
"""Of the Content-Length of a head that is the last one again."""
_LENGTH: Final = b"\r\ncontent-length:"
_PATH: Final = EVENTS_PATH.encode()
_QUERY: Final = _PATH + b"?"
_PIXELS: Final = pixel.PATH.encode()
_GET_PIXEL: Final = b"GET " + _PIXELS
_REPORTS: Final = cmcd_report.PATH.encode()
_REPORT_HEADERS: Final = [name.lower().encode() for name in cmcd_report.HEADERS]
_VISIBLE: Final = re.compile(rb'[!"$-~]*')
"""What a URL may be made of, without a fragment: llhttp says the same."""
_PATHS: Final = (_PATH, _REPORTS)
_BELOW: Final = (_QUERY, _PIXELS, _REPORTS + b"?")
_BEGINNINGS: Final = (
    b"POST " + _PATH, _GET_PIXEL, b"HEAD " + _PIXELS, b"OPTIONS " + _PATH, b"OPTIONS " + _PIXELS,
    b"POST " + _REPORTS, b"GET " + _REPORTS, b"OPTIONS " + _REPORTS,
)  # fmt: skip
_UNUSUAL: Final = frozenset({
    b"transfer-encoding", b"expect", b"upgrade",
    b"proxy-connection",  # to llhttp another Connection
    b"sec-websocket-key1",  # aiohttp refuses it
})  # fmt: skip
_UNREADABLE: Final = (httptools.HttpParserError, httptools.HttpParserUpgrade)
_CONNECTIONS: Final = (b"keep-alive", b"close")
_NO_BODY: Final = (None, b"0")
_FETCHING: Final = (b"GET", b"HEAD")
_BLANKS: Final = b" \t"
"""What may stand behind a value and is no part of it; llhttp leaves it there."""
EVENTS_PREFLIGHT: Final = Answer(204, b"", cors.PREFLIGHT)


class PlainReader:
    """Reads the requests of one connection, head by head."""

    __slots__ = (
        "_before", "_behind", "_body_max_bytes", "_country_header", "_head_max_bytes", "_head_whole", "_headers",
        "_message_whole", "_parser", "_pixel_behind", "_probe", "_probed_bytes", "_repeated", "_url", "bodiless",
        "keep_alive", "last", "length_bytes", "origin", "path", "preflight",
    )  # fmt: skip

    def __init__(self, body_max_bytes: int, header_max_bytes: int, country_header: bytes) -> None:
        """`country_header`: name in lower case, empty for none."""
        self._body_max_bytes = body_max_bytes
        self._head_max_bytes = min(header_max_bytes, HEAD_MAX_BYTES)
        self._country_header = country_header
        self._parser: Any = None
        self._probe: Any = None
        self._probed_bytes = 0
        self._before = self._behind = b""
        """Around the digits of the last plain head's Content-Length; empty: there was none to compare with."""
        self._pixel_behind = b""
        """What stood behind the last pixel's URL; empty: the last head was no pixel's."""
        self.last: AnyHead = Head.of("", None, "", None, "", minimal=False)
        """The last plain head."""
        self.path = EVENTS_PATH
        """What it asks for: this, cmcd_report.PATH or pixel.PATH."""
        self.preflight = EVENTS_PREFLIGHT
        """What it is told when it is one."""
        self.bodiless = False
        """HEAD: its answer has no body."""
        self.length_bytes: int | None = None
        """Of its body; None for a preflight."""
        self.origin: str | None = None
        self.keep_alive = True

    def next(self, data: bytes, at: int) -> int:
        """Where the body behind the head at `at` begins; NOT_WHOLE or NOT_PLAIN, which are not positive.

        A head that is the last one again, but for the digits of its length or for a pixel's URL, is not parsed.
        """
        before = self._before
        if before and data.startswith(before, at):
            begin = at + len(before)
            end = data.find(b"\r", begin, begin + SAME_DIGITS_MAX + 1)
            if end >= 0 and data.startswith(self._behind, end):
                digits = data[begin:end]
                if digits.isdigit() and 0 < (length_bytes := int(digits)) <= self._body_max_bytes:
                    self._probe = None
                    self.length_bytes = length_bytes
                    return end + len(self._behind)
        pixel_behind = self._pixel_behind
        if pixel_behind and data.startswith(_GET_PIXEL, at):
            begin = at + len(_GET_PIXEL)
            end = data.find(b" ", begin)
            head_bytes = end - at + len(pixel_behind)
            if (
                data.startswith(pixel_behind, end)
                and head_bytes <= self._head_max_bytes
                and _VISIBLE.fullmatch(data, begin, end)
            ):
                self._probe = None
                path, _, query = data[begin:end].decode().partition("?")
                assert isinstance(self.last, PixelHead)
                self.last = PixelHead(path, query, *self.last[2:])
                return at + head_bytes
        found = data.find(HEAD_END, at)
        if found < 0:
            return NOT_WHOLE
        body_at = found + len(HEAD_END)
        return body_at if self.head(data[at:body_at]) else NOT_PLAIN

    def head(self, data: bytes) -> bool:
        """Whether the head that `data` is, blank line included, is plain; `last` and `length_bytes` say more.

        After a head with a body, `end` is called before the next one; after False nothing is any more.
        """
        self._probe = None
        self._before = self._pixel_behind = b""
        if len(data) > self._head_max_bytes:
            return False
        if not (data := mended(data)).isascii():
            return False
        if self._parser is None:  # not before there is something to parse: most connections are idle
            self._parser = httptools.HttpRequestParser(self)
        parser = self._parser
        headers: dict[bytes, bytes] = {}
        self._headers = headers
        self._url, self._repeated, self._head_whole, self._message_whole = b"", False, False, False
        try:
            parser.feed_data(data)
        except _UNREADABLE:
            return False
        url, connection = self._url, headers.get(b"connection", b"keep-alive").lower()
        if (
            not self._head_whole
            or self._repeated
            or (url not in _PATHS and (not url.startswith(_BELOW) or b"#" in url))
            or b"host" not in headers
            or len(headers) > HEADERS_MAX
            or not _UNUSUAL.isdisjoint(headers)
            or connection not in _CONNECTIONS
            or parser.get_http_version() != "1.1"
        ):
            return False
        method, length = parser.get_method(), headers.get(b"content-length")
        is_pixel = url.startswith(_PIXELS)
        if method == b"OPTIONS" and length in _NO_BODY:
            length_bytes = None
        elif is_pixel:
            if method not in _FETCHING or length not in _NO_BODY:
                return False
            length_bytes = 0
        elif method == b"GET" and url.startswith(_REPORTS) and length in _NO_BODY:
            length_bytes = 0
        elif method == b"POST" and length is not None and length.isdigit() and len(length) <= LENGTH_DIGITS_MAX:
            length_bytes = int(length)
            if length_bytes > self._body_max_bytes:
                return False
        else:
            return False
        if self._message_whole != (not length_bytes):  # llhttp has another opinion on where it ends
            return False
        self.keep_alive = connection != b"close"
        self.bodiless = method == b"HEAD"
        self.length_bytes = length_bytes
        origin, user_agent = headers.get(b"origin"), headers.get(b"user-agent", b"").decode()
        authorization = headers.get(b"authorization", b"").decode()
        self.origin = None if origin is None else origin.rstrip(_BLANKS).decode()
        if is_pixel:
            self.path, self.preflight = pixel.PATH, pixel.PREFLIGHT
            path, _, query = url[len(_PIXELS) :].decode().partition("?")
            self.last = PixelHead.of(path, query, user_agent, authorization, self.origin)
            if method == b"GET" and self.keep_alive and data.startswith(_GET_PIXEL):
                self._pixel_behind = data[data.find(b" ", len(_GET_PIXEL)) :]
            return True
        encoding, country = _text(headers.get(b"content-encoding")), _text(headers.get(self._country_header))
        if url.startswith(_REPORTS):
            self.path, self.preflight = cmcd_report.PATH, cmcd_report.PREFLIGHT
            self.last = CmcdHead.of(
                url[len(_REPORTS) + 1 :].decode(),
                [_text(headers.get(name)) for name in _REPORT_HEADERS],
                encoding,
                user_agent,
                headers.get(b"sec-ch-ua-platform", b"").decode(),
                headers.get(b"sec-ch-ua-mobile", b"").decode(),
                country,
                authorization,
                self.origin,
            )
        else:
            self.path, self.preflight = EVENTS_PATH, EVENTS_PREFLIGHT
            self.last = Head.of(
                headers.get(b"content-type", b"").decode(),
                encoding,
                url[len(_QUERY) :].decode(),
                country,
                user_agent,
                minimal=b"return=minimal" in headers.get(b"prefer", b""),
                authorization=authorization,
                origin=self.origin,
            )
        if length_bytes and self.keep_alive and len(data) + SAME_DIGITS_MAX <= self._head_max_bytes:
            self._remember(data, length)
        return True

    def _remember(self, data: bytes, length: bytes | None) -> None:
        """To compare the next head with. `length` as llhttp has it: it has to stand where it is looked for."""
        at = data.lower().find(_LENGTH) + len(_LENGTH)
        end = data.find(b"\r", at)
        begin = end - len(data[at:end].lstrip(_BLANKS))
        if at >= len(_LENGTH) and data[begin:end] == length:
            self._before, self._behind = data[:begin], data[end:]

    def end(self, body: bytes) -> None:
        """llhttp counts along, where it has read the head: with this body the message ends."""
        if not self._message_whole:
            self._parser.feed_data(body)
        assert self._message_whole

    def may_become_plain(self, data: bytes) -> bool:
        """Whether a head of which only `data` is here may still be one; asked again as it grows."""
        if len(data) > self._head_max_bytes:
            return False
        if self._probe is None:
            self._probe, self._probed_bytes = httptools.HttpRequestParser(None), 0
        if not self._probed_bytes and may_be_mended(data):  # once its line is whole
            return True
        if not any(data.startswith(begin[: len(data)]) for begin in _BEGINNINGS):
            return False
        try:
            self._probe.feed_data(data[self._probed_bytes :] if self._probed_bytes else mended(data))
        except _UNREADABLE:
            return False
        self._probed_bytes = len(data)
        return True

    @property
    def waiting(self) -> bool:
        """For the rest of a head."""
        return self._probe is not None

    # ── llhttp's side ───────────────────────────────────────────────────────────────────────────────────────────

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._repeated |= name in self._headers
        self._headers[name] = value

    def on_headers_complete(self) -> None:
        self._head_whole = True

    def on_message_complete(self) -> None:
        self._message_whole = True


def _text(value: bytes | None) -> str | None:
    """Of a header, without the blanks behind it."""
    return None if value is None else value.rstrip(_BLANKS).decode()
