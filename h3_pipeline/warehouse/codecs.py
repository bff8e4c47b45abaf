"""How columns are compressed on disk, where it is not the engine's default (LZ4). docs/performance.md has the sizes."""

NARROW = "CODEC(T64, LZ4)"
"""Of integers that take fewer bits than their type has: the bits that none of a block uses are left out."""

RISING = "CODEC(Delta(4), LZ4)"
"""Of hours that rise within a cell: differences are smaller."""
