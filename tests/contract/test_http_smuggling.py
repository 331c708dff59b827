"""Where a request ends is never in doubt: both ways find the same end, or refuse; nothing hidden behind it is taken.

Every request here hides another one where a reader that is less strict would look for it (RFC 9112 §11.2).
"""

import json
from typing import Final
from urllib.parse import quote

import pytest

from tests.builders import a_uuid
from tests.contract.http_door import over, over_both
from tests.contract.http_request import a_request, an_event_text, byte_by_byte, chunked

HIDDEN: Final = a_request(an_event_text())
EVENT: Final = an_event_text()
SIZE: Final = len(EVENT)
CHUNKED: Final = chunked(EVENT)
NONE_THEN_HIDDEN: Final = b"0\r\n\r\n" + HIDDEN
"""An empty chunked body and a request; or, for who counts bytes, one body."""
REFUSED: Final = [400, 0]


def with_lines(*lines: str, body: bytes) -> bytes:
    """A POST whose length these header lines tell."""
    return a_request(content_length=None, lines=lines) + body


def lengths(*values: str) -> bytes:
    """For each value a Content-Length; the body is as long as EVENT, and the hidden one follows."""
    return with_lines(*(f"Content-Length: {value}" for value in values), body=EVENT + HIDDEN)


def codings(*lines: str) -> bytes:
    """A body in chunks, whatever these lines make of it; the hidden one follows its end."""
    return with_lines(*lines, body=CHUNKED + HIDDEN)


def of_1_0(request: bytes) -> bytes:
    """The same by HTTP/1.0; the hidden one stays what it is."""
    return request.replace(b"HTTP/1.1", b"HTTP/1.0", 1)


def gzip_in_chunks(method: str, target: str) -> bytes:
    """To somewhere else, with another coding beside chunked."""
    head = a_request(method=method, target=target, content_length=None, transfer_encoding="gzip, chunked")
    return head + CHUNKED + HIDDEN


def among_headers(line: bytes) -> bytes:
    """These bytes as a line of the head, whose end is CRLF."""
    return a_request(EVENT, lines=["X-Marked: here"]).replace(b"X-Marked: here", line) + HIDDEN


