"""Bytes to text: UTF-8, with or without a byte-order mark. Anything else is refused with the fix."""

import codecs

from h3_pipeline.errors import UploadRefused

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark begins it
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_PEEK = 4096


def decode(data: bytes, *, complete: bool) -> str:
    """Decode the first bytes of a file.

    Args:
        data: The bytes, decompressed.
        complete: Whether they are the whole file; if not, a character cut off at their end is no fault.

    Returns:
        The text without its byte-order mark. Line ends are as in the file.

    Raises:
        UploadRefused: ``undecodable``; the message names the command that mends the file.
    """
    charset = _wide_charset(data)
    if charset:
        raise UploadRefused("undecodable", f"The file is in {charset}, not UTF-8; {_convert_from(charset)}")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=complete)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        # Windows keeps letters and signs where Latin-1 has control characters
        charset = "WINDOWS-1252" if any(0x80 <= byte <= 0x9F for byte in data) else "ISO-8859-1"
        raise UploadRefused(
            "undecodable",
            f"Line {line}: byte 0x{data[error.start]:02X} is not UTF-8; if the file is in Latin-1 or a charset"
            f" like it, {_convert_from(charset)}",
        ) from None


def _wide_charset(data: bytes) -> str | None:
    """Name of the UTF-16 or UTF-32 charset that the data is in, if it is."""
    for mark, charset in _MARKS:
        if data.startswith(mark):
            return charset
    # Without a mark, text in a Latin script shows as a NUL in every other byte.
    peek = data[: _PEEK - _PEEK % 2]
    half = len(peek) // 2
    if half >= 2:
        if peek[1::2].count(0) > 0.7 * half and peek[0::2].count(0) < 0.1 * half:
            return "UTF-16LE"
        if peek[0::2].count(0) > 0.7 * half and peek[1::2].count(0) < 0.1 * half:
            return "UTF-16BE"
    return None


def _convert_from(charset: str) -> str:
    return f"convert it with: iconv -f {charset} -t UTF-8 FILE > FILE.utf8.csv"
