"""The SELECT that turns an upload's records into judged trips.

It reads fields as texts and adds columns in stages, one subquery a stage. It is pure: text in, text out;
the task engine runs it.

There are two ways to read. Most files have no quotes: there a line is a record, and is cut at its delimiters
(`Reading.LINES`). It takes half the time, on all cores. A file with quotes takes the engine's parser
(`Reading.FIELDS`). Nobody needs to know beforehand: every record says whether it `needs_parser`.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import zip_longest

from h3_pipeline.sql import literal
from h3_pipeline.trips.codes import enum_type
from h3_pipeline.trips.columns import TRIP_COLUMNS
from h3_pipeline.trips.places import cell, degree_stages, split_point_stages
from h3_pipeline.trips.rules import REASON_CODES, reason_expression, warnings_expression
from h3_pipeline.trips.times import MAX_TIMESTAMP, Stage, instant_stages
from h3_pipeline.trips.upload import UploadDescription

SURPLUS_FIELDS = 8
"""Fields beyond the header's width that are looked at; filled ones make `wrong_column_count`."""

MISSING_TOKENS = (r"\N", "NULL", "null")
"""Texts that mean that a value is not there, as an empty one does."""

TEXT_FAULT_NUL, TEXT_FAULT_ENCODING = 1, 2
"""Values of ``text_fault``: a NUL byte, or bytes that are not UTF-8, somewhere in the record."""

READ_SETTINGS: Mapping[str, int | str] = {
    # right record numbers need one parser (DESIGN, section 2)
    "input_format_parallel_parsing": 0,
    # short records are filled with NULLs, surplus fields read as far as the structure names them
    "input_format_csv_allow_variable_number_of_columns": 1,
    "input_format_csv_allow_cr_end_of_line": 1,
    "input_format_csv_empty_as_default": 0,
    "input_format_csv_detect_header": 0,
    # a NULL only ever means that the field is not there
    "format_csv_null_representation": "\x01absent\x01",
    "use_hive_partitioning": 0,
    # every expression is cheap and safe for every row; evaluating by row masks costs a quarter more
    "short_circuit_function_evaluation": "disable",
    # a header of ten thousand columns makes a long statement
    "max_query_size": 16 * 1024 * 1024,
}
"""Engine settings without which a file would be read wrongly."""

JUDGED_COLUMNS: tuple[tuple[str, str], ...] = (
    ("upload_number", "UInt32"),
    ("record", "UInt64"),
    ("blank", "UInt8"),
    ("reason", enum_type(REASON_CODES)),
    ("warnings", "UInt32"),
    ("text_fault", "UInt8"),
    ("spans_lines", "UInt8"),
    ("needs_parser", "UInt8"),
    ("line", "String"),
    ("fields", "Array(Nullable(String))"),
    *((c.name, c.type) for c in TRIP_COLUMNS if c.name not in ("upload", "upload_etag", "row_number")),
)
"""Name and type of each column that `judged_trips` selects.

``upload_number`` tells uploads apart that are judged at once. ``record`` is the 0-based position in the file with
blank lines counted. A refused record is shown by its ``line``, where lines are read, else by ``fields``: their
texts, NULL beyond the last one that is there. Both are empty for others. ``spans_lines`` tells that a field holds
a line end, ``needs_parser`` that a line cannot be read as one.
"""


class Reading(Enum):
    """How records are read."""

    LINES = "lines"
    FIELDS = "fields"


LINE_STRUCTURE = "line String"
"""Structure of a table function that reads lines, in the format ``LineAsString``."""


def structure(upload: UploadDescription) -> str:
    """The structure argument of a table function that reads the upload as CSV."""
    return ", ".join(f"{name} Nullable(String)" for name in _field_names(upload))


def read_settings(upload: UploadDescription) -> dict[str, int | str]:
    """Engine settings for reading this upload."""
    return {
        **READ_SETTINGS,
        "format_csv_delimiter": upload.delimiter,
        "input_format_csv_allow_whitespace_or_tab_as_delimiter": int(upload.delimiter in " \t"),
        "input_format_csv_skip_first_lines": upload.skip_lines,
    }


def judged_trips(
    upload: UploadDescription, source: str, resolution: int, reading: Reading, upload_number: str = "0"
) -> str:
    """The SELECT of `JUDGED_COLUMNS` over the records of an upload, or of several that are read in the same way.

    Args:
        upload: How to read it.
        source: A table expression with ``_row_number`` and the columns of `structure`, or those of
            `LINE_STRUCTURE`.
        resolution: H3 resolution of the cells.
        reading: Which of the two.
        upload_number: SQL for the number of the upload that a record of the source is from.
    """
    read = _read_lines if reading is Reading.LINES else _read_fields
    query = read(upload, source, upload_number)
    for stage in _stages(upload, resolution):
        added = ", ".join(f"{expression} AS {name}" for name, expression in stage.items())
        query = f"(SELECT *, {added} FROM {query})"
    chosen = ", ".join(f"{_FINAL.get(name, name)} AS {name}" for name, _ in JUDGED_COLUMNS)
    return f"SELECT {chosen} FROM {query}"