REFUSED_WHOLE: Final = {
    "length and chunks": with_lines(
        f"Content-Length: {len(NONE_THEN_HIDDEN)}", "Transfer-Encoding: chunked", body=NONE_THEN_HIDDEN
    ),
    "chunks and length": with_lines("Transfer-Encoding: chunked", "Content-Length: 5", body=NONE_THEN_HIDDEN),
    "chunks and a length of 0": with_lines("Content-Length: 0", "Transfer-Encoding: chunked", body=NONE_THEN_HIDDEN),
    "the same length twice": lengths(str(SIZE), str(SIZE)),
    "two lengths": lengths(str(SIZE), "0"),
    "two lengths, the other way": lengths("0", str(SIZE)),
    "a list of one length": lengths(f"{SIZE}, {SIZE}"),
    "a list of lengths": lengths(f"0,{SIZE}"),
    "a sign": lengths(f"+{SIZE}"),
    "a negative length": lengths(f"-{SIZE}"),
    "minus nothing": lengths("-0"),
    "two numbers": lengths(f"0 {SIZE}"),
    "two numbers, a tab between": lengths(f"0\t{SIZE}"),
    "hexadecimal": lengths(f"0x{SIZE:x}"),
    "a fraction": lengths(f"{SIZE}.0"),
    "an exponent": lengths(f"{SIZE}e0"),
    "an underscore": lengths("1_0"),
    "quoted": lengths(f'"{SIZE}"'),
    "no number": lengths(""),
    "beyond 64 bits": lengths(str(2**64 + SIZE)),
    "beyond 63 bits and all else": lengths("9" * 30),
    "an Arabic digit": lengths("\xd9\xa5"),
    "a blank before the colon": with_lines(f"Content-Length : {SIZE}", body=EVENT + HIDDEN),
    "a tab before the colon": with_lines(f"Content-Length\t: {SIZE}", body=EVENT + HIDDEN),
    "a blank before the name": with_lines(f" Content-Length: {SIZE}", body=EVENT + HIDDEN),
    "a folded length": with_lines("Content-Length:", f" {SIZE}", body=EVENT + HIDDEN),
    "a coding before a blank": codings("Transfer-Encoding : chunked"),
    "chunks, then as they are": codings("Transfer-Encoding: chunked, identity"),
    "another coding": codings("Transfer-Encoding: xchunked"),
    "chunked and more": codings("Transfer-Encoding: chunkedx"),
    "quoted chunks": codings('Transfer-Encoding: "chunked"'),
    "a control character before chunked": codings("Transfer-Encoding: \x0bchunked"),
    "as they are": codings("Transfer-Encoding: identity"),
    "as they are, then chunks": codings("Transfer-Encoding: identity, chunked"),
    "gzip": codings("Transfer-Encoding: gzip"),
    "gzip in chunks": codings("Transfer-Encoding: gzip, chunked"),
    "gzip in chunks, in capitals": codings("Transfer-Encoding: GZIP,Chunked"),
    "gzip of chunks": codings("Transfer-Encoding: chunked, gzip"),
    "gzip and chunks in two lines": codings("Transfer-Encoding: gzip", "Transfer-Encoding: chunked"),
    "gzip in chunks, to a pixel": gzip_in_chunks("POST", "/v1/ad/start?imp=" + a_uuid()),
    "gzip in chunks, of CMCD": gzip_in_chunks("POST", "/v1/cmcd?CMCD=" + quote('sid="a",sn=1,ts=1')),
    "gzip in chunks, before a page sends": gzip_in_chunks("OPTIONS", "/v1/events"),
    "gzip in chunks, to nowhere": gzip_in_chunks("POST", "/nowhere"),
    "a parameter": codings("Transfer-Encoding: chunked;foo=1"),
    "a parameter of the one before": codings("Transfer-Encoding: x;foo=1, chunked"),
    "nothing before chunked": codings("Transfer-Encoding: , chunked"),
    "nothing behind chunked": codings("Transfer-Encoding: chunked,"),
    "a letter that is a K in lower case": codings("Transfer-Encoding: chun\xe2\x84\xaaed"),
    "two codings in two lines": codings("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
    "chunked twice": codings("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "chunked twice in a line": codings("Transfer-Encoding: chunked, chunked"),
    "a folded coding": codings("Transfer-Encoding:", " chunked"),
    "no coding, and no length": codings("Transfer-Encoding:"),
    "no coding, and a length": with_lines("Transfer-Encoding:", f"Content-Length: {SIZE}", body=EVENT + HIDDEN),
    "a length, and no coding": with_lines(f"Content-Length: {SIZE}", "Transfer-Encoding:", body=EVENT + HIDDEN),
    "chunks in HTTP/1.0": of_1_0(codings("Transfer-Encoding: chunked")),
    "chunks in HTTP/1.0, to be kept alive": of_1_0(codings("Transfer-Encoding: chunked", "Connection: keep-alive")),
    "bare line feeds": a_request(EVENT).replace(b"\r\n", b"\n") + HIDDEN,
    "one bare line feed": among_headers(b"X-A: 1\nX-B: 2"),
    "a length behind a bare line feed": among_headers(b"X-A: 1\nContent-Length: 0"),
    "a bare carriage return": among_headers(b"X-A: 1\rX-B: 2"),
    "a length behind a bare carriage return": among_headers(b"X-A: 1\rContent-Length: 0"),
    "the end in bare line feeds": among_headers(b"X-A: 1\n\n" + HIDDEN),
    "the end in bare carriage returns": among_headers(b"X-A: 1\r\r" + HIDDEN),
    "the end with one of them bare": among_headers(b"X-A: 1\r\n\n" + HIDDEN),
    "two carriage returns": among_headers(b"X-A: 1\r"),
    "NUL in a value": among_headers(b"X-A: 1\x00"),
    "NUL in a name": among_headers(b"X\x00A: 1"),
    "a length behind NUL": among_headers(b"X-A: \x00Content-Length: 0"),
    "no colon": among_headers(b"Content-Length 0"),
    "no name": among_headers(b": 1"),
    "a blank in a name": among_headers(b"Content Length: 0"),
    "a name beyond ASCII": among_headers(b"Content-L\xc3\xa4nge: 0"),
    "a folded line": among_headers(b"X-A: 1\r\n Content-Length: 0"),
    "blanks alone": among_headers(b"   "),
    "a tab in the request line": a_request(EVENT).replace(b" HTTP", b"\tHTTP") + HIDDEN,
    "a carriage return in the request line": a_request(EVENT).replace(b" HTTP", b"\r HTTP") + HIDDEN,
    "another protocol": a_request(EVENT).replace(b"HTTP/1.1", b"ICE/1.1") + HIDDEN,
    "blanks first": b" " + a_request(EVENT) + HIDDEN,
}
"""What is 400 as soon as it is read, and ends its connection."""

READ_TO_ITS_END: Final = {
    "zeros first": (lengths(f"000{SIZE}"), [200, 200], 2),
    "blanks around a length": (lengths(f" \t{SIZE}\t "), [200, 200], 2),
    "a length of 0, and no request": (lengths("0"), [400, 400, 0], 0),
    "other names": (with_lines(f"content-LENGTH: {SIZE}", "Content_Length: 0", body=EVENT + HIDDEN), [200, 200], 2),
    "a tab before chunked": (codings("Transfer-Encoding:\tchunked"), [200, 200], 2),
    "capitals": (codings("TRANSFER-ENCODING: CHUNKED"), [200, 200], 2),
    "shorter than announced": (lengths(str(SIZE + len(HIDDEN))), [400], 0),
    "shorter, and the next one cut": (lengths(str(SIZE + 40)), [400, 400, 0], 0),
    "longer than announced": (lengths(str(SIZE - 1)), [400, 400, 0], 0),
    "longer by a line's end": (with_lines(f"Content-Length: {SIZE}", body=EVENT + b"\r\n" + HIDDEN), [200, 200], 2),
    "a refused one": (a_request(HIDDEN, content_type="text/html") + HIDDEN, [415, 200], 1),
    "blanks behind chunked": (codings("Transfer-Encoding: chunked  "), [200, 200], 2),
    "a length in HTTP/1.0": (
        of_1_0(lengths(str(SIZE)).replace(b"\r\n", b"\r\nConnection: keep-alive\r\n", 1)),
        [200, 200],
        2,
    ),
    "hang up, then another": (a_request(EVENT, connection="close") + HIDDEN, [200, 0], 1),
    "a preflight's body": (a_request(HIDDEN, method="OPTIONS") + HIDDEN, [204, 200], 1),
}
"""Name → (request and hidden request, statuses, events): its end is certain, and found."""


@pytest.mark.parametrize("name", REFUSED_WHOLE)
def test_a_request_whose_end_is_in_doubt_is_refused_and_nothing_behind_it_is_read(tmp_path, name):
    data = REFUSED_WHOLE[name]

    async def scenario(door):
        whole = await door.ask(data)
        behind_another = await door.client()
        await behind_another.ask(a_request(b"[]"))
        return whole, await door.ask(*byte_by_byte(data)), await behind_another.ask(data), door.frames()

    whole, single, behind_another, frames = over_both(tmp_path, scenario)
    assert whole.statuses == single.statuses == REFUSED
    assert behind_another.statuses == [200, *REFUSED]
    for told in (whole, single, behind_another):
        assert json.loads(told.answers[-1].body)["error"] == "invalid_http"
        assert told.answers[-1].header("connection") in (None, "close"), "nothing: an answer by HTTP/1.0 is the last"
    assert frames == []


@pytest.mark.parametrize("name", READ_TO_ITS_END)
def test_a_request_whose_end_is_certain_ends_there(tmp_path, name):
    data, statuses, events = READ_TO_ITS_END[name]

    async def scenario(door):
        told = await door.ask(*byte_by_byte(data))
        if statuses[-1] != 0:  # else the exception below
            assert await door.ask(data) == told
        return told, len(door.stored())

    told, stored = over_both(tmp_path, scenario)
    assert told.statuses == statuses
    assert stored == (2 * events if statuses[-1] else events)


@pytest.mark.parametrize(
    "behind, statuses",
    [(b"nonsense\r\n\r\n", [200, 400, 0]), (b"\0", [200, 400, 0]), (HIDDEN, [200, 0])],
    ids=["no HTTP", "NUL", "a request behind a hang-up"],
)
def test_exception_aiohttp_drops_a_request_that_comes_in_one_piece_with_what_is_none(tmp_path, behind, statuses):
    """Its parser raises, and what it read before in the same piece is never handled. Nothing of it was promised, so
    nothing is lost; in two pieces it is answered. The lean way answers each plain request before it looks at the next,
    and drops the others in the same way, for aiohttp reads them there, too.
    """
    request = a_request(EVENT, connection="close" if behind is HIDDEN else None)

    async def scenario(door):
        one_piece = await door.ask(request + behind)
        return one_piece.statuses, len(door.stored()), (await door.ask(request, behind)).statuses, len(door.stored())

    assert over(tmp_path, scenario, lean=True) == (statuses, 1, statuses, 2)
    assert over(tmp_path, scenario, lean=False) == ([400, 0], 0, statuses, 1)
