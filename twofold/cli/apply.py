"""``twofold fold-in`` and ``twofold evaluate``."""

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
from twofold.metrics import ndcg_at_k, precision_at_k, r_precision, recall_at_k
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

    The model is not changed. Tracks that it does not contain are dropped and counted. The factors
    of a playlist without known tracks are zero.

    Parameters
    ----------
    output : Path, optional
        File (.npz) to write row_ids and row_factors to.
    top : int, default 10
        Number of tracks to recommend for each playlist.
    show : int, default 5
        Number of playlists to recommend tracks for.
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
    sample = pairings.take_rows(np.arange(min(show, pairings.shape[0])))
    ranking = list(model.recommend(sample, top)) if top and sample.shape[0] else []
    report.show(
        f"{folded.row_ids.size:,} playlists folded in; {folded.n_dropped_pairs:,} pairs with "
        f"{folded.n_dropped_cols:,} unknown tracks dropped; {folded.n_empty_rows:,} playlists "
        "without known tracks have zero factors"
    )
    for playlist, found in ranking:
        tracks = ", ".join(str(track) for track, _ in found)
        nothing = "none, because no track of it is known or it contains all tracks"
        report.show(f"playlist {playlist}: {tracks or nothing}")
    if output is not None:
        report.show(f"The factors are in {output}.")
    report.show_json(
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
    """Evaluate a model: fold the playlists of SOURCE in and rank their held-out pairs.

    Prints the objective of the folded-in playlists, and recall, NDCG and precision at k and
    R-precision of the held-out pairs.

    Parameters
    ----------
    heldout_table : str, optional
        Table of the database SOURCE with the held-out pairs. By default, random pairs are hidden.
    hide : float, default 0.2
        Share of the pairs of each playlist to hide.
    k : int, default 20
        Length of the recommendation lists.
    rng : int, default 0
        Seed for choosing the hidden pairs.
    """
    check_whole(k, "k", 1)
    visible, relevant = _split(model, read, report, heldout_table, hide, rng)
    aligned = visible.align(model.pairings)  # Aligned once, so that ids are not converted again.
    folded = model.fold_in(aligned)
    objective = model.objective.value(
        aligned.matrix, folded.row_factors, model.col_factors, weights=aligned.weights
    )
    positions = model.recommend(aligned, k).positions
    longest = int(np.diff(relevant.indptr).max(initial=1))
    training_ids = set(model.row_ids.tolist())
    values = {
        "playlists": visible.shape[0],
        "trained_on": sum(row in training_ids for row in visible.row_ids.tolist()),
        "dropped_pairs": aligned.n_dropped_pairs,
        "empty_playlists": folded.n_empty_rows,
        "heldout_pairs": int(relevant.nnz),
        "loss": objective.loss,
        "unobserved": objective.unobserved,
        "penalty": objective.penalty,
        "total": objective.total,
        f"recall@{k}": recall_at_k(positions, relevant, k),
        f"ndcg@{k}": ndcg_at_k(positions, relevant, k),
        f"precision@{k}": precision_at_k(positions, relevant, k),
        "r-precision": r_precision(model.recommend(aligned, longest).positions, relevant),
    }
    for name, score in values.items():
        sample = f"{score:,.6g}" if isinstance(score, float) else f"{score:,}"
        report.show(f"{name:>16}  {sample}")
    if values["trained_on"]:
        report.show(
            "The model was trained on some of these playlists (compared by id); see trained_on."
        )
    report.show_json(values)


def _split(
    model: FactorModel,
    read: Reading,
    report: Report,
    heldout_table: str | None,
    hide: float,
    rng: int,
) -> tuple[Pairings, Any]:
    """Return the visible pairs and the matrix of the held-out pairs."""
    pairings = read(progress=report.progress)
    if heldout_table is None:
        visible, heldout = split_pairs(pairings, fraction=hide, rng=rng)
        return visible, heldout.align(model.col_ids).matrix
    try:
        heldout = read(progress=report.progress, table=heldout_table, max_rows=None)
    except OptionError as error:
        raise OptionError(str(error).replace("--table", "--heldout-table")) from error
    heldout = heldout.align(model.col_ids)
    common_ids = np.intersect1d(pairings.row_ids, heldout.row_ids)
    if not common_ids.size:
        raise InvalidInputError("the held-out table and the other table have no common playlist")
    visible = pairings.take_rows(pairings.row_index(common_ids))
    return visible, heldout.take_rows(heldout.row_index(common_ids)).matrix
