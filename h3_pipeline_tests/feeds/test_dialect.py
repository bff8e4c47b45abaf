import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h3_pipeline.errors import UploadRefused
from h3_pipeline.feeds.dialect import OPEN_QUOTE_CHARACTERS, SAMPLE_RECORDS, Text


def rows(text: str, delimiter: str = ",", *, complete: bool = True, has_header: bool = True) -> list[list[str]]:
    sample = Text(text, complete=complete).sample(delimiter, has_header=has_header)
    return [record.fields for record in sample.records]


def refusal(text: str, *, complete: bool = True, has_header: bool = True) -> tuple[str, str]:
    with pytest.raises(UploadRefused) as caught:
        rows(text, complete=complete, has_header=has_header)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_widest_header_comes_first(delimiter: str):
    text = Text(delimiter.join(["a", "b c", "d", "e"]) + "\n" + delimiter.join("1234"), complete=True)
    assert text.headers()[0].delimiter == delimiter
    assert text.headers()[0].names == ("a", "b c", "d", "e")


def test_quotes_in_the_header():
    header = Text('"a, b", "c ""d""","e\nf"\r\n1,2,3\r\n', complete=True).header(",")
    assert header is not None
    assert header.names == ("a, b", 'c "d"', "e\nf")


@pytest.mark.parametrize(
    ("text", "skip"),
    [
        ("a,b\n1,2\n", 1),
        ("a,b\n\r\n1,2\r\n", 2),
        ("a,b\n\r\n  \r\n1,2\r\n", 3),
        ("\n\r\na,b\n1,2\n", 3),
        ('"a\n\nx",b\n\n1,2\n', 2),  # a quoted line end does not make another record
        ("a,b\n1,2\n\n\n3,4\n", 1),
    ],
)
def test_what_stands_before_the_first_record(text: str, skip: int):
    sample = Text(text, complete=True).sample(",", has_header=True)
    assert sample.skip_records == skip
    assert sample.records[0].fields == ["1", "2"]


def test_blank_lines_before_records_without_a_header():
    sample = Text("\n\n1,2\n3,4\n", complete=True).sample(",", has_header=False)
    assert sample.skip_records == 2
    assert [record.line for record in sample.records] == [3, 4]


def test_a_million_blank_lines_before_the_header():
    text = Text("\n" * 1_000_000 + "a,b\n\n1,2\n", complete=True)
    sample = text.sample(",", has_header=True)
    assert (sample.skip_records, sample.records[0].line) == (1_000_002, 1_000_003)


def test_records_know_their_line():
    sample = Text('a,b\n"1\n1",2\n\n3,4\n', complete=True).sample(",", has_header=True)
    assert [(record.line, record.field(0)) for record in sample.records] == [(2, "1\n1"), (5, "3")]


def test_ragged_records_are_tolerated():
    assert rows("a,b\n1,2,,\n3\n4,5\n") == [["1", "2", "", ""], ["3"], ["4", "5"]]
    record = Text("a,b\n3\n", complete=True).sample(",", has_header=True).records[0]
    assert (record.field(0), record.field(1)) == ("3", "")


def test_the_last_line_of_a_head_is_left_out():
    assert rows("a,b\n1,2\n3,4", complete=False) == [["1", "2"]]
    assert rows("a,b\n1,2\n3,4", complete=True) == [["1", "2"], ["3", "4"]]


def test_a_record_cut_off_within_quotes_is_left_out():
    assert rows('a,b\n1,2\n3,"x\ny', complete=False) == [["1", "2"]]


def test_quotes_within_a_field_are_text():
    assert rows('a,b\n5" pipe,2\n3,4\n') == [['5" pipe', "2"], ["3", "4"]]


def test_the_sample_is_bounded():
    assert len(rows("a,b\n" + "1,2\n" * (SAMPLE_RECORDS + 5))) == SAMPLE_RECORDS


@pytest.mark.parametrize("text", ["a,b\n", "a,b", "a,b\r\n\r\n  \r\n", "\n\n"])
def test_no_data_rows(text: str):
    assert refusal(text)[0] == "no_data_rows"


