import codecs

import pytest

from h3_pipeline.errors import UploadRefused
from h3_pipeline.feeds.encoding import decode

TEXT = "started_at,name\r\n2014-04-01 00:00:00,Café №5\r\n"


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_utf8_with_or_without_mark(mark: bytes):
    assert decode(mark + TEXT.encode(), complete=True) == TEXT


def test_a_character_cut_off_at_the_end_of_a_head_is_no_fault():
    data = "a,é".encode()[:-1]
    assert decode(data, complete=False) == "a,"
    with pytest.raises(UploadRefused, match="Line 1"):
        decode(data, complete=True)


@pytest.mark.parametrize(
    ("codec", "mark", "fix"),
    [
        ("utf-16-le", codecs.BOM_UTF16_LE, "iconv -f UTF-16 -t UTF-8"),
        ("utf-16-be", codecs.BOM_UTF16_BE, "iconv -f UTF-16 -t UTF-8"),
        ("utf-32-le", codecs.BOM_UTF32_LE, "iconv -f UTF-32 -t UTF-8"),
        ("utf-32-be", codecs.BOM_UTF32_BE, "iconv -f UTF-32 -t UTF-8"),
        ("utf-16-le", b"", "iconv -f UTF-16LE -t UTF-8"),
        ("utf-16-be", b"", "iconv -f UTF-16BE -t UTF-8"),
        ("latin-1", b"", "iconv -f ISO-8859-1 -t UTF-8"),
    ],
)
def test_other_charsets_are_refused_with_the_fix(codec: str, mark: bytes, fix: str):
    with pytest.raises(UploadRefused) as caught:
        decode(mark + TEXT.replace("№", "§").encode(codec), complete=True)
    assert caught.value.code == "undecodable"
    assert fix in str(caught.value)


def test_the_place_and_the_byte_are_told():
    with pytest.raises(UploadRefused, match=r"Line 3: byte 0xFC .*iconv -f ISO-8859-1 "):
        decode(b"a,b\n1,2\n3,\xfc\n", complete=True)


def test_bytes_that_latin_1_does_not_use_mean_windows():
    with pytest.raises(UploadRefused, match="iconv -f WINDOWS-1252 "):
        decode(b"a,b\n1,\x93quoted\x94\n", complete=True)


def test_a_few_nul_bytes_do_not_make_utf_16():
    assert decode(b"a,b\n1,\x00\n", complete=True) == "a,b\n1,\0\n"
