"""What a slice of the Million Playlist Dataset holds.

Worker processes import this module, so it imports little: neither numpy nor SQLAlchemy.
"""

import gc
import gzip
import hashlib
import json
import os
import pickle
import re
import sys
import zlib
from array import array
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from twofold.exceptions import FileFormatError, InvalidInputError

try:
    import orjson
except ImportError:  # the extra mpd-fast
    orjson = None  # type: ignore[assignment]

__all__ = [
    "NUMBERS",
    "PLAYLIST_FIELDS",
    "TRACK_FIELDS",
    "Numbers",
    "Slice",
    "parse_slice",
    "pid_clash",
    "serve",
]

# Our names, and those of the dataset. A value that a slice does not have is None.
TRACK_FIELDS = {
    "uri": "track_uri",
    "name": "track_name",
    "artist": "artist_name",
    "album": "album_name",
    "duration_ms": "duration_ms",
}
PLAYLIST_FIELDS = {
    "pid": "pid",
    "name": "name",
    "description": "description",
    "num_followers": "num_followers",
    "modified_at": "modified_at",
}
NUMBERS = ("pid", "duration_ms", "num_followers", "modified_at")
_LIMIT = 2**63

_FORGET = 500_000
"""Tracks after which a worker numbers anew: 100 MB."""

_ADVICE = "it is truncated or not a slice of the Million Playlist Dataset; copy it again"


class Numbers(dict[str, int]):
    """Numbers texts in the order in which they appear: one that is looked up and new gets the next.

    Parameters
    ----------
    known : dict of str to int
        Texts that have a number already; the next is above them all.
    """

    def __init__(self, known: dict[str, int]) -> None:
        super().__init__(known)
        self.next = max(known.values(), default=-1) + 1

    def __missing__(self, text: str) -> int:
        number = self[text] = self.next
        self.next += 1
        return number

    def forget(self, latest: list[str]) -> None:
        """Take back the latest numbers."""
        for text in latest:
            del self[text]
        self.next -= len(latest)


class Slice(NamedTuple):
    """What one file holds, in few large pieces, so that it passes quickly between processes."""

    playlists: dict[str, list[Any]]
    """A column for each of `PLAYLIST_FIELDS`."""
    tracks: dict[str, list[Any]]
    """A column for each of `TRACK_FIELDS`; only of tracks that had no number before."""
    start: int
    """The number of the first of these tracks; the others follow."""
    lengths: Any
    """Integers: how many tracks each playlist has."""
    codes: Any
    """Integers: the numbers of the tracks of all playlists, one after the other."""
    size: int
    """Bytes of the file."""
    digest: str
    """SHA-256 of the file, or empty if it was not asked for."""


def parse_slice(
    file: Path,
    numbers: Numbers,
    *,
    with_digest: bool = False,
    known: frozenset[str] = frozenset(),
) -> Slice:
    """Read one file, and number its tracks. Of a file whose digest is known, only that is given.

    Raises
    ------
    FileFormatError
        If the file is not a whole slice.
    InvalidInputError
        If it cannot be read.
    """
    try:
        blob = file.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"cannot read {str(file)!r}: {error.strerror or error}") from error
    digest = hashlib.sha256(blob).hexdigest() if with_digest else ""
    start = numbers.next
    read = _Reader(str(file), numbers)
    if digest not in known:
        text, unpacked = _unpacked(blob, str(file))
        if not read.one_by_one(text):
            read.add_all(_playlists(text, unpacked, str(file)))
    return Slice(read.playlists, read.tracks, start, read.lengths, read.codes, len(blob), digest)


