"""The result of a query, as one Parquet file that the engine wrote, and what the engine makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.exports.columns import FileColumn
from h3_pipeline.exports.header import Format
from h3_pipeline.sql import identifier, literal
from h3_pipeline.storage.named_collection import S3_SETTINGS

RAW_FORMAT = "Parquet"
"""What the query's result is written as before anything is made of it: it keeps types and order."""

_ENGINE_FORMATS = {
    Format.CSV: "CSVWithNames",
    Format.CSV_GZ: "CSVWithNames",
    Format.CSV_ZST: "CSVWithNames",
    Format.PARQUET: "Parquet",
    Format.ARROW: "Arrow",
    Format.GEOPARQUET: "Parquet",
}

FORMAT_SETTINGS: Mapping[str, str | int] = {
    "date_time_output_format": "iso",
    "date_time_input_format": "best_effort",
    "input_format_with_names_use_header": 0,
    "format_csv_null_representation": "",
    "output_format_arrow_string_as_string": 1,
    # by default rows come back in another order than the query gave them
    "input_format_parquet_preserve_order": 1,
}
"""Engine settings under which files are written and read back."""

_READING: Mapping[str, str | int] = {**FORMAT_SETTINGS, **S3_SETTINGS}

# what a spreadsheet takes for the beginning of a formula
_FORMULA = r"^[=+\-@\t\r]"


@dataclass(frozen=True, slots=True)
class Result:
    """A query's result on disk.

    Attributes:
        file: Parquet file with the columns as the query gave them.
        described: Their names and ClickHouse types.
        columns: The columns of the files that are made of it.
        rows: How many rows it has.
    """

    file: Path
    described: Sequence[tuple[str, str]]
    columns: Sequence[FileColumn]
    rows: int

    def write(self, engine: ClickHouse, output: Format, target: Path) -> None:
        """Let the engine write a table; compression goes by the file's name.

        Args:
            engine: An engine that may read and write local files.
            output: A tabular format.
            target: File to write; must not exist.
        """
        selected = ", ".join(
            f"{expression} AS {identifier(name)}"
            for column, (name, expression) in zip(self.columns, self._written(output), strict=True)
        )
        engine.raw(
            f"SELECT {selected} FROM {self._table()} INTO OUTFILE {literal(str(target))}",
            _ENGINE_FORMATS[output],
            settings=FORMAT_SETTINGS,
        )

    def checksum(self, engine: ClickHouse, output: Format) -> str:
        """A number that the rows have in whatever order, and hardly any other rows; of a file in a format.

        Rows are hashed as the text that the engine makes of all their columns.
        """
        expressions = [guarded(column, output) for column in self.columns]
        return _fingerprint(engine, expressions, self._table())[1]

    def head(self, engine: ClickHouse, rows: int) -> list[dict[str, Any]]:
        """The first rows, with the columns of the files."""
        selected = ", ".join(f"{column.expression} AS {identifier(column.name)}" for column in self.columns)
        return engine.records(f"SELECT {selected} FROM {self._table()} LIMIT {int(rows)}", settings=FORMAT_SETTINGS)

    def invalid_cells(self, engine: ClickHouse, cells: Sequence[str]) -> dict[str, int]:
        """How many values of each cell column are no H3 cells; columns without any are left out."""
        counts = engine.rows(
            "SELECT "
            + ", ".join(
                f"countIf(NOT h3IsValid(assumeNotNull({c})) AND {c} IS NOT NULL)" for c in map(identifier, cells)
            )
            + f" FROM {self._table()}"
        )[0]
        return {name: int(count) for name, count in zip(cells, counts, strict=True) if count}

    def _table(self) -> str:
        structure = ", ".join(f"{identifier(name)} {kind}" for name, kind in self.described)
        return f"file({literal(str(self.file))}, {RAW_FORMAT}, {literal(structure)}) AS r"

    def _written(self, output: Format) -> list[tuple[str, str]]:
        """Name and expression of each column in a format."""
        if _ENGINE_FORMATS[output] == "CSVWithNames":
            return [(_plain_text(column.name), guarded(column, output)) for column in self.columns]
        if output is Format.ARROW:
            # the engine would write whole seconds as bare numbers
            return [
                (
                    column.name,
                    column.expression
                    if column.time_zone is None
                    else f"toDateTime64({column.expression}, 0, {literal(column.time_zone or 'UTC')})",
                )
                for column in self.columns
            ]
        return [(column.name, column.expression) for column in self.columns]


def guarded(column: FileColumn, output: Format) -> str:
    """A column's expression; text that begins like a formula gets an apostrophe before it in CSV."""
    if _ENGINE_FORMATS[output] != "CSVWithNames" or not column.is_text:
        return column.expression
    text = column.expression
    return f"if(match({text}, {literal(_FORMULA)}), concat('''', {text}), {text})"


def read_back(engine: ClickHouse, columns: Sequence[FileColumn], source: str) -> tuple[int, str]:
    """Rows and checksum of a file that was written: compare with `Result.rows` and `Result.checksum`.

    Args:
        engine: Any engine that reaches the file.
        columns: The columns of the file.
        source: Table function that reads it, with `structure` of the columns.
    """
    return _fingerprint(engine, [f"r.{identifier(column.name)}" for column in columns], f"{source} AS r")


def structure(columns: Sequence[FileColumn]) -> str:
    """Columns and types of a file, as table functions take them."""
    return ", ".join(f"{identifier(column.name)} {column.type}" for column in columns)


def engine_format(output: Format) -> str | None:
    """ClickHouse's name of a tabular format; None for what it cannot read back column by column."""
    return _ENGINE_FORMATS.get(output)


def _fingerprint(engine: ClickHouse, expressions: Sequence[str], table: str) -> tuple[int, str]:
    row = f"formatRow('TSV', {', '.join(expressions)})"
    [(rows, checksum)] = engine.rows(f"SELECT count(), hex(sum(cityHash64({row}))) FROM {table}", settings=_READING)
    return int(rows), str(checksum)


def _plain_text(name: str) -> str:
    """A column's name; one that begins like a formula gets an apostrophe too."""
    return f"'{name}" if name[:1] in "=+-@\t\r" else name
