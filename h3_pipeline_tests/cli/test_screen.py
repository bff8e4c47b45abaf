"""Tables and lines, on a terminal and in a pipe."""

import pytest
from rich.console import Console

from h3_pipeline.cli import screen
from h3_pipeline.cli.screen import Column, Grid

GRID = Grid(
    [Column("upload", folds=True), Column("rows", number=True), Column("hour")],
    [["trips/a.csv", 1234567, "08:00"], ["b.csv", None, ""]],
    totals=["all", 1234567],
)


def test_a_table_in_a_pipe_is_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show(GRID)
    assert capsys.readouterr().out == (
        "upload            rows  hour\n"
        "trips/a.csv  1,234,567  08:00\n"
        "b.csv\n"
        "all          1,234,567\n"
    )  # fmt: skip


def test_a_pipe_folds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show(Grid([Column("a", folds=True), Column("b")], [["x" * 500, "y" * 500]]))
    assert f"{'x' * 500}  {'y' * 500}" in capsys.readouterr().out


def test_a_terminal_folds_where_it_must_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(force_terminal=True, width=40, highlight=False, color_system=None, record=True)
    monkeypatch.setattr(screen, "out", terminal)
    with terminal.capture() as captured:
        screen.show(Grid(GRID.columns, [["trips/2026/january/a-long-name.csv", 1234567, "08:00"]]))
    lines = captured.get().splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert any("1,234,567" in line and "08:00" in line for line in lines)


def test_what_steers_a_terminal_is_shown_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show(Grid([Column("k\x1b[2J")], [["red \x1b[31m[bold]x"]]))
    screen.complain("two\nlines \x1b]0;title\x07")
    streams = capsys.readouterr()
    assert streams.out == "k\\x1b[2J\nred \\x1b[31m[bold]x\n"
    assert streams.err == "error: two lines \\x1b]0;title\\x07\n"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (1_234_567, "1.2 MB"), (5 * 10**13, "50.0 TB")],
)
def test_sizes(size: int, text: str) -> None:
    assert screen.bytes_text(size) == text
