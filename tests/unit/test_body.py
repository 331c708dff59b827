"""Content-Encoding undone: whole, cut at every byte, and never beyond the cap."""

import gzip
import tracemalloc
import zlib
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.decode.body import BodyTooLarge, CorruptBody, Inflater, UnsupportedEncoding
from tests.builders import a_body, an_event

PLAIN = a_body([an_event(), an_event(metadata={"long": "abc" * 50})])
CAP_BYTES = 8 << 20


def raw_deflate(data, level=6):
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


def zstd(data, **options):
    return zstandard.ZstdCompressor(**options).compress(data)


ENCODED = {
    "gzip": ("gzip", gzip.compress(PLAIN, mtime=0)),
    "x-gzip": ("x-gzip", gzip.compress(PLAIN, mtime=0)),
    "gzip in capitals": (" GZIP ", gzip.compress(PLAIN, mtime=0)),
    "deflate": ("deflate", zlib.compress(PLAIN)),
    "raw deflate": ("deflate", raw_deflate(PLAIN)),
    "raw deflate, stored": ("deflate", raw_deflate(PLAIN, level=0)),
    "zstd": ("zstd", zstd(PLAIN)),
    "zstd without its size": ("zstd", zstd(PLAIN, write_content_size=False)),
    "zstd with a checksum": ("zstd", zstd(PLAIN, write_checksum=True)),
    "gzip by its magic": (None, gzip.compress(PLAIN, mtime=0)),
}
COMPRESSED = pytest.mark.parametrize("encoding, raw", ENCODED.values(), ids=ENCODED)


def inflated(encoding, raw, step=None, cap=CAP_BYTES):
    inflater = Inflater(encoding, cap)
    step = step or max(1, len(raw))
    out = b"".join(inflater.feed(raw[at : at + step]) for at in range(0, len(raw), step))
    return out + inflater.finish()


@pytest.mark.parametrize("step", [None, 1, 2, 7, 100])
@COMPRESSED
def test_a_body_inflates_in_chunks_of_any_size(encoding, raw, step):
    assert inflated(encoding, raw, step) == PLAIN


@COMPRESSED
def test_a_body_cut_at_any_byte_is_refused(encoding, raw):
    for cut in range(2 if encoding is None else 1, len(raw)):
        with pytest.raises(CorruptBody):
            inflated(encoding, raw[:cut])


@COMPRESSED
def test_a_body_fed_in_two_parts_cut_at_any_byte_is_the_body(encoding, raw):
    for cut in range(len(raw) + 1):
        inflater = Inflater(encoding, CAP_BYTES)
        assert inflater.feed(raw[:cut]) + inflater.feed(raw[cut:]) + inflater.finish() == PLAIN


@pytest.mark.parametrize("garbage", [b"x", b"\0\0\0\0", b"garbage behind the end"])
@COMPRESSED
def test_garbage_behind_the_end_is_refused(encoding, raw, garbage):
    for step in (None, 1):
        with pytest.raises(CorruptBody):
            inflated(encoding, raw + garbage, step)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_inflate_or_are_corrupt(encoding, raw):
    try:
        inflated(encoding, raw)
    except CorruptBody:
        pass


def test_a_corrupt_body_is_the_clients_fault():
    with pytest.raises(CorruptBody) as error:
        inflated("gzip", b"plain")
    assert (error.value.code, error.value.status) == ("corrupt_encoding", 400)


@COMPRESSED
@settings(max_examples=60)
@given(data=st.data())
def test_a_flipped_byte_is_corrupt_or_harmless_but_never_another_error(encoding, raw, data):
    at = data.draw(st.integers(0, len(raw) - 1))
    damaged = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    try:
        inflated(encoding, damaged)
    except CorruptBody:
        pass


@pytest.mark.parametrize("encoding, compress", [("gzip", gzip.compress), ("zstd", zstd)])
def test_several_members_are_one_body(encoding, compress):
    raw = compress(PLAIN) + compress(b"") + compress(PLAIN)
    for step in (None, 1, 5):
        assert inflated(encoding, raw, step) == PLAIN + PLAIN


def test_a_thousand_members_are_too_many():
    with pytest.raises(CorruptBody):
        inflated("gzip", gzip.compress(b"") * 1_001)


@pytest.mark.parametrize("encoding", [None, "", "identity", "gzip", "deflate", "zstd"])
def test_no_bytes_at_all_are_an_empty_body(encoding):
    assert inflated(encoding, b"") == b""


@pytest.mark.parametrize("step", [1, 2, None])
@pytest.mark.parametrize("raw", [b"{", b"\x1f", b"[]", b'{"events":[]}'])
def test_without_an_encoding_other_bytes_pass_as_they_are(raw, step):
    assert inflated(None, raw, step) == raw


@pytest.mark.parametrize("encoding", ["br", "compress", "gzip, gzip", "gzip,identity", "utf-8", "*", "gzip;q=1"])
def test_other_encodings_and_several_at_once_are_unsupported(encoding):
    with pytest.raises(UnsupportedEncoding) as refused:
        Inflater(encoding, CAP_BYTES)
    assert (refused.value.code, refused.value.status) == ("unsupported_encoding", 415)


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate", "zstd", None])
@pytest.mark.parametrize("step", [None, 3])
def test_the_cap_is_the_last_size_that_fits(encoding, step):
    plain = b"ab" * 500
    compressors: dict[str | None, Any] = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd}
    compress = compressors.get(encoding, bytes)
    assert inflated(encoding, compress(plain), step, cap=1_000) == plain
    with pytest.raises(BodyTooLarge) as refused:
        inflated(encoding, compress(plain), step, cap=999)
    assert (refused.value.code, refused.value.status) == ("body_too_large", 413)
    assert refused.value.details == {"decoded_max_bytes": 999}


def _bombs():
    zeros = bytes(1 << 20)
    for encoding, window_bits in (("gzip", 31), ("deflate", 15)):
        compressor = zlib.compressobj(9, zlib.DEFLATED, window_bits)
        yield encoding, b"".join(compressor.compress(zeros) for _ in range(200)) + compressor.flush()
    yield "zstd", zstandard.ZstdCompressor(level=3).compress(bytes(200 << 20))


@pytest.mark.parametrize("encoding, bomb", list(_bombs()), ids=["gzip", "deflate", "zstd"])
def test_a_bomb_never_takes_more_memory_than_the_cap_and_a_chunk(encoding, bomb):
    assert len(bomb) < 250_000
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            inflated(encoding, bomb, cap=1 << 20)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < (1 << 20) * 2.5  # the cap, the copy that joins it, a chunk


def test_a_zstd_window_beyond_eight_mebibytes_is_refused():
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=27)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(CorruptBody):
        inflated("zstd", compressor.compress(PLAIN) + compressor.flush())