class _Reader:
    """What was read of a slice so far.

    Of each playlist all that is wanted is taken at once: a parsed slice is far larger than the
    cache, so that every further pass would take as long as the first.
    """

    def __init__(self, file: str, numbers: Numbers) -> None:
        self.file = file
        self.numbers = numbers
        self._clear()

    def _clear(self) -> None:
        self.pids: set[int] = set()
        self.playlists: dict[str, list[Any]] = {name: [] for name in PLAYLIST_FIELDS}
        self.tracks: dict[str, list[Any]] = {name: [] for name in TRACK_FIELDS}
        self.lengths = array("i")
        self.codes = array("i")

    def one_by_one(self, text: bytes) -> bool:
        """Read a slice playlist by playlist, if that can be done; if not, nothing was read."""
        try:
            for index, playlist in enumerate(cut(text)):
                self.add(_loads(playlist), index)
        except (ValueError, RecursionError):  # to be explained as part of the whole
            self.numbers.forget(self.tracks["uri"])
            self._clear()
        return len(self.lengths) > 0

    def add_all(self, playlists: list[Any]) -> None:
        for index, playlist in enumerate(playlists):
            self.add(playlist, index)
            playlists[index] = None  # freed while it is in the cache

    def add(self, playlist: Any, index: int) -> None:
        pid = playlist.get("pid") if isinstance(playlist, dict) else None
        if not isinstance(pid, int) or isinstance(pid, bool) or not -_LIMIT < pid < _LIMIT:
            raise FileFormatError(
                f"playlist number {index} in {self.file!r} has no 'pid' that is a whole number"
            )
        if pid in self.pids:
            raise pid_clash(pid, self.file, self.file)
        self.pids.add(pid)
        _append(self.playlists, [playlist], PLAYLIST_FIELDS)
        tracks = playlist.get("tracks")
        if not isinstance(tracks, list):
            raise FileFormatError(f"playlist {pid} in {self.file!r} has no list 'tracks'")
        try:
            uris = list(map(_URI, tracks))
        except (KeyError, TypeError):
            uris = [None]
        if not set(map(type, uris)) <= {str}:
            raise FileFormatError(f"a track of playlist {pid} in {self.file!r} has no 'track_uri'")
        next_code = self.numbers.next
        codes = list(map(self.numbers.__getitem__, uris))
        self.lengths.append(len(codes))
        self.codes.extend(codes)
        if next_code == self.numbers.next:
            return
        new = []
        for code, track in zip(codes, tracks, strict=True):
            if code == next_code:
                next_code += 1
                new.append(track)
        _append(self.tracks, new, TRACK_FIELDS)


_URI = itemgetter("track_uri")


def pid_clash(pid: int, first: str, second: str) -> FileFormatError:
    """Return the error that two files, or two places in one, have the same playlist id."""
    return FileFormatError(
        f"playlist {pid} is in {first!r} and again in {second!r}: leave one of the two out"
    )


def _append(
    table: dict[str, list[Any]], items: list[dict[str, Any]], fields: dict[str, str]
) -> None:
    for name, key in fields.items():
        column = [item.get(key) for item in items]
        if name in NUMBERS:
            table[name] += map(_number, column)
        elif set(map(type, column)) <= {str}:
            table[name] += column
        else:
            table[name] += map(_text, column)


