"""What the task engine's errors mean for the person who sent the file.

Codes are ClickHouse's (``src/Common/ErrorCodes.cpp``).
"""

import re

from h3_pipeline.clickhouse.client import QueryError
from h3_pipeline.errors import PipelineError, StorageError, UploadRefused, WarehouseError

_CANNOT_PARSE = frozenset({6, 26, 27, 33, 38, 41, 72, 117, 636})
_CANNOT_DECOMPRESS = frozenset({271, 272, 354, 554, 561, 566})
_OUT_OF_MEMORY = frozenset({173, 241})
_DISK_FULL = frozenset({243})
_S3 = frozenset({499, 210, 209, 86, 1000})

_MEMORY = re.compile(r"attempt to allocate chunk of ([\d.]+) (\w+)\), maximum: ([\d.]+) (\w+)")
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_PARSERS = ("CSVRowInputFormat", "LineAsStringRowInputFormat")

_AT_ROW = re.compile(r"\(at row (\d+)\)")
_NO_SPACE = re.compile(r"No space left on device|errno: 28")
_OWN_TABLE = "while reading from part"
_TOO_DEEP = frozenset({167, 168, 306})


def is_out_of_memory(error: QueryError) -> bool:
    """Whether the engine had too little memory for a statement."""
    return error.code in _OUT_OF_MEMORY


def disk_full(object_key: str) -> WarehouseError:
    """The error for a disk that has no room for what an upload needs."""
    return WarehouseError(f"The disk is full while reading {object_key}; free some space and run the upload again")


def _out_of_memory(error: QueryError, object_key: str) -> PipelineError:
    """A record that outgrows the memory is the file's fault; anything else is the task's."""
    found = _MEMORY.search(error.detail)
    if found and any(parser in error.detail for parser in _PARSERS):
        chunk = float(found[1]) * _UNITS.get(found[2], 0)
        limit = float(found[3]) * _UNITS.get(found[4], 0)
        # rows are read in small pieces, so that only one record's text can ask for this much at once
        if chunk * 8 >= limit:
            return UploadRefused(
                "record_too_large",
                "Reading the file takes more memory than a task has; a record is larger than that, "
                "most often because a quote is never closed",
            )
    limit_text = f" ({found[3]} {found[4]})" if found else ""
    return WarehouseError(
        f"The task ran out of memory{limit_text} while reading {object_key}; run the upload again, with fewer runs "
        "at once or with more memory"
    )


def explain(error: QueryError, object_key: str) -> PipelineError:
    """The error to raise in place of the engine's.

    Args:
        error: What the engine said while it read or wrote for this upload.
        object_key: The object being read.

    Returns:
        An `UploadRefused` where the file is at fault, else an error that trying again may mend.
    """
    code = error.code
    if _NO_SPACE.search(error.detail) or code in _DISK_FULL:
        return disk_full(object_key)
    if _OWN_TABLE in error.detail:  # what was just written cannot be read back
        return WarehouseError(
            f"The disk is full or failing: the scratch table of {object_key} cannot be read; "
            "free some space and run the upload again"
        )
    if code in _CANNOT_DECOMPRESS:
        return UploadRefused("truncated_archive", "The archive is damaged or cut off; upload the file again")
    if code in _CANNOT_PARSE:
        place = _AT_ROW.search(error.detail)
        where = f"Row {place[1]}" if place else "A row"
        return UploadRefused(
            "malformed_csv",
            f"{where} is not valid CSV: text follows a closing quote; double the quotes inside quoted fields",
        )
    if is_out_of_memory(error):
        return _out_of_memory(error, object_key)
    if code in _TOO_DEEP:
        return UploadRefused("too_many_columns", "The header has more columns than can be read")
    if code in _S3:
        return StorageError(f"The bucket failed while {object_key} was read: {error}")
    return error
