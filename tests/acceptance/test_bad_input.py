"""What cannot be read is answered clearly: the status and code of DESIGN §3, no 5xx, no traceback, nothing kept."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.acceptance.door import JSON, NDJSON, an_event, assert_nothing_stored, post, raw, text_of
from tests.acceptance.gateway_process import Gateway

MIB: Final = 2**20
GZIP: Final = {**JSON, "Content-Encoding": "gzip"}

pytestmark = pytest.mark.usefixtures("nothing_traced")


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


def test_after_all_of_it_the_stores_are_empty(gateway: Gateway) -> None:
    assert_nothing_stored(gateway)