class TestUnclosedQuote:
    def test_in_a_whole_file(self):
        code, message = refusal('a,b\n1,2\n3,"4\n5,6\n7,8\n')
        assert code == "unclosed_quote"
        assert message.startswith("Line 3, column 2:")

    def test_after_the_sample(self):
        assert refusal("a,b\n" + "1,2\n" * SAMPLE_RECORDS + '"3,4\n')[1].startswith(f"Line {SAMPLE_RECORDS + 2},")

    def test_line_of_the_quote_not_of_its_record(self):
        assert refusal('a,b\n"1\n1","2\n3\n4\n')[1].startswith("Line 3, column 2:")

    def test_in_a_head_that_it_fills(self):
        text = 'a,b\n1,"2\n' + "3,4\n" * OPEN_QUOTE_CHARACTERS
        assert refusal(text, complete=False)[0] == "unclosed_quote"
        assert refusal(text, complete=False)[1].startswith("Line 2")

    def test_in_the_header(self):
        assert refusal('a,"b\n1,2\n')[1].startswith("Line 1, column 2:")


class TestLoneReturns:
    @pytest.mark.parametrize("complete", [True, False])
    def test_a_file_with_nothing_else(self, complete: bool):
        code, message = refusal("a,b\r1,2\r3,4\r", complete=complete)
        assert code == "cr_line_ends"
        assert message.startswith("Line 1:")
        assert "tr '\\r' '\\n'" in message

    def test_quoted_fields(self):
        assert refusal('"a","b"\r"1","2"\r')[0] == "cr_line_ends"

    def test_below_a_good_header(self):
        code, message = refusal("a,b\n1,2\r3,4\r5,6\n")
        assert code == "cr_line_ends"
        assert message.startswith("Line 2:")

    def test_without_a_header(self):
        assert refusal("1,2\r3,4\r", has_header=False)[0] == "cr_line_ends"

    def test_one_within_a_field_is_left_to_the_row_rules(self):
        assert rows("a,b\n1\rx,2\n3,4\n")[1] == ["3", "4"]

    def test_within_quotes_it_is_text(self):
        assert rows('a,b\n"1\rx",2\n') == [["1\rx", "2"]]

    def test_doubled_ones_at_the_end(self):
        assert rows("a,b\r\r\n1,2\r\r\n") == [["1", "2"]]


@pytest.mark.parametrize("text", ["a" * 5000, "a,b\n" + "1" * 5000])
def test_no_record_ends_within_the_head(text: str):
    assert refusal(text, complete=False)[0] == "record_too_long"


def test_a_huge_field_on_one_line_is_no_unclosed_quote():
    assert rows(f'a,b\n"{"x" * 200_000}",2\n3,4\n')[1] == ["3", "4"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a,b\n1,2\n3,4\0\n", "Line 3, column 'b':"),
        ("a;b;c\n1;2\0;3\n", "Line 2, column 'b':"),
        ("a,b\0\n1,2\n", "Line 1, column 2:"),
        ("\0a,b\n1,2\n", "Line 1"),
        ("a,b\n\0,2\n", "Line 2, column 'a':"),
        ('a,b\n1,"x\ny\0"\n', "Line 3, column 'b':"),
        ("a,b\n1,2,\0\n", "Line 2, column 3:"),
    ],
)
def test_nul_bytes_are_refused_with_their_place(text: str, place: str):
    with pytest.raises(UploadRefused) as caught:
        Text(text, complete=True).refuse_nul(has_header=True)
    assert caught.value.code == "nul_bytes"
    assert str(caught.value).startswith(place)


def test_usual_width():
    text = Text("1,2,3\n4,5,6\n7,8\n\n", complete=True)
    assert text.usual_width(",") == (3, pytest.approx(2 / 3))
    assert text.usual_width(";") == (1, 1.0)


def outcome(read, delimiter: str, has_header: bool) -> object:
    try:
        sample = read(delimiter, has_header=has_header)
    except UploadRefused as refused:
        return str(refused)
    return sample.skip_records, list(sample.records), list(sample.column(1))


@settings(max_examples=500, deadline=None)
@given(
    st.text("a1,; \t\r\n\v\u2028", max_size=40),
    st.booleans(),
    st.booleans(),
    st.sampled_from([",", ";", "\t", "|", " "]),
)
def test_lines_without_quotes_are_the_records_that_the_parser_reads(text, complete, has_header, delimiter):
    try:
        read = Text(text, complete=complete)
    except UploadRefused:
        return
    parsed = outcome(read._parsed_sample, delimiter, has_header)
    assert outcome(read.sample, delimiter, has_header) == parsed


def test_a_long_field_is_a_fault_with_and_without_quotes_elsewhere():
    text = f"a,b\n{'x' * 200_000},2\n3,4\n"
    for written in (text, text + '"5",6\n'):
        sample = Text(written, complete=True).sample(",", has_header=True)
        assert [record.fault for record in sample.records][:2] == ["long_field", ""]
