"""A film to play: one picture that stands for some seconds, in WebM (Matroska and VP8). Pure.

A lossy WebP holds a key frame of VP8, and a browser's canvas writes one: so a film needs no encoder but the browser.
"""

from __future__ import annotations

import base64
import struct
from typing import Final

DRAWING: Final = """
((width, height) => {
  const canvas = document.createElement("canvas");
  canvas.width = width; canvas.height = height;
  canvas.getContext("2d").fillRect(8, 8, width - 16, height - 16);
  return canvas.toDataURL("image/webp", 0.5);
})"""
WIDTH_PX: Final = 64
HEIGHT_PX: Final = 36
FRAME_MS: Final = 40
CLUSTER_MS: Final = 1_000
WEBP_VP8: Final = b"VP8 "
UNKNOWN_SIZE: Final = b"\x01" + b"\xff" * 7


def picture(width_px: int, height_px: int) -> str:
    """JavaScript of a picture, as `frame_of` takes it."""
    return f"{DRAWING}({width_px}, {height_px})"


PICTURE: Final = picture(WIDTH_PX, HEIGHT_PX)


def frame_of(data_url: str) -> bytes:
    """The key frame in a WebP of a data: URL."""
    webp = base64.b64decode(data_url.partition(",")[2])
    at = webp.index(WEBP_VP8)
    return webp[at + 8 : at + 8 + int.from_bytes(webp[at + 4 : at + 8], "little")]


def film(frame: bytes, duration_s: int) -> bytes:
    """`frame` again and again."""
    clusters = [_cluster(frame, begin_ms) for begin_ms in range(0, duration_s * 1_000, CLUSTER_MS)]
    return _header() + _element("18538067", *_about(duration_s, WIDTH_PX, HEIGHT_PX), *clusters)


def pieces(frame: bytes, duration_s: int, width_px: int, height_px: int) -> tuple[bytes, list[bytes]]:
    """The same for Media Source Extensions: what it begins with, and a piece for each second."""
    begin = _header() + bytes.fromhex("18538067") + UNKNOWN_SIZE + b"".join(_about(duration_s, width_px, height_px))
    return begin, [_cluster(frame, begin_ms) for begin_ms in range(0, duration_s * 1_000, CLUSTER_MS)]


def _header() -> bytes:
    return _element("1a45dfa3", _text("4282", "webm"), _number("4287", 2), _number("4285", 2))


def _about(duration_s: int, width_px: int, height_px: int) -> tuple[bytes, bytes]:
    """The film, and its one track."""
    info = _element("1549a966", _number("2ad7b1", 1_000_000), _float("4489", duration_s * 1_000))
    video = _element("e0", _number("b0", width_px), _number("ba", height_px))
    track = _element("ae", _number("d7", 1), _number("73c5", 1), _number("83", 1), _text("86", "V_VP8"), video)
    return info, _element("1654ae6b", track)


def _cluster(frame: bytes, begin_ms: int) -> bytes:
    blocks = [
        _element("a3", b"\x81", at_ms.to_bytes(2, "big"), b"\x80", frame) for at_ms in range(0, CLUSTER_MS, FRAME_MS)
    ]
    return _element("1f43b675", _number("e7", begin_ms), *blocks)


def _element(name: str, *content: bytes) -> bytes:
    body = b"".join(content)
    return bytes.fromhex(name) + (len(body) | 1 << 56).to_bytes(8, "big") + body


def _number(name: str, value: int) -> bytes:
    return _element(name, value.to_bytes(8, "big"))


def _text(name: str, value: str) -> bytes:
    return _element(name, value.encode())


def _float(name: str, value: float) -> bytes:
    return _element(name, struct.pack(">d", value))
