"""``query``: asks the warehouse; `warehouse.read_only` sees to it that it only asks."""

import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.text import Text

from h3_pipeline.cli import screen
from h3_pipeline.cli.app import Format
from h3_pipeline.cli.screen import Column, Grid, Value
from h3_pipeline.errors import PipelineError
from h3_pipeline.settings import Settings
from h3_pipeline.warehouse.read_only import ResultTable, query_table, query_to_file

TABLE_ROWS = 100
"""Rows that a table shows."""

_NUMBER = re.compile(r"^(Nullable\(|LowCardinality\()*(U?Int|Float|BFloat|Decimal)")


def query(sql: str, output_format: Format | None, output: Path | None) -> int:
    """Run a query and show its result or write it."""
    wanted = output_format or _format_of(output)
    if wanted is Format.TABLE:
        if output is not None:
            raise PipelineError("A table is for the screen; write a file with --format csv, json or parquet")
        with screen.stage("Asking the warehouse"):
            result = query_table(Settings.load(), sql, max_rows=TABLE_ROWS, on_wait=screen.note)
        show_result(result)
        return 0
    if output is None and wanted is Format.PARQUET and sys.stdout.isatty():
        raise PipelineError("Parquet is not for a terminal; give --output FILE, or pipe it into a program")
    with tempfile.TemporaryDirectory(prefix=".h3-pipeline-", dir=_folder(output)) as folder:
        draft = Path(folder) / "result"
        with screen.stage("Asking the warehouse"):
            query_to_file(Settings.load(), sql, wanted.value, draft, on_wait=screen.note)
        if output is not None:
            draft.replace(output)
            screen.say(f"{output}  {screen.bytes_text(output.stat().st_size)}")
        else:
            with draft.open("rb") as result_file:
                sys.stdout.flush()
                shutil.copyfileobj(result_file, sys.stdout.buffer)
    return 0


def show_result(result: ResultTable) -> None:
    """Show rows as a table, or one below the other where they are too wide for the terminal."""
    numbers = [bool(_NUMBER.match(kind)) for kind in result.types]
    columns = [Column(name, number) for name, number in zip(result.names, numbers, strict=True)]
    grid = Grid(columns, [[_cell(value) for value in row] for row in result.rows])
    if screen.fits(grid):
        screen.show(grid)
    else:
        width = max(map(len, result.names))
        for position, row in enumerate(grid.rows, 1):
            screen.say(f"row {position}", style="bold")
            for name, value in zip(result.names, row, strict=True):
                screen.say(f"  {name:<{width}}  {value}")
    if not result.rows:
        screen.say("no rows")
    elif result.total > len(result.rows) or not result.complete:
        all_rows = f"{result.total:,}" if result.complete else f"more than {result.total:,}"
        screen.note(f"{len(result.rows)} of {all_rows} rows; --output FILE or --format csv gives all")


def _cell(value: Any) -> Value:
    return Text("NULL", style="dim") if value is None else _text(value)


def _text(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case list():
            return f"[{', '.join(map(_text, value))}]"
        case dict():
            return "{" + ", ".join(f"{name}: {_text(one)}" for name, one in value.items()) + "}"
        case _:
            return str(value)


def _format_of(output: Path | None) -> Format:
    if output is None:
        return Format.TABLE
    try:
        return Format(output.suffix.removeprefix(".").lower())
    except ValueError:
        raise PipelineError(f"{output}: its ending is not .csv, .json or .parquet; say which with --format") from None


def _folder(output: Path | None) -> Path | None:
    """Where the draft goes: beside the file, so that it is replaced in one step."""
    if output is None:
        return None
    if output.is_dir():
        raise PipelineError(f"{output} is a folder; --output names a file")
    if not output.parent.is_dir():
        raise PipelineError(f"{output.parent}: no such folder")
    return output.parent
