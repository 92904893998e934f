"""``twofold demo``: the whole path on a database that it makes itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from twofold.cli import options as opt
from twofold.cli.output import (
    EXPLAIN,
    history_lines,
    say,
    solution_json,
    stop_on_interrupt,
    write_json,
)
from twofold.data.pairings import Pairings
from twofold.datasets import PlaylistData, make_playlists
from twofold.exceptions import InvalidInputError
from twofold.metrics import recall_at_k
from twofold.model import FactorModel, Ranking
from twofold.objective import L2, Objective
from twofold.solvers import ALS
from twofold.splits import split_pairs, split_rows

_HEARD = 20


def demo(
    folder: Annotated[
        Path, typer.Option(help="Where demo.db and demo.twofold go; made if it is missing.")
    ] = Path("twofold-demo"),
    playlists: Annotated[int, typer.Option(help="How many playlists to make.")] = 2_000,
    tracks: Annotated[int, typer.Option(help="How many tracks to make.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    n_threads: opt.Threads = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Make playlists with planted tastes, train on them from SQL, and complete new ones."""
    from twofold.io import read_sql, write_sql

    tell = (lambda text="": None) if as_json else say
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"cannot make the folder {str(folder)!r}: {error}") from error
    made = make_playlists(playlists, tracks, rng=seed)
    path = folder / "demo.db"
    database = opt.source_url(str(path))
    write_sql(made.pairings, database, if_exists="replace")
    tell(f"1. Made {path}: {playlists:,} playlists, each with one or two of 8 planted tastes.")

    pairings = read_sql(database, progress=not quiet)
    parts = split_rows(pairings, validation=0.0, test=0.2, rng=seed)
    tell(
        f"2. Read it: {pairings.n_pairs:,} pairs. {parts.test.shape[0]:,} playlists are kept aside."
    )

    objective = Objective(regularizer=L2(1.0), unobserved_weight=0.1)
    solver = ALS(n_factors=16, max_epochs=10, rng=seed, n_threads=n_threads, progress=not quiet)
    model = FactorModel(objective, solver)
    with stop_on_interrupt() as stop:
        model.fit(parts.train, callback=stop)
    tell("3. Trained by exact alternating least squares. The objective after each epoch:")
    tell("\n".join(history_lines(model.solution)))
    tell(EXPLAIN)

    seen, hidden = split_pairs(parts.test, fraction=0.2, rng=seed)
    ranking = model.recommend(seen, _HEARD)
    relevant = hidden.align(model.col_ids).matrix
    recall = recall_at_k(ranking.positions, relevant, _HEARD)
    popular = _popular(parts.train, seen)
    baseline = recall_at_k(popular, hidden.matrix, _HEARD)
    tastes = _share_of_taste(made, ranking)
    tell(
        f"4. Folded the {seen.shape[0]:,} kept playlists in, a fifth of each hidden. Among "
        f"{_HEARD} recommended tracks are\n   {recall:.0%} of the hidden ones (most popular "
        f"tracks: {baseline:.0%}), and {tastes:.0%} are of the playlist's own tastes."
    )
    _show_examples(made, seen, ranking, tell)
    saved = folder / "demo.twofold"
    model.save(saved)
    tell(f"5. The model is in {saved}. Try:")
    tell(f"   twofold fold-in {saved} {path} --where 'pid <= 3'")
    tell(f"   twofold evaluate {saved} {path}")
    if as_json:
        write_json(
            {
                "database": str(path),
                "model": str(saved),
                "recall": recall,
                "recall_of_popular": baseline,
                "share_of_own_tastes": tastes,
                **solution_json(model.solution),
            }
        )


def _popular(train: Pairings, seen: Pairings) -> np.ndarray:
    """Positions of the most popular tracks that each playlist does not have, padded with -1."""
    counts = np.bincount(train.matrix.indices, minlength=train.shape[1])
    order = np.argsort(-counts, kind="stable")
    lists = np.full((seen.shape[0], _HEARD), -1)
    for row in range(seen.shape[0]):
        has = seen.matrix.indices[seen.matrix.indptr[row] : seen.matrix.indptr[row + 1]]
        fresh = order[~np.isin(order, has)][:_HEARD]
        lists[row, : fresh.size] = fresh
    return lists


def _share_of_taste(made: PlaylistData, ranking: Ranking) -> float:
    """Share of the recommended tracks that belong to one of the playlist's groups."""
    groups = made.playlist_groups[ranking.row_ids - 1]
    tracks = made.track_groups[np.where(ranking.mask, ranking.col_ids, 1) - 1]
    own = (tracks[:, :, None] == groups[:, None, :]).any(axis=2)
    return float(own[ranking.mask].mean())


def _show_examples(
    made: PlaylistData, seen: Pairings, ranking: Ranking, tell: Callable[[str], None]
) -> None:
    for row in range(min(2, seen.shape[0])):
        playlist = int(seen.row_ids[row])
        tastes = "/".join(str(taste) for taste in np.unique(made.playlist_groups[playlist - 1]))
        found = [
            f"{track} (taste {made.track_groups[track - 1]})"
            for track in ranking.col_ids[row, :5].tolist()
            if track > 0
        ]
        tell(f"   playlist {playlist} (taste {tastes}): {', '.join(found)}, ...")
