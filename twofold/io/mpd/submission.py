"""`write_submission`: recommendations as a file for the Million Playlist Dataset Challenge."""

import gzip
import os
import re
from collections.abc import Iterable
from typing import Any

from twofold._common.atomic import replaced
from twofold._common.checks import check_path
from twofold.data.pairings import Pairings, check_pairings
from twofold.exceptions import InvalidInputError

__all__ = ["write_submission"]

_N_TRACKS = 500
_URI = re.compile("spotify:track:[0-9A-Za-z]{22}")


def write_submission(
    path: str | os.PathLike[str],
    team: str,
    email: str,
    ranking: Iterable[tuple[Any, Iterable[tuple[Any, float]]]],
    seeds: Pairings,
) -> None:
    """Write recommendations as a submission to the Million Playlist Dataset Challenge.

    The first line is ``team_info,team,email``. Then each playlist has a line with its pid and
    exactly 500 different track URIs, best first, none of which is one of its seed tracks.

    Parameters
    ----------
    path : str or path-like
        The file, which is compressed by gzip if its name ends in ``.gz``, as the challenge
        requires. One that exists is replaced, and stays as it is if writing fails.
    team, email : str
        Name of the team and address to contact, without commas and line breaks.
    ranking : Ranking, or iterable of (pid, iterable of (URI, score))
        Recommendations for each playlist, best first, such as ``model.recommend(seeds, n=500)``.
        Of more than 500 the first 500 are written.
    seeds : Pairings
        The challenge set, as `read_mpd` returns it: playlist ids and track URIs.

    Raises
    ------
    InvalidInputError
        If a playlist has fewer than 500 recommendations (a model has none for a playlist without
        known seed tracks: complete it by other tracks, for instance the most popular ones); has one
        twice, has one of its seed tracks or has an id that is not a track URI; or is missing, twice
        or not in `seeds`. The message names the playlist. Also if the team or email cannot be
        used or the file cannot be written.

    References
    ----------
    Submission format of https://www.aicrowd.com/challenges/spotify-million-playlist-dataset-challenge;
    "Challenge Set Readme", version 1, https://recsys-challenge.spotify.com/challenge_readme, whose
    first line had a fourth field, the track of RecSys Challenge 2018.

    Examples
    --------
    >>> seeds = Pairings.from_arrays([3], ["spotify:track:0000000000000000000000"])
    >>> tracks = [(f"spotify:track:{number:022d}", 1.0) for number in range(1, 501)]
    >>> write_submission("a.csv.gz", "us", "us@mail.org", [(3, tracks)], seeds)
    """
    check_path(path)
    check_pairings(seeds)
    for name, text in {"team": team, "email": email}.items():
        if not isinstance(text, str) or not text.strip() or re.search("[,\r\n]", text):
            raise InvalidInputError(
                f"{name} is {text!r}: give a text that is not empty, without commas and line breaks"
            )
    lines = [f"team_info,{team},{email}"]
    missing = dict.fromkeys(seeds.row_ids.tolist())
    position_of = {pid: position for position, pid in enumerate(missing)}
    indptr, indices = seeds.matrix.indptr, seeds.matrix.indices
    for pid, found in ranking:
        if pid not in missing:
            what = "has two lists" if pid in position_of else "is not in the challenge set"
            raise InvalidInputError(f"playlist {pid!r} {what}: give one for each of its playlists")
        del missing[pid]
        uris = [uri for uri, _ in found][:_N_TRACKS]
        row = position_of[pid]
        _check(pid, uris, seeds.col_ids[indices[indptr[row] : indptr[row + 1]]].tolist())
        lines.append(",".join([str(pid), *uris]))
    if missing:
        raise InvalidInputError(
            f"{len(missing)} playlists of the challenge set have no list, the first is "
            f"{next(iter(missing))!r}: give one for each"
        )
    content = "\n".join([*lines, ""]).encode("utf-8")
    if os.fspath(path).endswith(".gz"):
        content = gzip.compress(content, mtime=0)  # the same bytes at any time
    with replaced(path) as file:
        file.write(content)


def _check(pid: Any, uris: list[Any], seeds: list[Any]) -> None:
    """Raise unless the recommendations of a playlist satisfy the rules."""
    for uri in uris:
        if not (isinstance(uri, str) and _URI.fullmatch(uri)):
            raise InvalidInputError(
                f"playlist {pid!r} has the track {uri!r}: ids must be URIs, spotify:track: and 22 "
                "letters or digits, as read_mpd reads them"
            )
    known = set(uris)
    if len(known) < len(uris):
        twice = next(uri for uri in uris if uris.count(uri) > 1)
        raise InvalidInputError(f"playlist {pid!r} has the track {twice!r} twice: leave one out")
    both = known.intersection(seeds)
    if both:
        raise InvalidInputError(
            f"playlist {pid!r} has its seed track {min(both)!r} among the recommendations: leave "
            "it out, as recommend does with exclude_known=True"
        )
    if len(uris) < _N_TRACKS:
        raise InvalidInputError(
            f"playlist {pid!r} has {len(uris)} recommendations, but {_N_TRACKS} are required: "
            "complete its list, for instance by the most popular tracks that it does not have"
        )
