from pathlib import Path

import pytest

from benchmarks import sample
from benchmarks.sample import Month, months, write_sample


def test_more_rows_are_more_days() -> None:
    assert months(1) == [Month(2015, 4, 1, 1)]
    assert months(1_000_000) == [Month(2015, 4, 10, 1_000_000)]
    assert months(5_000_001) == [Month(2015, 4, 30, 3_000_000), Month(2015, 5, 21, 2_000_001)]
    assert sum(month.rows for month in months(20_000_000)) == 20_000_000
    assert months(20_000_000)[-1].month == 10


def test_the_same_file_whatever_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "ROWS_A_DAY", 20)
    for processes in (1, 2):
        write_sample(tmp_path / f"{processes}.csv", 1_000, processes=processes)
    text = (tmp_path / "1.csv").read_bytes()
    assert text == (tmp_path / "2.csv").read_bytes()
    lines = text.splitlines()
    assert len(lines) == 1_001
    assert [line[:8] for line in lines].count(b"VendorID") == 1
    assert {line.split(b",")[1][:7] for line in lines[1:]} == {b"2015-04", b"2015-05"}
    assert len(list(tmp_path.iterdir())) == 2
