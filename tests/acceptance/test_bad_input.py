"""Whatever arrives at the door is answered clearly: the status and code of DESIGN §3, no 5xx, no traceback, no row."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
import redis

from loadtests.reconcile import COUNT_SQL
from tests.acceptance.gateway_process import Gateway, let_others_through

MIB: Final = 2**20
JSON: Final = {"Content-Type": "application/json"}
GZIP: Final = {**JSON, "Content-Encoding": "gzip"}
NDJSON: Final = {"Content-Type": "application/x-ndjson"}
ORIGIN: Final = "https://watch.example"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str:
        """The one code of a refusal: of the request, or of its only refused event."""
        if "error" in self.body:
            return str(self.body["error"])
        (error,) = self.body["errors"]
        return str(error["code"])


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("bad-input")
    let_others_through(directory)
    served = Gateway(directory / "data")
    (directory / "data").mkdir()
    with served:
        served.start()
        yield served.wait_ready()


@pytest.fixture(autouse=True)
def nothing_stored_and_nothing_traced(gateway: Gateway) -> Iterator[None]:
    yield
    logged = gateway.everything_logged()
    assert "Traceback" not in logged, logged[-3000:]
    assert not gateway.ended()


def post(gateway: Gateway, body: bytes, headers: Mapping[str, str] = JSON, path: str = "/v1/events") -> Answer:
    """POST once over a connection of its own; every answer must carry CORS headers and be JSON."""
    at = urlsplit(gateway.endpoints["http"])
    assert at.hostname
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=20)
    try:
        connection.request("POST", path, body, {"Origin": ORIGIN, **headers})
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, json.loads(text or b"null"))
    assert answer.status < 500, answer
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"
    return answer


def raw(gateway: Gateway, data: bytes) -> Answer:
    """Send bytes as they are and read one answer to its end."""
    at = urlsplit(gateway.endpoints["http"])
    with socket.create_connection((at.hostname, at.port), timeout=20) as connection:
        connection.sendall(data)
        response = http.client.HTTPResponse(connection)
        response.begin()
        text = response.read()
    answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, json.loads(text or b"null"))
    assert answer.status < 500, answer
    assert "access-control-allow-origin" in answer.headers
    return answer


def an_event(**changes: Any) -> dict[str, Any]:
    """A valid event; a change to None leaves the field out."""
    event = {
        "event_id": str(uuid4()),
        "event_type": "play",
        "content_id": str(uuid4()),
        "session_id": str(uuid4()),
        "sequence": 1,
        "occurred_at": int(time.time() * 1000),
        "position": 3,
        **changes,
    }
    return {name: value for name, value in event.items() if value is not None}


def text_of(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


# Bodies that cannot be decoded


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b'{"events":[}',
        b'{"events":[{"event_type":"play"}',
        b"[1,]",
        b"\xff\xfe\x00",
        b'{"a":"\xc3("}',
        b"{'a':1}",
        b"[NaN]",
        b"{}{}",
        b"\x00",
        b'"',
    ],
)
def test_broken_json_is_invalid_json(body: bytes, gateway: Gateway) -> None:
    answer = post(gateway, body)
    assert (answer.status, answer.code) == (400, "invalid_json")
    assert answer.body["message"]


@pytest.mark.parametrize("body", [b"1", b'"play"', b"true", b"null", b"1.5e300", b'{"events":1}', b'{"events":{}}'])
def test_json_of_another_shape_is_refused(body: bytes, gateway: Gateway) -> None:
    answer = post(gateway, body)
    assert answer.status == 400
    assert answer.code in {"invalid_type", "invalid_json", "missing_field"}


@pytest.mark.parametrize("element", [b"1", b'"play"', b"null", b"[]", b"true"])
def test_an_element_that_is_no_object_harms_only_itself(element: bytes, gateway: Gateway) -> None:
    answer = post(gateway, b"[" + element + b"]")
    assert answer.status == 400
    assert answer.body["errors"][0]["index"] == 0
    assert answer.code == "invalid_type"


@pytest.mark.parametrize("headers", [JSON, NDJSON, {"Content-Type": "text/plain"}, GZIP])
def test_zero_bytes_are_400(headers: dict[str, str], gateway: Gateway) -> None:
    assert post(gateway, b"", headers).status == 400


@pytest.mark.parametrize("body", [b"[]", b" [ ] ", b'{"events":[]}'])
def test_an_empty_list_is_200(body: bytes, gateway: Gateway) -> None:
    answer = post(gateway, body)
    assert (answer.status, answer.body) == (200, {"accepted": 0, "duplicates": 0, "rejected": 0})


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10_000 + b"]" * 10_000,
        b"[" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"events":[{"metadata":' + b"[" * 10_000 + b"]" * 10_000 + b"}]}",
    ],
)
def test_ten_thousand_nested_arrays_are_too_deep(body: bytes, gateway: Gateway) -> None:
    answer = post(gateway, body)
    assert (answer.status, answer.code) == (400, "too_deep")


def test_a_mebibyte_of_brackets_and_one_of_commas_are_refused_in_a_moment(gateway: Gateway) -> None:
    begun_s = time.monotonic()
    for body in (b"[" * 520_000 + b"]" * 520_000, b"[" * (MIB - 1), b"[" + b"[]," * 300_000 + b"[]]"):
        answer = post(gateway, body)
        assert answer.status in {400, 413}
        assert answer.code in {"too_deep", "too_many_values", "too_many_events"}
    assert time.monotonic() - begun_s < 5


def test_more_than_a_thousand_events_are_413(gateway: Gateway) -> None:
    answer = post(gateway, b"[" + b",".join(text_of(an_event()) for _ in range(1_001)) + b"]")
    assert (answer.status, answer.code) == (413, "too_many_events")
    lines = b"\n".join(text_of(an_event()) for _ in range(1_001))
    assert post(gateway, lines, NDJSON).code == "too_many_events"


# Sizes and encodings


def test_a_body_over_one_mebibyte_is_413_with_the_limit_in_it(gateway: Gateway) -> None:
    answer = post(gateway, b"[" + b" " * MIB + b"]")
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert str(MIB) in json.dumps(answer.body)


def test_a_body_over_one_mebibyte_in_chunks_is_413(gateway: Gateway) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = (
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    answer = raw(gateway, head + chunk * 17 + b"0\r\n\r\n")
    assert (answer.status, answer.code) == (413, "body_too_large")


@pytest.mark.parametrize("size_bytes", [8 * MIB + 1, 10 * MIB, 300 * MIB])
def test_a_gzip_bomb_is_413(size_bytes: int, gateway: Gateway) -> None:
    packer = zlib.compressobj(9, wbits=31)
    block = b" " * MIB
    bomb = b"".join(packer.compress(block) for _ in range(size_bytes // MIB))
    bomb += packer.compress(b" " * (size_bytes % MIB)) + packer.flush()
    assert len(bomb) < MIB
    answer = post(gateway, bomb, GZIP)
    assert (answer.status, answer.code) == (413, "body_too_large")


def test_a_deflate_bomb_and_one_behind_a_beacons_magic_are_413(gateway: Gateway) -> None:
    bomb = b"[" + b" " * (9 * MIB) + b"]"
    assert post(gateway, zlib.compress(bomb, 9), {**JSON, "Content-Encoding": "deflate"}).status == 413
    assert post(gateway, gzip.compress(bomb, 9), {"Content-Type": "text/plain"}).status == 413


@pytest.mark.parametrize("cut", [1, 5, 10, 15, -12, -8, -1])
def test_gzip_cut_short_is_400(cut: int, gateway: Gateway) -> None:
    answer = post(gateway, gzip.compress(text_of(an_event()))[:cut], GZIP)
    assert (answer.status, answer.code) == (400, "corrupt_encoding")


@pytest.mark.parametrize("at", [0, 2, 12, 40, -6, -2])
def test_gzip_with_a_flipped_byte_is_400(at: int, gateway: Gateway) -> None:
    packed = bytearray(gzip.compress(text_of(an_event())))
    packed[at] ^= 0x55
    answer = post(gateway, bytes(packed), GZIP)
    assert answer.status == 400
    assert answer.code in {"corrupt_encoding", "invalid_json"}


def test_what_is_not_gzip_and_what_follows_it_are_400(gateway: Gateway) -> None:
    assert post(gateway, text_of(an_event()), GZIP).code == "corrupt_encoding"
    assert post(gateway, gzip.compress(text_of(an_event())) + b"more", GZIP).code == "corrupt_encoding"
    assert post(gateway, b"\x28\xb5\x2f\xfd broken", {**JSON, "Content-Encoding": "zstd"}).code == "corrupt_encoding"


@pytest.mark.parametrize("encoding", ["br", "compress", "rot13", "gzip, gzip", "gzip;q=1"])
def test_an_unknown_encoding_is_415(encoding: str, gateway: Gateway) -> None:
    answer = post(gateway, gzip.compress(b"[]"), {**JSON, "Content-Encoding": encoding})
    assert (answer.status, answer.code) == (415, "unsupported_encoding")


@pytest.mark.parametrize("media", ["application/xml", "application/x-www-form-urlencoded", "image/gif", "x"])
def test_an_unknown_type_is_415(media: str, gateway: Gateway) -> None:
    answer = post(gateway, b"[]", {"Content-Type": media})
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


# HTTP itself


@pytest.mark.parametrize("line", [b"X-Long: " + b"a" * 65_536, b"a" * 65_536 + b": x"])
def test_a_header_of_64_kb_is_431(line: bytes, gateway: Gateway) -> None:
    answer = raw(gateway, b"POST /v1/events HTTP/1.1\r\nHost: a\r\n" + line + b"\r\nContent-Length: 2\r\n\r\n[]")
    assert (answer.status, answer.code) == (431, "headers_too_large")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"POST /v1/events HTTP/9.9\r\nHost: a\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n0\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: a\r\nBad\x00Name: 1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n",
    ],
)
def test_what_is_no_http_is_400(request_bytes: bytes, gateway: Gateway) -> None:
    answer = raw(gateway, request_bytes)
    assert answer.status == 400
    assert answer.code


def test_another_path_and_another_method_are_named(gateway: Gateway) -> None:
    assert post(gateway, b"[]", path="/v1/nothing").status == 404
    answer = raw(gateway, b"GET /v1/events HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (answer.status, answer.code) == (405, "method_not_allowed")


def test_a_client_that_hangs_up_in_its_body_disturbs_nobody(gateway: Gateway) -> None:
    at = urlsplit(gateway.endpoints["http"])
    for head in (b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", b""):
        with socket.create_connection((at.hostname, at.port)) as connection:
            connection.sendall(b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + head)
    assert post(gateway, b"[]").status == 200


# Events


BAD_FIELDS: Final = [
    ({"event_type": None}, "missing_field", "$.event_type"),
    ({"content_id": None}, "missing_field", "$.content_id"),
    ({"session_id": None}, "missing_field", "$.session_id"),
    ({"occurred_at": None}, "missing_field", "$.occurred_at"),
    ({"event_type": "rewind"}, "unknown_event_type", "$.event_type"),
    ({"event_type": 7}, "invalid_type", "$.event_type"),
    ({"event_id": "7"}, "invalid_uuid", "$.event_id"),
    ({"content_id": "tt0111161"}, "invalid_uuid", "$.content_id"),
    ({"session_id": "z" * 36}, "invalid_uuid", "$.session_id"),
    ({"profile_id": ""}, "invalid_uuid", "$.profile_id"),
    ({"event_id": None, "sequence": None, "position": None}, "no_identity", "$"),
    ({"bitrate": 2**31}, "out_of_range", "$.bitrate"),
    ({"bitrate": -1}, "out_of_range", "$.bitrate"),
    ({"bitrate": 1.5}, "invalid_type", "$.bitrate"),
    ({"bitrate": "1200"}, "invalid_type", "$.bitrate"),
    ({"bitrate": True}, "invalid_type", "$.bitrate"),
    ({"bitrate": 10**400}, "out_of_range", "$.bitrate"),
    ({"position": -1}, "out_of_range", "$.position"),
    ({"position": 2**31}, "out_of_range", "$.position"),
    ({"position": [1]}, "invalid_type", "$.position"),
    ({"duration": 1e300}, "out_of_range", "$.duration"),
    ({"buffer_duration": 2**63}, "out_of_range", "$.buffer_duration"),
    ({"startup_ms": 1795369265869}, "out_of_range", "$.startup_ms"),
    ({"sequence": 2**53}, "out_of_range", "$.sequence"),
    ({"sequence": 2.5}, "invalid_type", "$.sequence"),
    ({"test": "yes"}, "invalid_type", "$.test"),
    ({"quality": "x" * 21}, "too_long", "$.quality"),
    ({"device_type": "x" * 51}, "too_long", "$.device_type"),
    ({"cdn_edge": "ü" * 101}, "too_long", "$.cdn_edge"),
    ({"error_code": "x" * 100_000}, "too_long", "$.error_code"),
    ({"country": "DEU"}, "too_long", "$.country"),
    ({"player": "a\0b"}, "invalid_text", "$.player"),
    ({"platform": "\ud800"}, "invalid_text", "$.platform"),
    ({"metadata": {"a": "\0"}}, "invalid_text", "$.metadata"),
    ({"metadata": {"\udfff": 1}}, "invalid_text", "$.metadata"),
    ({"metadata": [1]}, "invalid_type", "$.metadata"),
    ({"metadata": {"a": "x" * 2048}}, "too_long", "$.metadata"),
    ({"occurred_at": "0001-01-01T00:00:00Z"}, "out_of_range", "$.occurred_at"),
    ({"occurred_at": "9999-12-31T23:59:59Z"}, "out_of_range", "$.occurred_at"),
    ({"occurred_at": "0000-01-01T00:00:00Z"}, "", "$.occurred_at"),
    ({"occurred_at": 10**15}, "out_of_range", "$.occurred_at"),
    ({"occurred_at": -(10**15)}, "out_of_range", "$.occurred_at"),
    ({"occurred_at": 10**400}, "out_of_range", "$.occurred_at"),
    ({"occurred_at": "yesterday"}, "invalid_time", "$.occurred_at"),
    ({"occurred_at": "2026-11-22T10:00:00"}, "invalid_time", "$.occurred_at"),
    ({"occurred_at": "2026-02-30T10:00:00Z"}, "invalid_time", "$.occurred_at"),
    ({"occurred_at": "2026-11-22T10:00:60Z"}, "invalid_time", "$.occurred_at"),
    ({"occurred_at": {}}, "invalid_type", "$.occurred_at"),
    ({"occurred_at": "2001-01-01T00:00:00Z"}, "too_old", "$.occurred_at"),
    ({"occurred_at": "2038-01-19T03:14:07Z"}, "too_new", "$.occurred_at"),
    ({"type": "ad", "impression_id": str(uuid4()), "event": "start"}, "unsupported_type", "$.type"),
    ({"type": "signal"}, "unsupported_type", "$.type"),
]


@pytest.mark.parametrize(("changes", "code", "path"), BAD_FIELDS)
def test_a_bad_field_is_named(changes: dict[str, Any], code: str, path: str, gateway: Gateway) -> None:
    event = an_event(**changes)
    answer = post(gateway, text_of(event))
    assert answer.status == 400
    (error,) = answer.body["errors"]
    assert error["index"] == 0
    assert code in ("", error["code"]), error
    assert error["path"].startswith(path)
    assert error["message"]
    assert (answer.body["accepted"], answer.body["rejected"]) == (0, 1)


def test_the_answer_names_the_event_and_only_the_first_hundred(gateway: Gateway) -> None:
    events = [an_event(bitrate=-1) for _ in range(150)]
    answer = post(gateway, json.dumps({"events": events}).encode())
    assert answer.status == 400
    assert answer.body["rejected"] == 150
    assert [error["index"] for error in answer.body["errors"]] == list(range(100))
    assert [error["id"] for error in answer.body["errors"]] == [event["event_id"] for event in events[:100]]


def test_in_ndjson_a_broken_line_is_that_lines_error(gateway: Gateway) -> None:
    answer = post(gateway, b"{\n" + text_of(an_event(bitrate=-1)) + b"\nnonsense\n", NDJSON)
    assert answer.status == 400
    assert [(error["index"], error["code"]) for error in answer.body["errors"]] == [
        (0, "invalid_json"),
        (1, "out_of_range"),
        (2, "invalid_json"),
    ]


@pytest.mark.parametrize("sent_at", ["yesterday", [], 10**400, "0001-01-01T00:00:00Z"])
def test_a_bad_sent_at_of_the_envelope_refuses_the_request(sent_at: Any, gateway: Gateway) -> None:
    answer = post(gateway, json.dumps({"sent_at": sent_at, "events": [an_event()]}).encode())
    assert answer.status == 400
    assert answer.body["error"] in {"invalid_time", "invalid_type", "out_of_range"}


def test_after_all_of_it_the_stores_are_empty(gateway: Gateway) -> None:
    async def rows() -> int:
        postgres = await asyncpg.connect(gateway.endpoints["postgres"])
        try:
            count: int = await postgres.fetchval(COUNT_SQL)
            return count
        finally:
            await postgres.close()

    time.sleep(1)  # whatever was kept by mistake has reached the stores by then
    assert asyncio.run(rows()) == 0
    store = redis.Redis.from_url(gateway.endpoints["redis"])
    try:
        kept = [key for key in store.keys("{ingest}:*") if b":view" in key or b":session:" in key]
    finally:
        store.close()
    assert kept == []
    assert not list(gateway.data_dir.glob("dead/*"))
