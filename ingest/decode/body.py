"""A body's Content-Encoding undone while it streams, never holding more than the cap and one chunk.

gzip (several members too), deflate (zlib, or raw as some clients mean it), zstd, identity. Without a Content-Encoding
a body that begins with gzip's magic is taken as gzip: a beacon cannot set the header. Pure.
"""

import zlib
from collections.abc import Callable
from typing import Final, Protocol

import zstandard

from ingest import codes
from ingest.decode.undecodable import Undecodable

GZIP_MAGIC: Final = b"\x1f\x8b"
_CHUNK_BYTES: Final = 16_384
"""What a decompressor is given at once: bounds what it copies for each gzip member."""
_MEMBERS_MAX: Final = 1_000
"""gzip members or zstd frames of a body; block-wise gzip makes 128 of 8 MiB."""
_ZSTD_WINDOW_MAX_BYTES: Final = 8 << 20
"""What RFC 8878 asks every decoder to have."""


class BodyTooLarge(Undecodable):
    """The body holds more than the cap; found while it streamed. 413."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(codes.BODY_TOO_LARGE, decoded_max_bytes=limit_bytes)


class CorruptBody(Undecodable):
    """The body is not what its encoding says, is cut short, or has something behind its end. 400."""

    def __init__(self, message: str) -> None:
        super().__init__(codes.CORRUPT_ENCODING, message)


class UnsupportedEncoding(Undecodable):
    """Content-Encoding names something else, or several. 415."""

    def __init__(self) -> None:
        super().__init__(codes.UNSUPPORTED_ENCODING)


class _NoRoom(Exception):
    """The output would pass the cap."""


class _Stage(Protocol):
    def feed(self, chunk: bytes, room_bytes: int) -> bytes:
        """What `chunk` adds; _NoRoom, or up to a chunk more than room_bytes, when that is too much."""
        ...

    def finish(self, room_bytes: int) -> bytes: ...


class Inflater:
    """One body. `encoding`: the header's value, None when there is none; `limit_bytes`: cap on the decoded size.

    Raises UnsupportedEncoding at once, BodyTooLarge and CorruptBody from feed() and finish(); then it is done for.
    """

    def __init__(self, encoding: str | None, limit_bytes: int) -> None:
        name = "" if encoding is None else encoding.strip().lower()
        if encoding is None:
            stage: _Stage = _Unnamed()
        elif name in _STAGES:
            stage = _STAGES[name]()
        else:
            raise UnsupportedEncoding
        self._stage = stage
        self._limit_bytes = limit_bytes
        self._total_bytes = 0

    def feed(self, chunk: bytes) -> bytes:
        """The bytes that `chunk` adds, perhaps none yet."""
        if len(chunk) <= _CHUNK_BYTES:
            return self._step(self._stage.feed, chunk)
        return b"".join(
            self._step(self._stage.feed, chunk[at : at + _CHUNK_BYTES]) for at in range(0, len(chunk), _CHUNK_BYTES)
        )

    def finish(self) -> bytes:
        """The last bytes, usually none; CorruptBody when the stream is cut short. No bytes at all are an empty body."""
        return self._step(lambda _, room_bytes: self._stage.finish(room_bytes), b"")

    def _step(self, stage: Callable[[bytes, int], bytes], chunk: bytes) -> bytes:
        try:
            output = stage(chunk, self._limit_bytes - self._total_bytes)
        except _NoRoom:
            raise BodyTooLarge(self._limit_bytes) from None
        self._total_bytes += len(output)
        if self._total_bytes > self._limit_bytes:
            raise BodyTooLarge(self._limit_bytes)
        return output


class _Identity:
    def feed(self, chunk: bytes, room_bytes: int) -> bytes:
        return chunk

    def finish(self, room_bytes: int) -> bytes:
        return b""


class _Zlib:
    """gzip, zlib or raw deflate, as zlib's window bits say."""

    def __init__(self, window_bits: int, members_max: int) -> None:
        self._window_bits = window_bits
        self._members_left = members_max
        self._begun = False
        self._inflate = zlib.decompressobj(window_bits)

    def feed(self, chunk: bytes, room_bytes: int) -> bytes:
        parts = []
        while chunk:
            if self._inflate.eof:
                self._members_left -= 1
                if self._members_left <= 0:
                    raise CorruptBody("There are bytes behind the end of the compressed body.")
                self._inflate = zlib.decompressobj(self._window_bits)
            self._begun = True
            try:
                output = self._inflate.decompress(chunk, room_bytes + 1)
            except zlib.error as error:
                raise CorruptBody(f"The compressed body is damaged: {error}.") from None
            parts.append(output)
            room_bytes -= len(output)
            if room_bytes < 0:
                break
            chunk = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        return b"".join(parts)

    def finish(self, room_bytes: int) -> bytes:
        if self._begun and not self._inflate.eof:
            raise CorruptBody("The compressed body is cut short.")
        return b""


