"""The skeleton of a JSON text, its brackets and commas outside strings, taken without parsing: a few passes in C.

It bounds what parsing may cost before anything is parsed. Eight mebibytes of `[],[],…` deflate to a few kilobytes and
would take seconds and hundreds of megabytes as objects.
"""

from collections.abc import Iterator
from typing import Final

_UNIFY: Final = bytes.maketrans(b"{}", b"[]")
_OTHERS: Final = bytes(byte for byte in range(256) if byte not in b'{}[],"')
_NO_VALUES: Final = bytes(byte for byte in range(256) if byte not in b"{[,")
_CHUNK_BYTES: Final = 65_536


def _skeleton(text: bytes) -> bytes:
    """Brackets outside strings, all of them square, and commas. Exact for well-formed text."""
    if b"\\" in text:  # what is left of an escape is neither a quote nor a bracket
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    kept = text.translate(_UNIFY, _OTHERS).replace(b'""', b"")  # taking out pairs of quotes keeps inside and outside
    return b"".join(_outside(kept)) if b'"' in kept else kept


def _outside(kept: bytes) -> Iterator[bytes]:
    """What is outside strings, chunk by chunk, for a list of all parts may be ten times as large."""
    inside = 0
    for at in range(0, len(kept), _CHUNK_BYTES):
        parts = kept[at : at + _CHUNK_BYTES].split(b'"')
        yield b"".join(parts[inside::2])
        inside = (inside + len(parts) - 1) & 1


def deeper_than(text: bytes, depth_max: int) -> bool:
    """Whether arrays and objects nest more than `depth_max` deep.

    Exact for well-formed text. For malformed text it may say no to what the parser then refuses, after at most
    2 · depth_max levels.
    """
    opened = text.count(b"{")
    if opened <= depth_max and opened + text.count(b"[") <= depth_max:
        return False
    brackets = _skeleton(text).translate(None, b",")
    for _ in range(depth_max):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")  # one pass takes out exactly the innermost level
    return b"[]" in brackets or brackets.count(b"[") > depth_max


def more_values_than(text: bytes, values_max: int) -> bool:
    """Whether the text has more commas, arrays and objects than that, or more lines."""
    if len(text) <= values_max:
        return False
    if text.count(b"\n") > values_max:
        return True
    if len(text.translate(None, _NO_VALUES)) <= values_max:  # those in strings counted too
        return False
    skeleton = _skeleton(text)
    return skeleton.count(b",") + skeleton.count(b"[") > values_max
