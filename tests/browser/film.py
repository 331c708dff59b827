"""A film to play: one picture that stands for some seconds, in WebM (Matroska and VP8). Pure.

A lossy WebP holds a key frame of VP8, and a browser's canvas writes one: so a film needs no encoder but the browser.
"""

from __future__ import annotations

import base64
import struct
from typing import Final

PICTURE: Final = """
(() => {
  const canvas = document.createElement("canvas");
  canvas.width = 64; canvas.height = 36;
  canvas.getContext("2d").fillRect(8, 8, 48, 20);
  return canvas.toDataURL("image/webp", 0.5);
})()
"""
"""JavaScript of a picture, as `frame_of` takes it."""
WIDTH_PX: Final = 64
HEIGHT_PX: Final = 36
FRAME_MS: Final = 40
CLUSTER_MS: Final = 1_000
WEBP_VP8: Final = b"VP8 "


def frame_of(data_url: str) -> bytes:
    """The key frame in a WebP of a data: URL."""
    webp = base64.b64decode(data_url.partition(",")[2])
    at = webp.index(WEBP_VP8)
    return webp[at + 8 : at + 8 + int.from_bytes(webp[at + 4 : at + 8], "little")]


def film(frame: bytes, duration_s: int) -> bytes:
    """`frame` again and again."""
    header = _element("1a45dfa3", _text("4282", "webm"), _number("4287", 2), _number("4285", 2))
    info = _element("1549a966", _number("2ad7b1", 1_000_000), _float("4489", duration_s * 1_000))
    video = _element("e0", _number("b0", WIDTH_PX), _number("ba", HEIGHT_PX))
    track = _element("ae", _number("d7", 1), _number("73c5", 1), _number("83", 1), _text("86", "V_VP8"), video)
    clusters = [_cluster(frame, begin_ms) for begin_ms in range(0, duration_s * 1_000, CLUSTER_MS)]
    return header + _element("18538067", info, _element("1654ae6b", track), *clusters)


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
