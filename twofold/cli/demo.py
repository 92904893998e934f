"""``twofold demo``: the whole path on a database that it makes itself."""

from pathlib import Path

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import URL

from twofold.cli.output import (
    EXPLAIN,
    Report,
    history_lines,
    solution_json,
    stop_on_interrupt,
)
from twofold.cli.sources import database_url
from twofold.data import Pairings
from twofold.datasets import PlaylistData, make_playlists
from twofold.evaluation import POPULAR, evaluate
from twofold.exceptions import InvalidInputError
from twofold.io import read_sql, write_sql
from twofold.model import FactorModel, Ranking
from twofold.solvers import ALS
from twofold.splits import split_pairs, split_rows

__all__ = ["demo"]

_LENGTH = 20  # of the lists of recommendations
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
        Folder of demo.db and demo.twofold; made if it is missing.
    playlists : int, default 2000
        How many playlists to make.
    tracks : int, default 1000
        How many tracks to make.
    rng : int, default 0
        Seed of everything random.
    n_threads : int, optional
        Threads; by default all that the process may use.
    """
    made, pairings = _made(folder, playlists, tracks, rng, report)
    parts = split_rows(pairings, validation=0.0, test=0.2, rng=rng)
    report.say(
        f"2. Read it: {pairings.n_pairs:,} pairs. {parts.test.shape[0]:,} playlists are kept aside."
    )
    solver = ALS(
        n_factors=16, max_epochs=10, rng=rng, n_threads=n_threads, progress=report.progress
    )
    model = FactorModel(solver=solver)
    with stop_on_interrupt() as stop:
        model.fit(parts.train, callback=stop)
    report.say("3. Trained by exact alternating least squares. The objective after each epoch:")
    report.say("\n".join(history_lines(model.solution)))
    report.say(EXPLAIN)
    scores = _completed(made, parts.test, model, rng, report)
    path, saved = folder / "demo.db", folder / "demo.twofold"
    model.save(saved)
    report.say(f"5. The model is in {saved}. Try:")
    report.say(f"   twofold fold-in {saved} {path} --where 'pid <= 3'")
    report.say(f"   twofold evaluate {saved} {path}")
    report.finish(
        {"database": str(path), "model": str(saved), **scores, **solution_json(model.solution)}
    )


def _made(
    folder: Path, playlists: int, tracks: int, rng: int, report: Report
) -> tuple[PlaylistData, Pairings]:
    """Make the playlists and the database, and read it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"cannot make the folder {str(folder)!r}: {error}") from error
    made = make_playlists(playlists, tracks, rng=rng)
    path = folder / "demo.db"
    url = database_url(str(path), create=True)
    write_sql(made.pairings, url, if_exists="replace")
    _write_names(made, url)
    report.say(f"1. Made {path}: {playlists:,} playlists with one or two of 8 planted tastes each.")
    return made, read_sql(url, progress=report.progress)


def _name(made: PlaylistData, track: int) -> str:
    return f"{_TASTES[made.track_groups[track - 1]]} {track}"


def _write_names(made: PlaylistData, url: URL) -> None:
    """Write the table tracks(tid, name)."""
    tracks = sa.Table(
        "tracks", sa.MetaData(), sa.Column("tid", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
    )  # fmt: skip
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        tracks.drop(connection, checkfirst=True)
        tracks.create(connection)
        tids = made.pairings.col_ids.tolist()
        names = [{"tid": tid, "name": _name(made, tid)} for tid in tids]
        connection.execute(sa.insert(tracks), names)
    engine.dispose()


def _completed(
    made: PlaylistData, test: Pairings, model: FactorModel, rng: int, report: Report
) -> dict[str, float]:
    """Complete playlists that were not trained on; return the scores."""
    split = split_pairs(test, fraction=0.2, rng=rng)
    judged = evaluate(model, split, ["recall"], _LENGTH)
    recall, popular = judged["recall@20"], judged[POPULAR, "recall@20"]
    ranking = model.recommend(split.seen, _LENGTH)
    tastes = _share_of_taste(made, ranking)
    report.say(
        f"4. Folded the {test.shape[0]:,} kept playlists in, a fifth of each hidden. Among "
        f"{_LENGTH} recommended tracks are\n   {recall:.0%} of the hidden ones (most popular "
        f"tracks: {popular:.0%}), and {tastes:.0%} are of the playlist's own tastes."
    )
    _show_examples(made, split.seen, ranking, report)
    return {"recall": recall, "recall_of_popular": popular, "share_of_own_tastes": tastes}


def _share_of_taste(made: PlaylistData, ranking: Ranking) -> float:
    """Share of the recommended tracks that belong to one of the playlist's groups."""
    groups = made.playlist_groups[ranking.row_ids - 1]
    tracks = made.track_groups[np.where(ranking.mask, ranking.col_ids, 1) - 1]
    own = (tracks[:, :, None] == groups[:, None, :]).any(axis=2)
    return float(own[ranking.mask].mean())


def _show_examples(made: PlaylistData, seen: Pairings, ranking: Ranking, report: Report) -> None:
    for row in range(min(2, seen.shape[0])):
        playlist = int(seen.row_ids[row])
        tastes = "/".join(_TASTES[taste] for taste in np.unique(made.playlist_groups[playlist - 1]))
        found = [_name(made, track) for track in ranking.col_ids[row, :5].tolist() if track > 0]
        report.say(f"   playlist {playlist} ({tastes}): {', '.join(found)}, ...")