def _number(value: Any) -> int | None:
    """Return the whole number of 64 bits that a value is or spells."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if -_LIMIT < number < _LIMIT else None


def _text(value: Any) -> str | None:
    """Return a text, or a number as one; not beyond 64 bits, where orjson rounds."""
    if isinstance(value, int | float):
        return str(value) if -_LIMIT < value < _LIMIT else None
    return value if isinstance(value, str) else None


_BEGIN = re.compile(rb'"playlists"\s*:\s*\[(\s*\n\s*)\{')
_NEXT = re.compile(rb"\s*,\s*(?=\{)")
_MARK = "twofold: playlist "


def cut(text: bytes) -> list[memoryview]:
    """Cut a slice into the texts of its playlists; return none where it is not certain how.

    Parsed one by one they fit into the cache, which takes a third less time than a whole slice. The
    dataset is indented, so a playlist ends at a brace that is indented as the one it begins with.
    That the cuts are right shows in what is left: with a mark for each playlist it is a JSON object
    whose playlists are just these marks. So if each text is JSON, the slice is what they make up.
    """
    begin = _BEGIN.search(text)
    if begin is None:
        return []
    end = begin[1] + b"}"
    view = memoryview(text)
    texts: list[memoryview] = []
    rest: list[bytes] = []
    done, start = 0, begin.end() - 1
    while True:
        # A bracket is found at once, being rare; from that of the tracks it is not far to the end.
        bracket = text.find(b"]", start)
        while bracket > 0 and text[bracket - 1] not in b"[ \t\r\n":
            bracket = text.find(b"]", bracket + 1)
        stop = text.find(end, bracket) + len(end) if bracket > 0 else -1
        if stop < start:
            return []
        texts.append(view[start:stop])
        rest.append(text[done:start])
        done = stop
        following = _NEXT.match(text, stop)
        if following is None:
            break
        start = following.end()
    rest.append(text[done:])
    if _MARK.encode() in b"".join(rest):
        return []
    marks = [f"{_MARK}{number}" for number in range(len(texts))]
    quoted = chain((f'"{mark}"'.encode() for mark in marks), [b""])
    around = _loads(b"".join(chain.from_iterable(zip(rest, quoted, strict=True))))
    return texts if isinstance(around, dict) and around.get("playlists") == marks else []


def _playlists(blob: bytes, unpacked: str, name: str) -> list[Any]:
    """Parse what a file holds, and return its list of playlists."""
    try:
        slice_ = _loads(blob)
    except UnicodeDecodeError as error:
        raise FileFormatError(
            f"{name!r} is not UTF-8 text at byte {error.start} of {len(blob)}{unpacked}: {_ADVICE}"
        ) from error
    except json.JSONDecodeError as error:
        offset = len(error.doc[: error.pos].encode("utf-8"))
        problem = error.msg.removesuffix(" starting at")
        raise FileFormatError(
            f"{name!r} is not complete JSON ({problem} at byte {offset} of {len(blob)}{unpacked}): "
            f"{_ADVICE}"
        ) from error
    except RecursionError as error:
        raise FileFormatError(f"{name!r} is nested too deeply: {_ADVICE}") from error
    found = slice_.get("playlists") if isinstance(slice_, dict) else None
    if not isinstance(found, list):
        raise FileFormatError(
            f"{name!r} has no list 'playlists': it is not a slice of the Million Playlist Dataset"
        )
    return found


def _unpacked(blob: bytes, name: str) -> tuple[bytes, str]:
    """Return the JSON text of a file that may be gzip, and what to call its bytes."""
    if not blob.startswith(b"\x1f\x8b"):  # JSON cannot begin so
        return blob, ""
    try:
        return gzip.decompress(blob), " when unpacked"
    except (EOFError, OSError, zlib.error) as error:
        raise FileFormatError(f"{name!r} is not a whole gzip file ({error}): {_ADVICE}") from error


def _loads(blob: bytes | memoryview) -> Any:
    """Parse JSON as the standard library does, by orjson if that is installed and accepts it.

    What orjson refuses is left to the standard library: it allows more (NaN, lone surrogates, long
    numbers), and its errors are the same on every machine.
    """
    if orjson is not None:
        try:
            return orjson.loads(blob)
        except orjson.JSONDecodeError:
            pass
    text = str(blob, "utf-8")
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # more digits than Python turns into an int
        return json.loads(text, parse_int=_whole)


def _whole(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        return float(digits)  # beyond 64 bits anyhow


def serve() -> None:
    """Be a worker: take files from standard input, answer each by a slice, and end if one fails.

    Tracks are numbered through all slices of the worker, so each is sent only once; but not in more
    memory than needed for the tracks that are common.
    """
    gc.disable()  # what JSON consists of has no cycles
    numbers = Numbers({})
    try:
        files, options = pickle.load(sys.stdin.buffer)
        for file in files:
            if len(numbers) > _FORGET:
                numbers = Numbers({})
            slice_ = parse_slice(file, numbers, **options)
            pickle.dump(slice_, sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)
            sys.stdout.buffer.flush()
    except Exception:
        os._exit(1)  # without a word: who wanted the slice will try itself, or has gone
