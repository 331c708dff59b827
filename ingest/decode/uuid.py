"""UUIDs as players send them: 8-4-4-4-12 or 32 hexadecimal digits in either case → 16 bytes."""

from binascii import unhexlify
from collections.abc import Sequence


def uuid_field(text: str) -> bytes:
    """The field of a tuple, length and 16 bytes; ValueError for any other form, AttributeError for what is no text."""
    value = unhexlify(text.replace("-", ""))
    if len(value) == 16 and (text[8:24:5] == "----" if len(text) == 36 else len(text) == 32):
        return b"\x00\x00\x00\x10" + value
    raise ValueError("not a UUID")


def uuid_bytes(text: str) -> bytes:
    """The 16 bytes; raises as uuid_field does."""
    return uuid_field(text)[4:]


def uuids_bytes(texts: Sequence[str]) -> list[bytes] | None:
    """The same for many at once, when all are 8-4-4-4-12; None when one is not, or no text at all."""
    count = len(texts)
    if count == 1:
        try:
            return [uuid_bytes(texts[0])]
        except (ValueError, AttributeError):
            return None
    try:
        joined = "".join(texts)
        if set(map(len, texts)) != {36}:
            return None
        dashes = "-" * count
        if not joined[8::36] == joined[13::36] == joined[18::36] == joined[23::36] == dashes:
            return None
        digits = joined.replace("-", "")
        value = unhexlify(digits)
    except (TypeError, ValueError):
        return None
    if len(digits) != 32 * count or len(value) != 16 * count:
        return None
    return [value[at : at + 16] for at in range(0, 16 * count, 16)]
