"""JSON files, JSON lines, and their errors."""

import gzip
import json
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

from twofold.exceptions import FileFormatError

try:
    import orjson
except ImportError:  # the extra mpd-fast
    orjson = None  # type: ignore[assignment]

__all__ = ["parse_documents"]


def parse_documents(content: bytes, path: str) -> Iterator[Any]:
    """Yield the JSON document of a file, or one document of each line.

    The content is UTF-8 text, with or without a byte order mark, and may be compressed by gzip.

    Raises
    ------
    FileFormatError
        If it is not JSON, naming the path and the byte.
    """
    text, unpacked = _text(content, path)
    first = text.find(b"\n")
    lines = text[:first].rstrip()[-1:] + text[first : first + 99].lstrip()[:1] == b"}{"
    start = 0
    for line in BytesIO(text) if lines else [text]:
        if not line.isspace():
            yield _parse(line, start, f"{len(text)}{unpacked}", path)
        start += len(line)


def _text(content: bytes, path: str) -> tuple[bytes, str]:
    """Return the text, and a note for the numbers of its bytes."""
    text, unpacked = content, ""
    if content.startswith(b"\x1f\x8b"):
        try:
            text, unpacked = gzip.decompress(content), " when unpacked"
        except (EOFError, OSError, zlib.error) as error:
            raise FileFormatError(
                f"{path!r} is not a whole gzip file ({error}): copy it again"
            ) from error
    if text.startswith(BOM_UTF8):
        text = text.replace(BOM_UTF8, b"   ", 1)  # other bytes keep their numbers
    start = text[:1000].lstrip()[:20]
    if not text or text.isspace():
        problem = "is empty: copy it again"
    elif text.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        problem = "is UTF-16 text: convert it to UTF-8"
    elif start[:1] not in b"{[":
        shown = str(start, "utf-8", "backslashreplace")
        problem = (
            f"is not JSON, because it begins with {shown!r}: give another file; read_csv, "
            "read_parquet and read_sql read tables of pairs"
        )
    else:
        return text, unpacked
    raise FileFormatError(f"{path!r} {problem}")


def _parse(text: bytes, start: int, size: str, path: str) -> Any:
    """Parse JSON that begins at byte `start` of a file.

    The standard library parses what orjson refuses: it accepts more (NaN, lone surrogates, long
    numbers), and its errors do not depend on what is installed.
    """
    try:
        if orjson is not None:
            with suppress(orjson.JSONDecodeError):
                return orjson.loads(text)
        return json.loads(str(text, "utf-8"))
    except (ValueError, RecursionError) as error:
        problem = f"cannot be parsed ({error}): give another file"
        if isinstance(error, UnicodeDecodeError):
            place = f"at byte {start + error.start} of {size}"
            problem = f"is not UTF-8 text {place}: convert it to UTF-8, or copy it again"
            if error.reason == "unexpected end of data":
                problem = f"ends within a character {place}: it is truncated; copy it again"
        elif isinstance(error, json.JSONDecodeError):
            reason = error.msg.removesuffix(" starting at").removesuffix(" at")
            place = f"at byte {start + len(error.doc[: error.pos].encode())} of {size}"
            advice = "it is truncated or damaged; copy it again"
            if reason == "Extra data":
                advice = "give one document, or one on each line"
            problem = f"is not complete JSON ({reason} {place}): {advice}"
        raise FileFormatError(f"{path!r} {problem}") from error
