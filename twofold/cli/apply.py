"""``twofold fold-in`` and ``twofold evaluate``: a model and playlists."""

from pathlib import Path
from typing import Any

import numpy as np

from twofold._common.checks import check_whole
from twofold.cli.options import OptionError
from twofold.cli.output import Report, check_folder
from twofold.cli.sources import Reading
from twofold.data import Pairings
from twofold.data.files import replaced
from twofold.exceptions import InvalidInputError
from twofold.metrics import judge, ndcg_at_k, precision_at_k, r_precision, recall_at_k
from twofold.model import FactorModel
from twofold.splits import split_pairs

__all__ = ["evaluate", "fold_in"]


def fold_in(
    model: FactorModel,
    read: Reading,
    report: Report,
    *,
    output: Path | None = None,
    top: int = 10,
    show: int = 5,
) -> None:
    """Fold the playlists of SOURCE into a model and recommend tracks for them.

    The model does not change. Tracks that are not in it are left out and counted; a playlist
    without a known track gets zeros.

    Parameters
    ----------
    output : Path, optional
        File (.npz) to write row_ids and row_factors to.
    top : int, default 10
        How many tracks to recommend for each playlist.
    show : int, default 5
        For how many playlists to recommend tracks.
    """
    check_whole(top, "top", 0)
    check_whole(show, "show", 0)
    if output is not None:
        check_folder(output)
    pairings = read(progress=report.progress)
    folded = model.fold_in(pairings)
    if output is not None:
        ids = folded.row_ids
        with replaced(output) as file:
            np.savez(
                file,
                row_ids=ids.astype(str) if ids.dtype == object else ids,
                row_factors=folded.row_factors,
            )
    shown = pairings.take_rows(np.arange(min(show, pairings.shape[0])))
    ranking = list(model.recommend(shown, top)) if top and shown.shape[0] else []
    report.say(
        f"{folded.row_ids.size:,} playlists folded in; {folded.n_dropped_pairs:,} pairs with "
        f"{folded.n_dropped_cols:,} unknown tracks left out; {folded.n_empty_rows:,} playlists "
        "have no known track and are zero"
    )
    for playlist, found in ranking:
        tracks = ", ".join(str(track) for track, _ in found)
        nothing = "nothing, as no track of it is known or it has all of them"
        report.say(f"playlist {playlist}: {tracks or nothing}")
    if output is not None:
        report.say(f"The factors are in {output}.")
    report.finish(
        {
            "playlists": folded.row_ids.size,
            "dropped_pairs": folded.n_dropped_pairs,
            "unknown_tracks": folded.n_dropped_cols,
            "empty_playlists": folded.n_empty_rows,
            "output": None if output is None else str(output),
            "recommendations": [
                {"playlist": playlist, "tracks": [track for track, _ in found]}
                for playlist, found in ranking
            ],
        }
    )


def evaluate(
    model: FactorModel,
    read: Reading,
    report: Report,
    *,
    heldout_table: str | None = None,
    hide: float = 0.2,
    k: int = 20,
    rng: int = 0,
) -> None:
    """Score a model: fold the playlists of SOURCE in and look for the pairs that were held out.

    Prints the objective of the folded-in playlists and, of the held-out pairs, Recall, NDCG and
    precision at k and R-precision.

    Parameters
    ----------
    heldout_table : str, optional
        Table of SOURCE, a database, with the pairs to find. By default some are hidden.
    hide : float, default 0.2
        Share of each playlist's pairs to hide.
    k : int, default 20
        Length of the lists that are scored.
    rng : int, default 0
        Seed of what is hidden.
    """
    check_whole(k, "k", 1)
    seen, relevant = _split(model, read, report, heldout_table, hide, rng)
    known = seen.align(model.pairings)  # once: ids are not looked up again below
    folded = model.fold_in(known)
    objective = model.objective.value(
        known.matrix, folded.row_factors, model.col_factors, weights=known.weights
    )
    longest = int(np.diff(relevant.indptr).max(initial=k))
    judged = judge(model.recommend(known, longest).positions, relevant)
    trained = set(model.row_ids.tolist())
    values = {
        "playlists": seen.shape[0],
        "trained_on": sum(row in trained for row in seen.row_ids.tolist()),
        "dropped_pairs": known.n_dropped_pairs,
        "empty_playlists": folded.n_empty_rows,
        "heldout_pairs": int(relevant.nnz),
        "loss": objective.loss,
        "unobserved": objective.unobserved,
        "penalty": objective.penalty,
        "total": objective.total,
        f"recall@{k}": recall_at_k(judged, None, k),
        f"ndcg@{k}": ndcg_at_k(judged, None, k),
        f"precision@{k}": precision_at_k(judged, None, k),
        "r-precision": r_precision(judged, None),
    }
    for name, score in values.items():
        shown = f"{score:,.6g}" if isinstance(score, float) else f"{score:,}"
        report.say(f"{name:>16}  {shown}")
    if values["trained_on"]:
        report.say(
            "The model was trained on some of these playlists (by their ids): see trained_on."
        )
    report.finish(values)


def _split(
    model: FactorModel,
    read: Reading,
    report: Report,
    heldout_table: str | None,
    hide: float,
    rng: int,
) -> tuple[Pairings, Any]:
    """Return the pairs that are shown to the model, and the matrix of those to find."""
    pairings = read(progress=report.progress)
    if heldout_table is None:
        seen, heldout = split_pairs(pairings, fraction=hide, rng=rng)
        return seen, heldout.align(model.col_ids).matrix
    try:
        heldout = read(progress=report.progress, table=heldout_table, max_rows=None)
    except OptionError as error:
        raise OptionError(str(error).replace("--table", "--heldout-table")) from error
    heldout = heldout.align(model.col_ids)
    both = np.intersect1d(pairings.row_ids, heldout.row_ids)
    if not both.size:
        raise InvalidInputError("the held-out table has no playlist that is in the other table")
    seen = pairings.take_rows(pairings.row_index(both))
    return seen, heldout.take_rows(heldout.row_index(both)).matrix
