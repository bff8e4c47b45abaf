"""Which record is which: numbers and texts of records against Python's csv module."""

import csv
import io
import random

import pytest

from h3_pipeline_tests.uploads import Processing

RECORDS = 6000


def messy_file(seed: int, delimiter: str, line_end: str, *, quotes_from: int = 1) -> str:
    """A file of more than a megabyte with blank lines, and one bad record in ten.

    Args:
        seed: Seed of the chance.
        delimiter: Field separator.
        line_end: What ends a record.
        quotes_from: First record in which there may be quotes, around delimiters and line ends.
    """
    chance = random.Random(seed)
    plain = ["", "plain", "ä€😀"]
    notes = [*plain, f'with{delimiter}it and "quotes"', "two\nlines", f"three{line_end}{line_end}lines"]
    text = io.StringIO()
    text.write(line_end * chance.randrange(3))
    writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end)
    writer.writerow(["started_at", "origin_lat", "origin_lng", "note", "region"])
    for number in range(1, RECORDS + 1):
        if chance.random() < 0.05:
            text.write(line_end * chance.randrange(1, 4))
        time = "whenever" if chance.random() < 0.1 else f"2024-01-{number % 28 + 1:02d}T00:00:00Z"
        note = chance.choice(notes if number >= quotes_from else plain) + "x" * chance.randrange(300)
        writer.writerow([time, "40.7", "-74.0", note, f"record {number}"])
    text.write(line_end * chance.randrange(3))
    return text.getvalue()


@pytest.mark.parametrize("quotes_from", [1, RECORDS - 5, RECORDS + 1], ids=["quotes", "late quotes", "no quotes"])
@pytest.mark.parametrize(("delimiter", "line_end"), [(",", "\n"), (",", "\r\n"), (";", "\r\n"), ("\t", "\n")])
def test_numbers_are_those_that_python_counts(
    process: Processing, delimiter: str, line_end: str, quotes_from: int
) -> None:
    text = messy_file(len(line_end), delimiter, line_end, quotes_from=quotes_from)
    assert len(text.encode()) > 1024 * 1024
    _, *records = [record for record in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if record]
    assert len(records) == RECORDS
    processed = process(text)
    manifest, trips, refused = processed.manifest, processed.trips, processed.refused
    assert manifest.rows_in == RECORDS
    good = [number for number, record in enumerate(records, start=1) if record[0] != "whenever"]
    assert trips["row_number"].tolist() == good
    assert trips["region"].tolist() == [f"record {number}" for number in good]
    bad = [number for number in range(1, RECORDS + 1) if records[number - 1][0] == "whenever"]
    assert refused["row_number"].tolist() == bad
    texts = [next(csv.reader(io.StringIO(raw, newline=""), delimiter=delimiter)) for raw in refused["raw"]]
    assert texts == [records[number - 1] for number in bad]


def test_the_text_of_a_refused_record_is_the_record(process: Processing) -> None:
    header = "started_at,origin_lat,origin_lng,note"
    bad = [
        'never,1,2,"a ""quoted"" word"',
        'never,1,2,"a, comma"',
        "never,1,2,plain",
        "never,1,2,",
        "never,1,2",
        "never",
    ]
    good = ["2024-01-01T00:00:00Z,1,2,x"] * len(bad)
    assert process("\n".join([header, *bad, *good])).refused["raw"].tolist() == bad
