"""HTTP content encodings in pieces, both ways, as ClickHouse understands them."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import lz4.frame
from backports import zstd

# Libraries of one shape: decompress(), eof, unused_data; compress(), flush().
_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "deflate": zlib.decompressobj,
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
    "xz": lzma.LZMADecompressor,
    "bz2": bz2.BZ2Decompressor,
}
_COMPRESSORS: dict[str, Callable[[], Any]] = {
    "zstd": zstd.ZstdCompressor,
    "lz4": lz4.frame.LZ4FrameCompressor,
    "gzip": lambda: zlib.compressobj(wbits=31),
    "deflate": zlib.compressobj,
}


class EncodingError(Exception):
    """A body is not what its Content-Encoding says, or that encoding is not known."""


def decode(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Decompress a body that may hold several frames, one after the other.

    Raises:
        EncodingError: If the encoding is unknown, or the data is damaged or cut short.
    """
    if not encoding or encoding == "identity":
        yield from pieces
        return
    if encoding not in _DECOMPRESSORS:
        raise EncodingError(f"Unknown compression method '{encoding}'. Only {', '.join(_DECOMPRESSORS)} are supported")
    frame: Any = None
    try:
        for piece in pieces:
            while piece:
                frame = frame or _DECOMPRESSORS[encoding]()
                if plain := frame.decompress(piece):
                    yield plain
                piece = b""
                if frame.eof:
                    piece = frame.unused_data or b""
                    frame = None
    except (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError, RuntimeError, EOFError) as error:
        if isinstance(error, ConnectionError):
            raise
        raise EncodingError(f"Cannot decompress the request's body as {encoding}: {error}") from error
    if frame is not None:
        raise EncodingError(f"The request's body ends in the middle of its {encoding} data")


def choose(accepted: str) -> str | None:
    """The encoding that ClickHouse takes of an Accept-Encoding header, or ``None`` for none."""
    offered = {item.split(";")[0].strip().lower() for item in accepted.split(",")}
    return next((encoding for encoding in _COMPRESSORS if encoding in offered), None)


def encode(pieces: Iterable[bytes], encoding: str | None) -> Iterator[bytes]:
    """Compress a body into one frame, each piece as soon as there is output for it."""
    if encoding is None:
        yield from pieces
        return
    compressor = _COMPRESSORS[encoding]()
    if encoding == "lz4":
        yield compressor.begin()
    for piece in pieces:
        if packed := compressor.compress(piece):
            yield packed
    yield compressor.flush()