_FINAL = {
    "line": "refused_line",
    "started_at": f"toDateTime(toUInt32(least(greatest(ifNull(started_at_utc, 0), 0), {MAX_TIMESTAMP})), 'UTC')",
    "ended_at": "if(ended_at_usable, toDateTime(toUInt32(assumeNotNull(ended_at_utc)), 'UTC'), NULL)",
    "utc_offset_minutes": "toInt16(intDiv(ifNull(started_at_offset, 0), 60))",
    "origin_lat": "origin_lat_safe",
    "origin_lng": "origin_lng_safe",
    "destination_lat": "if(destination_fault = '', destination_lat_read, NULL)",
    "destination_lng": "if(destination_fault = '', destination_lng_read, NULL)",
}


def _read_lines(upload: UploadDescription, source: str, upload_number: str) -> str:
    """Subquery that cuts each line at its delimiters, as the parser does where there are no quotes."""
    width = len(upload.column_names)
    # a line that ends in CRLF keeps its CR, in whatever its last field is
    fields = ", ".join(
        f"{_without_return(f'parts[{position + 1}]', position, width)} AS c{position}"
        for position in sorted({0, *upload.columns.values()})
    )
    first = "trimBoth(parts[1], ' \\r') = ''"
    return_inside = "position(line, '\\r') NOT IN (0, length(line))"
    # the parser takes tabs around a field away
    tabs = "" if upload.delimiter == "\t" else " OR position(line, '\\t') > 0"
    return f"""(
        SELECT upload_number, record, line, line AS record_text, {fields},
               length(parts) AS parts_there,
               {first if width == 1 else f"parts_there = 1 AND {first}"} AS blank,
               parts_there < {width} AS too_short,
               notEmpty(trimBoth(arrayStringConcat(arraySlice(parts, {width + 1})), ' \\t\\r')) AS surplus,
               position(line, '"') > 0 OR {return_inside}{tabs} AS needs_parser,
               CAST([], 'Array(Nullable(String))') AS record_fields
        FROM (
            SELECT {upload_number} AS upload_number, _row_number - {upload.skip_lines} AS record, line,
                   splitByChar({literal(upload.delimiter)}, line) AS parts
            FROM {source}
            WHERE _row_number >= {upload.skip_lines}
        ))"""


def _without_return(field: str, position: int, width: int) -> str:
    return f"trimRight({field}, '\\r')" if position in (0, width - 1) else field


def _read_fields(upload: UploadDescription, source: str, upload_number: str) -> str:
    """Subquery over the parser's fields."""
    width = len(upload.column_names)
    used, every = ", ".join(_used_names(upload)), ", ".join(_field_names(upload))
    surplus = " OR ".join(f"ifNull(c{position}, '') != ''" for position in range(width, width + SURPLUS_FIELDS))
    first = "trimBoth(ifNull(c0, '')) = ''"
    return f"""(
        SELECT *, {f"c1 IS NULL AND {first}" if width > 1 else first} AS blank,
               c{width - 1} IS NULL AS too_short,
               {surplus} AS surplus,
               -- divided, lest the end of one field and the beginning of the next make a character
               arrayStringConcat(record_fields, ' ') AS record_text,
               false AS needs_parser,
               '' AS line
        FROM (
            SELECT {upload_number} AS upload_number, _row_number AS record, {used}, [{every}] AS record_fields
            FROM {source}
        ))"""


def _field_names(upload: UploadDescription) -> list[str]:
    return [f"c{position}" for position in range(len(upload.column_names) + SURPLUS_FIELDS)]


def _used_names(upload: UploadDescription) -> list[str]:
    """Fields that a stage names; the others are in ``record_fields`` only, so that ten thousand columns are fine."""
    width = len(upload.column_names)
    positions = {0, 1, *upload.columns.values(), *range(width - 1, width + SURPLUS_FIELDS)}
    return [f"c{position}" for position in sorted(positions)]


