"""``twofold recommend``, ``twofold similar``, ``twofold explain`` and ``twofold submit``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from twofold import distributed
from twofold._common.checks import check_whole
from twofold.cli.names import LISTS, Names, list_lines, ranking_json, track_json, track_text
from twofold.cli.options import OptionError, join_words
from twofold.cli.output import Report, check_folder
from twofold.cli.sources import Reading, database_url
from twofold.data import Pairings
from twofold.distributed.engine import connected
from twofold.io import write_submission
from twofold.io.names import TrackName
from twofold.model import FactorModel, Ranking, write_recommendations
from twofold.model.export import folder_of

__all__ = ["explain", "recommend", "similar", "submit", "write_table"]

IfExists = Literal["replace", "resume"]

_ENDINGS = f"; a file for some playlists ends in {join_words(LISTS, 'or')}"


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
    into_table: str | None = None,
    scheduler: str | None = None,
) -> None:
    """Recommend tracks for playlists of a model, or for a new playlist.

    With --into or a folder as --output, those for all playlists are written block by block: repeat
    the command to continue after an interrupt. With a source of pairs in place of MODEL, a model is
    trained first: see twofold recommend sqlite:///my.db --help.

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
        File to write the recommendations to (.csv, .csv.gz or .parquet), or a folder of Parquet
        files for all playlists (a name without an ending, or a folder that exists).
    into : str, optional
        Database to write the recommendations for all playlists to: an SQLAlchemy URL or the path of
        an SQLite file.
    into_table : str, optional
        Table for --into, by default recommendations, with the columns pid, place, tid and score,
        and name and artist if SOURCE is given.
    scheduler : str, optional
        Address of a Dask scheduler, such as tcp://host:8786, whose workers recommend and write
        with --into or a folder as --output.
    """
    check_whole(top, "top", 1)
    for_some = {"--row": row, "--track": track, "--fallback": fallback}
    if into is not None:
        _check_all_playlists("--into", for_some | {"--output": output})
        into_table = "recommendations" if into_table is None else into_table
        write_table(model, names, report, top, into, into_table, scheduler=scheduler)
        return
    if into_table is not None:
        raise OptionError("--into-table is the table to write: give its database by --into URL")
    if row and track:
        raise OptionError("--row and --track: give playlists of the model, or tracks of a new one")
    if not (row or track or output or report.json):
        raise OptionError(
            "give --row ID, --track ID, or --output FILE or --into URL for all playlists"
        )
    is_folder = output is not None and _is_folder(output)
    if scheduler is not None and not is_folder:
        raise OptionError("--scheduler is for all playlists: give --into URL, or --output FOLDER")
    if is_folder:
        _check_all_playlists(f"--output {output}", for_some, _ENDINGS)
    if output is not None and (is_folder or not (report.json or any(for_some.values()))):
        _write_file(model, names, report, top, output, is_folder, scheduler)
        return
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
        _show_lists(ranking, known, report)
    if output is not None:
        write_recommendations(ranking, output, names=known or None, if_exists="replace")
        report.show(f"The recommendations for {ranking.row_ids.size:,} playlists are in {output}.")
    report.show_json(
        {
            "unknown_tracks": n_unknown,
            "output": None if output is None else str(output),
            "recommendations": list(ranking_json(ranking, known)),
        }
    )


def _show_lists(ranking: Ranking, known: Mapping[Any, TrackName], report: Report) -> None:
    for (playlist, found), is_fallback in zip(ranking, ranking.fallback, strict=True):
        note = " (the most popular tracks)" * bool(is_fallback) or ": none" * (not found)
        report.show(f"playlist {playlist}{note}")
        report.show_lines(list_lines(found, known))


def _is_folder(output: Path) -> bool:
    """Return whether the output is a folder; raise if it is a file of another ending."""
    if folder_of(output) is not None:
        return True
    check_folder(output)
    if not output.name.lower().endswith(LISTS):
        raise OptionError(f"--output {output}: the name must end in {join_words(LISTS, 'or')}")
    return False


def _check_all_playlists(flag: str, others: Mapping[str, Any], advice: str = "") -> None:
    excluded = [other for other, value in others.items() if value is not None]
    if excluded:
        raise OptionError(
            f"{excluded[0]} and {flag}: leave one of them out, because the recommendations for all "
            f"playlists of the model are written{advice}"
        )


def write_table(
    model: FactorModel,
    names: Names,
    report: Report,
    top: int,
    into: str,
    table: str,
    values: Mapping[str, Any] = {},
    scheduler: str | None = None,
) -> None:
    """Write the recommendations for all playlists to a table, or the rest of them."""
    target = database_url(into, create=True)
    shown = target.render_as_string() if "://" in into else into
    n_playlists = _write_all(
        model, names, report, top, target, f"the table {table} of {shown}", "resume", scheduler,
        table,
    )  # fmt: skip
    written = {"into": shown, "table": table, "playlists": n_playlists}
    report.show_json(written | dict(values))


def _write_file(
    model: FactorModel,
    names: Names,
    report: Report,
    top: int,
    output: Path,
    is_folder: bool,
    scheduler: str | None,
) -> None:
    """Write the recommendations for all playlists to a file or a folder."""
    if_exists: IfExists = "resume" if is_folder else "replace"
    n_playlists = _write_all(model, names, report, top, output, str(output), if_exists, scheduler)
    report.show_json({"output": str(output), "playlists": n_playlists})


def _write_all(
    model: FactorModel,
    names: Names,
    report: Report,
    top: int,
    target: Any,
    place: str,
    if_exists: IfExists,
    scheduler: str | None,
    table: str = "recommendations",
) -> int:
    """Write the recommendations for all playlists, a block at a time; return their number."""
    known = names.look_up(model.col_ids) or None
    options: Any = {"table": table, "n": top, "names": known, "if_exists": if_exists}
    if scheduler is None:
        write_recommendations(model, target, **options)
    else:
        with connected(scheduler) as client:
            distributed.write_recommendations(
                model, target, client=client, progress=report.progress, **options
            )
    n_playlists: int = model.row_ids.size
    report.show(f"The recommendations for {n_playlists:,} playlists are in {place}.")
    return n_playlists


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
