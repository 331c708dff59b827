"""What is fuzzed: every decoder of the door. A target takes any bytes and returns; what it raises is a bug.

That nothing is raised but what a decoder's docstring says is the least. Beside it, what must hold of any input: counts
add up, tuples come back from what they were made of, both ways of decoding agree, a cut changes nothing.
"""

import json
from collections.abc import Callable
from typing import Final

from ingest import ad, cmcd
from ingest import tuple as playback
from ingest.batch import KIND_AD, Batch
from ingest.cmcd_report import HEADERS, CmcdHead
from ingest.codes import CORRUPT_ENCODING
from ingest.decode import Limits, Undecodable, decode, structured, vast
from ingest.decode.body import Inflater
from ingest.decode.cmcd import Decoded, members
from ingest.decode.cmcd import decode as decode_cmcd
from ingest.decode.cmcd_context import Circumstances, context_of
from ingest.decode.request import Request

NOW_US: Final = 1_795_369_095_000_000
MEDIA: Final = ("json", "ndjson", "text")
ENCODINGS: Final = (None, "", "identity", "gzip", "deflate", "zstd", "br")
INFLATED_MAX_BYTES: Final = 64 << 10
LIMITS: Final = Limits(events_max=50)


def events(data: bytes) -> None:
    """A body of JSON, of the type that its first byte chooses; by the Rust core, where it is, as by the twin."""
    media, body = MEDIA[data[0] % len(MEDIA)] if data else "json", data[1:]
    found = [_events(body, media, by_twin=by_twin) for by_twin in (True, False)]
    assert found[0] == found[1], "both cores agree"
    batch = found[0]
    if not isinstance(batch, Batch):
        return
    assert batch.received == batch.accepted + batch.duplicates + batch.rejected
    assert sum(body.count for body in batch.bodies) == batch.accepted
    for one in batch.bodies:
        assert all(map(ad.decode if one.kind == KIND_AD else playback.decode, one.tuples))


def _events(body: bytes, media: str, *, by_twin: bool) -> Batch | str:
    try:
        return decode(body, media, NOW_US, LIMITS, by_twin=by_twin)
    except Undecodable as error:
        return error.code


def ads(data: bytes) -> None:
    """The same of one ad event, whose members `data` are."""
    events(b"\0" + b'{"type":"ad",' + data)


def inflater(data: bytes) -> None:
    """A compressed body; it is the same however it is cut.

    But for zstd that says another size than it has: where the last block is empty, libzstd (1.5.7) sees that only if
    the frame comes in one piece. Bodies do, up to 16 KiB.
    """
    encoding, cut, body = ENCODINGS[data[0] % len(ENCODINGS)] if data else None, data[1:2], data[2:]
    at = cut[0] * len(body) // 255 if cut else 0
    whole, parts = _inflated(encoding, [body]), _inflated(encoding, [body[:at], body[at:]])
    if whole != parts:
        assert encoding == "zstd" and whole == CORRUPT_ENCODING and isinstance(parts, bytes)
    assert not isinstance(whole, bytes) or len(whole) <= INFLATED_MAX_BYTES


def _inflated(encoding: str | None, parts: list[bytes]) -> bytes | str:
    try:
        one = Inflater(encoding, INFLATED_MAX_BYTES)
        return b"".join([*map(one.feed, parts), one.finish()])
    except Undecodable as error:
        return error.code


def pixel(data: bytes) -> None:
    """What is behind /v1/ad/ in a URL."""
    path, _, query = data.decode("latin-1").partition("?")
    found = vast.decode(path, vast.parameters(query), NOW_US, tests=False)
    assert (found.row is None) != (found.code is None)
    if found.row is not None:
        assert ad.encode(ad.decode(found.row)) == found.row


def cmcd_body(data: bytes) -> None:
    """Lines of CMCD."""
    _check(decode_cmcd(data, context_of(Circumstances("device=tv")), Request(NOW_US, LIMITS)))


def cmcd_headers(data: bytes) -> None:
    """A query, and behind line feeds the values of the four headers, a User-Agent and Sec-CH-UA-Platform."""
    query, *values = data.decode("latin-1").split("\n")
    sent = [*values, *[""] * 6][:6]
    headers: list[str | None] = [value or None for value in sent[: len(HEADERS)]]
    head = CmcdHead.of(query, headers, None, sent[4], sent[5], "", None)
    request = Request(NOW_US, LIMITS)
    _check(decode_cmcd(head.line or "", context_of(head.circumstances), request))


def _check(decoded: Decoded) -> None:
    batch = decoded.batch
    assert batch.received == batch.accepted + batch.rejected
    assert batch.accepted == len(decoded.rows)
    for row in decoded.rows:
        line = cmcd.decode(row)
        assert cmcd.encode(line) == row
        assert "\0" not in "".join(value for value in line if isinstance(value, str))
        if line.metadata is not None:
            assert len(line.metadata.encode()) <= cmcd.METADATA_MAX_BYTES
            assert isinstance(json.loads(line.metadata), dict)


def fields(data: bytes) -> None:
    """A structured field; and a dictionary is cut into members where the strict parser ends them."""
    text = data.decode("latin-1")
    for read in (structured.item, structured.list_of):
        try:
            read(text)
        except structured.NotStructured:
            pass
    try:
        strictly = structured.dictionary(text)
    except structured.NotStructured:
        return
    said = members(text)
    assert said.keys() >= {key for key, found in strictly.items() if not found.parameters}
    for key, found in strictly.items():
        if key in said and found != structured.Item(True, found.parameters):
            assert structured.member(said[key]) == found


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "events": events,
    "ads": ads,
    "inflater": inflater,
    "pixel": pixel,
    "cmcd-body": cmcd_body,
    "cmcd-headers": cmcd_headers,
    "fields": fields,
}
