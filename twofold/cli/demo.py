"""``twofold demo``: the whole workflow on a synthetic database."""

from pathlib import Path

import numpy as np

from twofold.cli.output import (
    EXPLAIN,
    Report,
    history_lines,
    solution_json,
    stop_on_interrupt,
)
from twofold.cli.program import program_name
from twofold.cli.sources import check_overwrites_model, database_url
from twofold.data import Pairings
from twofold.datasets import PlaylistData, make_playlists
from twofold.evaluation import POPULAR, evaluate
from twofold.exceptions import InvalidInputError
from twofold.io import read_sql, write_names, write_sql
from twofold.model import FactorModel, Ranking
from twofold.solvers import ALS
from twofold.splits import split_pairs, split_rows

__all__ = ["demo"]

_TOP = 20
_TASTES = ("rock", "pop", "jazz", "folk", "soul", "metal", "disco", "blues")


def demo(
    report: Report,
    *,
    folder: Path = Path("twofold-demo"),
    playlists: int = 2_000,
    tracks: int = 1_000,
    rng: int = 0,
    n_threads: int | None = None,
) -> None:
    """Make playlists with planted tastes, train on them from SQL, and complete new ones.

    Parameters
    ----------
    folder : Path, default twofold-demo
        Folder of demo.db and demo.twofold; created if it is missing.
    playlists : int, default 2000
        Number of playlists to make.
    tracks : int, default 1000
        Number of tracks to make.
    rng : int, default 0
        Seed of all random numbers.
    n_threads : int, optional
        Number of threads; by default all available ones.
    """
    path, saved = folder / "demo.db", folder / "demo.twofold"
    check_overwrites_model(saved)
    data, pairings = _make_data(folder, playlists, tracks, rng, report)
    parts = split_rows(pairings, validation=0.0, test=0.2, rng=rng)
    report.show(
        f"2. Read it: {pairings.n_pairs:,} pairs. {parts.test.shape[0]:,} playlists are held out."
    )
    solver = ALS(
        n_factors=16, max_epochs=10, rng=rng, n_threads=n_threads, progress=report.progress
    )
    model = FactorModel(solver=solver)
    with stop_on_interrupt() as stop:
        model.fit(parts.train, callback=stop)
    report.show("3. Trained by alternating least squares. The objective after each epoch:")
    report.show("\n".join(history_lines(model.solution)))
    report.show(EXPLAIN)
    scores = _complete_playlists(data, parts.test, model, rng, report)
    model.save(saved)
    report.show(f"5. The model is in {saved}. Try:")
    program = program_name()
    report.show(f"   {program} fold-in {saved} {path} --where 'pid <= 3'")
    report.show(f"   {program} similar {saved} {path} --track 1")
    report.show(f"   {program} evaluate {saved} {path}")
    report.show_json(
        {"database": str(path), "model": str(saved), **scores, **solution_json(model.solution)}
    )


def _make_data(
    folder: Path, playlists: int, tracks: int, rng: int, report: Report
) -> tuple[PlaylistData, Pairings]:
    """Generate playlists, write them to a database and read it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"cannot create the folder {str(folder)!r}: {error}") from error
    data = make_playlists(playlists, tracks, rng=rng)
    path = folder / "demo.db"
    url = database_url(str(path), create=True)
    write_sql(data.pairings, url, if_exists="replace")
    names = {track: _name(data, track) for track in data.pairings.col_ids.tolist()}
    write_names(names, url, if_exists="replace")
    report.show(
        f"1. Made {path}: {playlists:,} playlists with one or two of 8 planted tastes each."
    )
    return data, read_sql(url, progress=report.progress)


def _name(data: PlaylistData, track: int) -> str:
    return f"{_TASTES[data.track_groups[track - 1]]} {track}"


def _complete_playlists(
    data: PlaylistData, test: Pairings, model: FactorModel, rng: int, report: Report
) -> dict[str, float]:
    """Recommend tracks for the test playlists; return the scores."""
    split = split_pairs(test, fraction=0.2, rng=rng)
    judged = evaluate(model, split, ["recall"], _TOP)
    recall, popular = judged[f"recall@{_TOP}"], judged[POPULAR, f"recall@{_TOP}"]
    ranking = model.recommend(split.seen, _TOP)
    tastes = _share_of_taste(data, ranking)
    report.show(
        f"4. Folded in {test.shape[0]:,} held-out playlists, with a fifth of each hidden. Among "
        f"{_TOP} recommended tracks are\n   {recall:.0%} of the hidden ones (most popular "
        f"tracks: {popular:.0%}), and {tastes:.0%} belong to the tastes of the playlist."
    )
    _show_examples(data, split.seen, ranking, report)
    return {"recall": recall, "recall_of_popular": popular, "share_of_own_tastes": tastes}


def _share_of_taste(data: PlaylistData, ranking: Ranking) -> float:
    """Return the share of the recommended tracks in one of the playlist's groups."""
    groups = data.playlist_groups[ranking.row_ids - 1]
    tracks = data.track_groups[np.where(ranking.mask, ranking.col_ids, 1) - 1]
    own = (tracks[:, :, None] == groups[:, None, :]).any(axis=2)
    return float(own[ranking.mask].mean())


def _show_examples(data: PlaylistData, visible: Pairings, ranking: Ranking, report: Report) -> None:
    for row in range(min(2, visible.shape[0])):
        playlist = int(visible.row_ids[row])
        tastes = "/".join(_TASTES[taste] for taste in np.unique(data.playlist_groups[playlist - 1]))
        found = [_name(data, track) for track in ranking.col_ids[row, :5].tolist() if track > 0]
        report.show(f"   playlist {playlist} ({tastes}): {', '.join(found)}, ...")
