"""``twofold recommend``, ``twofold similar``, ``twofold explain`` and ``twofold submit``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from twofold._common.checks import check_whole
from twofold.cli.names import LISTS, Names, list_lines, ranking_json, track_json, track_text
from twofold.cli.options import OptionError, join_words
from twofold.cli.output import Report, check_folder
from twofold.cli.sources import Reading, database_url
from twofold.data import Pairings
from twofold.io import write_submission
from twofold.model import FactorModel, write_recommendations

__all__ = ["explain", "recommend", "similar", "submit"]


def recommend(
    model: FactorModel,
    names: Names,
    report: Report,
    *,
    row: list[str] | None = None,
    track: list[str] | None = None,
    top: int = 10,
    fallback: Literal["popular"] | None = None,
    output: Path | None = None,
    into: str | None = None,
    table: str | None = None,
) -> None:
    """Recommend tracks for playlists of a model, or for a new playlist.

    With --into, those for all playlists of the model are written to a table of a database, block by
    block: repeat the command to continue after an interrupt.

    Parameters
    ----------
    row : list of str, optional
        Id of a playlist that the model was trained on; can be repeated. By default, all of them
        with --output or --json.
    track : list of str, optional
        Id of a track of a new playlist; can be repeated. Not with --row.
    top : int, default 10
        Number of tracks to recommend for each playlist.
    fallback : {"popular"}, optional
        Recommend the most popular tracks for playlists without known tracks.
    output : Path, optional
        File to write the recommendations to: .csv, .csv.gz or .parquet.
    into : str, optional
        Database to write the recommendations for all playlists to: an SQLAlchemy URL or the path of
        an SQLite file.
    table : str, optional
        Table for --into, by default recommendations, with the columns pid, place, tid and score,
        and name and artist if SOURCE is given.
    """
    check_whole(top, "top", 1)
    if into is not None:
        given = {"--row": row, "--track": track, "--output": output, "--fallback": fallback}
        table = "recommendations" if table is None else table
        _recommend_into(into, table, model, names, report, top, given)
        return
    if table is not None:
        raise OptionError("--table is the table to write: give its database by --into URL")
    if row and track:
        raise OptionError("--row and --track: give playlists of the model, or tracks of a new one")
    if not (row or track or output or report.json):
        raise OptionError(
            "give --row ID, --track ID, or --output FILE or --into URL for all playlists"
        )
    if output is not None:
        check_folder(output)
        if not output.name.lower().endswith(LISTS):
            raise OptionError(f"--output {output}: the name must end in {join_words(LISTS, 'or')}")
    n_unknown = 0
    if track:
        tracks = _ids("--track", track, model.col_ids)
        rows: Any = Pairings.from_arrays(["new"] * len(tracks), tracks)
        n_unknown = rows.align(model.col_ids).n_dropped_pairs
    else:
        rows = _ids("--row", row, model.row_ids) if row else model.row_ids
    ranking = model.recommend(rows, top, fallback=fallback)
    known = names.look_up(ranking.col_ids[ranking.mask])
    if n_unknown:
        report.show(f"unknown tracks dropped: {n_unknown}")
    if row or track:
        for (playlist, found), is_fallback in zip(ranking, ranking.fallback, strict=True):
            note = " (the most popular tracks)" * bool(is_fallback) or ": none" * (not found)
            report.show(f"playlist {playlist}{note}")
            report.show_lines(list_lines(found, known))
    if output is not None:
        write_recommendations(ranking, output, names=known or None, if_exists="replace")
        report.show(f"The recommendations of {ranking.row_ids.size:,} playlists are in {output}.")
    report.show_json(
        {
            "unknown_tracks": n_unknown,
            "output": None if output is None else str(output),
            "recommendations": list(ranking_json(ranking, known)),
        }
    )


def _recommend_into(
    into: str,
    table: str,
    model: FactorModel,
    names: Names,
    report: Report,
    top: int,
    others: Mapping[str, Any],
) -> None:
    """Write the recommendations for all playlists to a database, or the rest of them."""
    excluded = [flag for flag, value in others.items() if value is not None]
    if excluded:
        raise OptionError(
            f"{excluded[0]} and --into: leave one of them out, because --into writes the "
            "recommendations for all playlists of the model"
        )
    target = database_url(into, create=True)
    n_playlists = model.row_ids.size
    known = names.look_up(model.col_ids)
    write_recommendations(model, target, table, n=top, names=known or None, if_exists="resume")
    shown = target.render_as_string() if "://" in into else into
    report.show(
        f"The recommendations for {n_playlists:,} playlists are in the table {table} of {shown}."
    )
    report.show_json({"into": shown, "table": table, "playlists": n_playlists})


def similar(
    model: FactorModel, names: Names, report: Report, *, track: list[str], top: int = 10
) -> None:
    """List the tracks whose factors have the largest cosines with those of given tracks.

    Parameters
    ----------
    track : list of str
        Id of a track; can be repeated.
    top : int, default 10
        Number of similar tracks.
    """
    check_whole(top, "top", 1)
    ranking = model.similar_cols(_ids("--track", track, model.col_ids), top)
    known = names.look_up([*ranking.row_ids, *ranking.col_ids[ranking.mask]])
    for one, found in ranking:
        report.show(f"similar to {track_text(one, known)}")
        report.show_lines(list_lines(found, known))
    lists = [
        track_json(entry.pop("playlist"), known) | {"similar": entry["tracks"]}
        for entry in ranking_json(ranking, known)
    ]
    report.show_json({"tracks": lists})


def explain(
    model: FactorModel, names: Names, report: Report, *, row: str, track: str, top: int = 10
) -> None:
    """Explain the prediction of a track for a playlist by the tracks of the playlist.

    With squared loss and an L2 penalty, the prediction of the folded-in playlist is a sum with a
    term for each of its tracks. The largest terms are printed.

    Parameters
    ----------
    row : str
        Id of a playlist that the model was trained on.
    track : str
        Id of a track of the model.
    top : int, default 10
        Number of terms to print.
    """
    check_whole(top, "top", 1)
    (playlist,) = _ids("--row", [row], model.row_ids)
    (predicted,) = _ids("--track", [track], model.col_ids)
    terms = model.explain(playlist, predicted, n=model.col_ids.size)
    total, shown = sum(term for _, term in terms), terms[:top]
    known = names.look_up([predicted, *(one for one, _ in shown)])
    report.show(
        f"playlist {playlist}, {track_text(predicted, known)}: the prediction is {total:.4g}, a "
        f"sum over {len(terms):,} tracks. Its largest terms:"
    )
    report.show_lines(list_lines(shown, known))
    report.show_json(
        {"playlist": playlist, **track_json(predicted, known), "prediction": total,
         "terms": [track_json(one, known) | {"score": term} for one, term in shown]}
    )  # fmt: skip


def submit(
    model: FactorModel,
    read: Reading,
    report: Report,
    *,
    team: str,
    email: str,
    output: Path = Path("submission.csv.gz"),
) -> None:
    """Write a submission to the Million Playlist Dataset Challenge.

    SOURCE is the challenge set, challenge_set.json. The model must have been trained with track
    URIs as ids, for instance on the slices. Each playlist is completed by 500 tracks; those without
    known seed tracks get the most popular ones.

    Parameters
    ----------
    team : str
        Name of the team.
    email : str
        Address of the team.
    output : Path, default submission.csv.gz
        File to write.
    """
    check_folder(output)
    seeds = read(progress=report.progress)
    ranking = model.recommend(seeds, 500, fallback="popular")
    write_submission(output, team, email, ranking, seeds)
    counts = {"playlists": ranking.row_ids.size, "fallback": int(ranking.fallback.sum())}
    report.show(
        f"{counts['playlists']:,} playlists are in {output}; {counts['fallback']:,} of them have "
        "the most popular tracks, because none of their tracks is known."
    )
    report.show_json({"output": str(output), **counts})


def _ids(flag: str, texts: Sequence[str], ids: NDArray[Any]) -> list[Any]:
    """Return typed ids in the type of the model's ids."""
    if ids.dtype == object:
        return list(texts)
    try:
        return [int(text) for text in texts]
    except ValueError:
        raise OptionError(
            f"{flag} {', '.join(texts)}: the ids of the model are whole numbers"
        ) from None