def _stages(upload: UploadDescription, resolution: int) -> Iterable[Stage]:
    yield _texts(upload)
    yield {
        "text_fault": f"multiIf(position(record_text, '\\0') > 0, {TEXT_FAULT_NUL},"
        f" NOT isValidUTF8(record_text), {TEXT_FAULT_ENCODING}, 0)",
        "spans_lines": "position(record_text, '\\n') > 0",
        "timezone_assumed": "true" if upload.timezone_assumed else "false",
        "region": f"if(region_text = '', {literal(upload.region)}, region_text)",
        "datasource": f"if(datasource_text = '', {literal(upload.datasource)}, datasource_text)",
        **_numbers(upload),
    }
    # these need nothing of one another; planning takes as long as there are stages
    yield from _side_by_side(
        instant_stages("started_at", upload.started_at_format, upload.timezone),
        _ended_at_stages(upload),
        *(_place_stages(end, upload) for end in ("origin", "destination")),
    )
    yield {
        "ended_at_usable": f"ifNull(ended_at_utc BETWEEN 0 AND {MAX_TIMESTAMP}, false)",
    }
    yield {"reason": reason_expression()}
    yield {
        "warnings": f"if(blank OR reason != '', 0, {warnings_expression(_mapped(upload))})",
        "origin_h3": cell("origin_lat_safe", "origin_lng_safe", resolution),
        "destination_cell": cell("destination_lat_safe", "destination_lng_safe", resolution),
        "fields": "if(reason = '', [], record_fields)",
        "refused_line": "if(reason = '', '', trimRight(line, '\\r'))",
    }
    yield {"destination_h3": "if(destination_fault = '', destination_cell, NULL)"}


def _mapped(upload: UploadDescription) -> set[str]:
    """Columns that the upload has, ``destination`` standing for either form of its coordinates."""
    mapped = set(upload.columns)
    if mapped & {"destination_point", "destination_lat"}:
        mapped.add("destination")
    return mapped


def _texts(upload: UploadDescription) -> dict[str, str]:
    """``{column}_text`` for every text that a later stage looks at; ``''`` where it is not there."""
    texts = {}
    for column in _TEXT_COLUMNS:
        position = upload.columns.get(column)
        if position is None:
            if column not in _split_from_points(upload):
                texts[f"{column}_text"] = "''"
            continue
        text = f"ifNull(c{position}, '')"
        if position == 0 and upload.skip_lines == 0:
            # the mark keeps the engine from seeing the quotes of the first field
            marked = f"record = 0 AND startsWith({text}, '\\xEF\\xBB\\xBF')"
            text = f"if({marked}, trimBoth(substring({text}, 4), '\"'), {text})"
        trimmed = f"trimBoth({text})"
        missing = " OR ".join(f"{trimmed} = {literal(token)}" for token in MISSING_TOKENS)
        texts[f"{column}_text"] = f"if({missing}, '', {trimmed})"
    return texts


_TEXT_COLUMNS = (
    "region",
    "datasource",
    "started_at",
    "ended_at",
    "origin_lat",
    "origin_lng",
    "origin_point",
    "destination_lat",
    "destination_lng",
    "destination_point",
    "distance_km",
    "passenger_count",
    "fare_amount",
    "total_amount",
)


def _split_from_points(upload: UploadDescription) -> set[str]:
    """Coordinate columns whose texts come out of a point column."""
    ends = (end for end in ("origin", "destination") if f"{end}_point" in upload.columns)
    return {f"{end}_{axis}" for end in ends for axis in ("lat", "lng")}


def _numbers(upload: UploadDescription) -> dict[str, str]:
    distance = f"toFloat32(toFloat64OrNull(distance_km_text) * {upload.kilometres_per_unit!r})"
    return {
        "distance_km": f"if(isFinite({distance}) AND {distance} >= 0, {distance}, NULL)",
        # "1.0" is how pandas writes a count with gaps
        "passenger_count": "accurateCastOrNull(toFloat64OrNull(passenger_count_text), 'UInt8')",
        **{
            name: f"if(isFinite(toFloat32OrNull({name}_text)), toFloat32OrNull({name}_text), NULL)"
            for name in ("fare_amount", "total_amount")
        },
    }


def _ended_at_stages(upload: UploadDescription) -> list[Stage]:
    if upload.ended_at_format is None or "ended_at" not in upload.columns:
        return [
            {
                "ended_at_utc": "CAST(NULL, 'Nullable(Int64)')",
                "ended_at_gap": "false",
                "ended_at_fold": "false",
            }
        ]
    return instant_stages("ended_at", upload.ended_at_format, upload.timezone)


def _place_stages(end: str, upload: UploadDescription) -> list[Stage]:
    split = split_point_stages(end) if f"{end}_point" in upload.columns else []
    return [*split, *degree_stages(end)]


def _side_by_side(*strands: Iterable[Stage]) -> Iterable[Stage]:
    """Strands of stages that do not depend on one another, as one."""
    return (
        {name: sql for stage in level for name, sql in stage.items()} for level in zip_longest(*strands, fillvalue={})
    )