class _Sniffing:
    """Waits for two bytes, then chooses."""

    def __init__(self) -> None:
        self._head = b""
        self._chosen: _Stage | None = None

    def choose(self, head: bytes) -> _Stage:
        """The stage for a body that begins so; `head` is shorter than two bytes only when the body is."""
        raise NotImplementedError

    def feed(self, chunk: bytes, room_bytes: int) -> bytes:
        if self._chosen is None:
            self._head += chunk
            if len(self._head) < 2:
                return b""
            self._chosen = self.choose(self._head)
            chunk = self._head
        return self._chosen.feed(chunk, room_bytes)

    def finish(self, room_bytes: int) -> bytes:
        if self._chosen is not None:
            return self._chosen.finish(room_bytes)
        if not self._head:
            return b""
        chosen = self.choose(self._head)
        return chosen.feed(self._head, room_bytes) + chosen.finish(room_bytes)


class _Unnamed(_Sniffing):
    def choose(self, head: bytes) -> _Stage:
        return _gzip() if head[:2] == GZIP_MAGIC else _Identity()


class _Deflate(_Sniffing):
    """RFC 9110 means zlib; clients that send raw deflate are told by a head that is no zlib header (RFC 1950 §2.2)."""

    def choose(self, head: bytes) -> _Stage:
        is_zlib = head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0
        return _Zlib(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS, 1)


class _Sink:
    """Where zstd's output goes. It knows nobody: who writes to it holds it in C, where Python's collector does not
    look, and would never let go of anything that leads back there.
    """

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.room_bytes = 0

    def write(self, output: bytes) -> int:
        """Takes what the library puts out, at most 128 KiB at a time."""
        self.room_bytes -= len(output)
        if self.room_bytes < 0:
            self.parts = []
            raise _NoRoom
        self.parts.append(bytes(output))
        return len(output)


class _Zstd:
    """zstd. The library neither bounds its output by itself nor tells a stream that is cut short; both are done here.

    Output goes through a sink that stops it at the cap. At the end one frame of our own is fed behind the body: unless
    exactly its content comes out, the body did not end where a frame ends.
    """

    _MARK: Final = zstandard.ZstdCompressor(level=1).compress(b"the end of a body is the end of a frame")
    _MARK_CONTENT: Final = b"the end of a body is the end of a frame"

    def __init__(self) -> None:
        self._sink = _Sink()
        self._begun = False
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX_BYTES)
        self._writer = decompressor.stream_writer(self._sink, closefd=False)  # type: ignore[arg-type]  # it only writes

    def feed(self, chunk: bytes, room_bytes: int) -> bytes:
        self._begun = self._begun or bool(chunk)
        sink = self._sink
        sink.room_bytes = room_bytes
        sink.parts = []
        try:
            self._writer.write(chunk)
        except zstandard.ZstdError as error:
            raise CorruptBody(f"The compressed body is damaged: {error}.") from None
        return b"".join(sink.parts)

    def finish(self, room_bytes: int) -> bytes:
        if self._begun:
            try:
                room_bytes = len(self._MARK_CONTENT)
                half = len(self._MARK) // 2  # in one piece, the library would read it past half a frame header
                output = self.feed(self._MARK[:half], room_bytes) + self.feed(self._MARK[half:], room_bytes)
            except (CorruptBody, _NoRoom):
                output = b""
            if output != self._MARK_CONTENT:
                raise CorruptBody("The compressed body is cut short.")
        return b""


def _gzip() -> _Stage:
    return _Zlib(16 + zlib.MAX_WBITS, _MEMBERS_MAX)


_STAGES: Final[dict[str, Callable[[], _Stage]]] = {
    "": _Identity,
    "identity": _Identity,
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _Deflate,
    "zstd": _Zstd,
}
