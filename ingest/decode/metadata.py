"""Custom data of an event: decoded and encoded anew, so that what is stored is JSON to every reader.

PostgreSQL's json type, and whoever reads it, then never meets a bad escape, bad UTF-8, NUL, or a number beyond 64 bits.
"""

import re

from msgspec import DecodeError, ValidationError
from msgspec.json import Decoder, encode

from ingest import codes
from ingest.decode.memo import Memo
from ingest.decode.skeleton import deeper_than
from ingest.decode.undecodable import Doubtful, Refused
from ingest.event import METADATA_SIZE_MAX_BYTES

FAST_DEPTH_MAX = 12
"""Nesting the fast way takes; with the three levels around it (envelope, array, event) less than the default bound."""
_PATH = "$.metadata"
_DECODER = Decoder()
_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**64 - 1
_LONG_DIGITS = re.compile(rb"[0-9]{19}")


def metadata_text(raw: bytes) -> bytes:
    """The JSON text to store for an object as sent; raises Refused. `raw`: well-formed JSON of a checked depth."""
    if raw[:1] != b"{":
        raise Refused(codes.INVALID_TYPE, _PATH, "Metadata is an object.")
    if len(raw) > METADATA_SIZE_MAX_BYTES:
        raise Refused(codes.TOO_LONG, _PATH, f"Metadata has more than {METADATA_SIZE_MAX_BYTES} bytes.")
    try:
        value = _DECODER.decode(raw)
    except ValidationError:
        raise Refused(codes.OUT_OF_RANGE, _PATH, "A number in metadata is beyond 64 bits.") from None
    except (DecodeError, UnicodeDecodeError):  # well-formed, so what is left is a lone surrogate
        raise Refused(codes.INVALID_TEXT, _PATH) from None
    text = encode(value)
    if b"\\u0000" in text or _LONG_DIGITS.search(text):
        _check(value)
    return text


def _check(value: object) -> None:
    """Refuses NUL in any text and integers beyond 64 bits."""
    if isinstance(value, str):
        if "\0" in value:
            raise Refused(codes.INVALID_TEXT, _PATH)
    elif isinstance(value, dict):
        for key, member in value.items():
            _check(key)
            _check(member)
    elif isinstance(value, list):
        for element in value:
            _check(element)
    elif isinstance(value, int) and not _INTEGER_MIN <= value <= _INTEGER_MAX:
        raise Refused(codes.OUT_OF_RANGE, _PATH, "A number in metadata is beyond 64 bits.")


def _field(raw: bytes) -> bytes:
    if raw == b"null":
        return b"\xff\xff\xff\xff"
    if len(raw) > METADATA_SIZE_MAX_BYTES or deeper_than(raw, FAST_DEPTH_MAX):
        raise Doubtful
    text = metadata_text(raw)
    return len(text).to_bytes(4, "big") + text


FIELDS: Memo[bytes, bytes] = Memo(_field, 512)
"""Metadata as sent → its field of the tuple; raises Doubtful or Refused for what the slow way must see."""
