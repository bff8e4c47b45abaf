"""The numbers of a map, packed for its page: arrays one after another, and where each lies."""

import base64
import gzip
from typing import Any

import numpy as np
import numpy.typing as npt

_ALIGNMENT = 8

Place = dict[str, Any]
"""Where an array lies: its ``type`` (as in numpy, little-endian), ``offset`` in bytes and ``length`` in items."""


class Payload:
    """Arrays, packed one after another."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, values: npt.NDArray[Any]) -> Place:
        """Pack an array as it is, flattened."""
        flat = np.ascontiguousarray(values).ravel()
        flat = flat.astype(flat.dtype.newbyteorder("<"))
        packed = flat.tobytes()
        place = {"type": f"{flat.dtype.kind}{flat.dtype.itemsize}", "offset": self._size, "length": len(flat)}
        padding = -len(packed) % _ALIGNMENT
        self._parts += [packed, bytes(padding)]
        self._size += len(packed) + padding
        return place

    def add_numbers(self, values: npt.NDArray[np.float64]) -> Place:
        """Pack numbers in the smallest type that loses nothing a reader sees; NaN stays NaN."""
        return self.add(values.astype(_smallest(values)))

    def add_indexes(self, values: npt.NDArray[Any]) -> Place:
        """Pack whole numbers from zero."""
        largest = int(values.max()) if len(values) else 0
        return self.add(values.astype(np.min_scalar_type(largest) if largest < 2**32 else np.uint64))

    def text(self) -> str:
        """All of it, gzip within base64."""
        return pack(b"".join(self._parts))


def pack(content: bytes) -> str:
    """Bytes as text that a page unpacks: gzip within base64, the same for the same bytes."""
    return base64.b64encode(gzip.compress(content, compresslevel=6, mtime=0)).decode("ascii")


def _smallest(values: npt.NDArray[np.float64]) -> type[np.number[Any]]:
    if not values.size:
        return np.float32
    if np.isfinite(values).all() and (values == np.round(values)).all():
        low, high = values.min(), values.max()
        for kind in (np.uint8, np.uint16, np.uint32, np.int32):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return kind
    # seven digits, and the page shows four; whole numbers beyond them need more
    return np.float32 if np.nanmax(np.abs(values), initial=0) < 2**24 else np.float64
