"""``query``: formats, tables, files; `test_read_only` of the warehouse tests what it must not do."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from h3_pipeline.cli import screen
from h3_pipeline_tests.cli.conftest import PROGRAM, SECONDS, Answer, Program, environment, one_error_line

Cli = Callable[..., Answer]

TWO = "SELECT number AS n, toString(number * 10) AS t FROM numbers(2)"


def test_a_table_aligns_numbers_to_the_right(cli: Cli) -> None:
    answer = cli("query", "SELECT * FROM values('number Nullable(UInt32), text String', (7, 'a'), (12345, 'bcdef'))")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "number  text\n     7  a\n 12345  bcdef\n"


def test_numbers_are_the_engines_own_text(cli: Cli) -> None:
    answer = cli("query", "SELECT 18446744073709551615 AS a, 0.1::Float64 AS b, 1 / 0 AS c, NULL AS d, [1, 2] AS e")
    assert answer.out.splitlines()[1].split("  ") == ["18446744073709551615", "0.1", "inf", "NULL", "[1, 2]"]


def test_a_table_shows_a_hundred_rows_and_tells_how_many_there_are(cli: Cli) -> None:
    answer = cli("query", "SELECT number FROM numbers(345)")
    assert len(answer.out.splitlines()) == 101
    assert answer.err.startswith("100 of 345 rows;")
    assert cli("query", "SELECT number FROM numbers(20000)").err.startswith("100 of more than 10,000 rows;")


def test_no_rows(cli: Cli) -> None:
    assert cli("query", "SELECT 1 AS one WHERE 0").out.split() == ["one", "no", "rows"]


def test_a_row_too_wide_for_the_terminal_is_shown_downwards(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setattr(screen, "out", Console(force_terminal=True, width=60, color_system=None, highlight=False))
    answer = cli("query", "SELECT number AS a_number, repeat('x', 70) AS wide FROM numbers(2)")
    row = [f"  wide      {'x' * 70}"]
    assert answer.out.splitlines() == ["row 1", "  a_number  0", *row, "row 2", "  a_number  1", *row]


def test_json_is_an_array_of_objects_with_whole_numbers(cli: Cli) -> None:
    answer = cli("query", "SELECT 18446744073709551615 AS n, 'a/b' AS t", "--format", "json")
    assert answer.err == ""
    assert '"a/b"' in answer.out
    assert json.loads(answer.out) == [{"n": 18446744073709551615, "t": "a/b"}]
    assert json.loads(cli("query", "SELECT 1 WHERE 0", "--format", "json").out) == []


def test_csv(cli: Cli) -> None:
    assert cli("query", TWO, "--format", "csv").out == '"n","t"\n0,"0"\n1,"10"\n'


def test_statements_other_than_select(cli: Cli) -> None:
    assert "trips" in cli("query", "SHOW TABLES").out.split()
    assert "origin_h3" in cli("query", "DESCRIBE trips").out
    assert cli("query", "EXISTS trips", "--format", "csv").out.endswith("1\n")
    assert "Sorting" in cli("query", "EXPLAIN SELECT region FROM trips ORDER BY started_at").out
    assert cli("query", "/* first */ SELECT 1 AS x; -- last", "--format", "csv").out == '"x"\n1\n'


@pytest.mark.parametrize("name", ["result.parquet", "result.csv", "result.JSON"])
def test_the_ending_of_a_file_tells_its_format(cli: Cli, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("what was there before")
    answer = cli("query", TWO, "--output", path)
    assert (answer.code, answer.err) == (0, "")
    read = {".parquet": _parquet, ".csv": pd.read_csv, ".json": pd.read_json}[path.suffix.lower()]
    assert read(path).astype(str).values.tolist() == [["0", "0"], ["1", "10"]]
    assert sorted(each.name for each in tmp_path.iterdir() if each.name.startswith((".", "result"))) == [name]


def _parquet(path: Path) -> pd.DataFrame:
    import chdb

    lines = str(chdb.query(f"SELECT * FROM file('{path}', Parquet) ORDER BY n", "CSV")).splitlines()
    return pd.DataFrame([[part.strip('"') for part in line.split(",")] for line in lines])


def test_parquet_goes_into_a_pipe_but_not_onto_a_terminal(tmp_path: Path) -> None:
    command = [*PROGRAM, "query", TWO, "--format", "parquet"]
    settings = environment(tmp_path / "home")
    piped = subprocess.run(command, env=settings, capture_output=True, timeout=SECONDS, check=True)
    assert piped.stdout[:4] == piped.stdout[-4:] == b"PAR1"
    master, slave = os.openpty()
    shown = subprocess.run(
        command, env=settings, stdout=slave, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False
    )
    os.close(slave)
    os.close(master)
    assert shown.returncode == 1
    assert "--output" in one_error_line(shown.stderr)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output", "result.txt"], "--format"),
        (["--output", "result"], "--format"),
        (["--output", "nowhere/result.csv"], "nowhere: no such folder"),
        (["--output", ".", "--format", "csv"], "is a folder"),
        (["--output", "result.csv", "--format", "table"], "--format csv"),
    ],
)
def test_files_that_cannot_be_written(
    cli: Cli, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = cli("query", "SELECT 1", *arguments)
    assert answer.code == 1
    assert words in one_error_line(answer.err)
    assert list(tmp_path.iterdir()) == []


def test_a_fault_in_the_statement_is_one_line(cli: Cli) -> None:
    answer = cli("query", "SELEC 1")
    assert (answer.code, answer.out) == (1, "")
    assert one_error_line(answer.err) == "Syntax error: failed at position 7 (1): 1"
    assert "`nonsense`" in one_error_line(cli("query", "SELECT nonsense FROM trips").err)


def test_drop_table_is_refused_and_the_rows_are_still_there(
    ingested: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    program = Program(ingested[0])
    answer = program("query", "DROP TABLE trips")
    assert (answer.returncode, answer.stdout) == (1, "")
    message = one_error_line(answer.stderr)
    assert "read-only" in message
    assert "the grant DROP TABLE" in message  # the engine's words
    assert program("query", "SELECT count() AS n FROM trips", "--format", "json").stdout == '[\n{"n":3}\n]\n'
