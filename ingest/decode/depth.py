"""How deeply a text nests, without parsing it: a handful of passes in C, for hostile bodies too."""

from typing import Final

_UNIFY: Final = bytes.maketrans(b"{}", b"[]")
_OTHERS: Final = bytes(byte for byte in range(256) if byte not in b'{}[]"')


def deeper_than(text: bytes, depth_max: int) -> bool:
    """Whether arrays and objects of a JSON text nest more than `depth_max` deep.

    Exact for well-formed text. For malformed text it may say no to what the parser then refuses, after at most
    2 · depth_max levels.
    """
    if text.count(b"{") + text.count(b"[") <= depth_max:
        return False
    if b"\\" in text:  # what is left of an escape is neither a quote nor a bracket
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    skeleton = text.translate(_UNIFY, _OTHERS).replace(b'""', b"")  # taking out pairs of quotes keeps inside and outside
    if b'"' in skeleton:
        skeleton = b"".join(skeleton.split(b'"')[::2])  # brackets within strings
    for _ in range(depth_max):
        if not skeleton:
            return False
        skeleton = skeleton.replace(b"[]", b"")  # one pass takes out exactly the innermost level
    return b"[]" in skeleton or skeleton.count(b"[") > depth_max
