"""``twofold fold-in`` and ``twofold evaluate``."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from twofold import distributed
from twofold._common.atomic import replaced
from twofold._common.checks import check_whole
from twofold.cli.names import LISTS, Names, ranking_json, track_text
from twofold.cli.options import OptionError
from twofold.cli.output import Report, check_folder
from twofold.cli.sources import Reading, check_is_model
from twofold.distributed.engine import connected
from twofold.evaluation import evaluate as judge_models
from twofold.exceptions import InvalidInputError
from twofold.model import FactorModel, FoldedRows, write_recommendations
from twofold.splits import PairSplit, split_pairs

__all__ = ["evaluate", "fold_in"]


def fold_in(
    model: FactorModel,
    read: Reading,
    names: Names,
    report: Report,
    *,
    output: Path | None = None,
    top: int = 10,
    show: int = 5,
    fallback: Literal["popular"] | None = None,
) -> None:
    """Fold the playlists of SOURCE into a model and recommend tracks for them.

    The model is not changed. Tracks that it does not contain are dropped and counted. The factors
    of a playlist without known tracks are zero.

    Parameters
    ----------
    output : Path, optional
        File to write the recommendations of all playlists to (.csv, .csv.gz or .parquet), or
        row_ids and row_factors (another name, by custom .npz).
    top : int, default 10
        Number of tracks to recommend for each playlist.
    show : int, default 5
        Number of playlists whose recommendations are printed; with --json, those of all are.
    fallback : {"popular"}, optional
        Recommend the most popular tracks for playlists without known tracks.
    """
    check_whole(top, "top", 0)
    check_whole(show, "show", 0)
    writes_lists = output is not None and output.name.lower().endswith(LISTS)
    if output is not None:
        check_folder(output)
    if writes_lists and not top:
        raise OptionError("--top 0: there are no recommendations to write")
    pairings = read(progress=report.progress)
    folded = model.fold_in(pairings)
    n_rows = pairings.shape[0]
    n_shown = min(show, n_rows) if top else 0
    n_ranked = n_rows * bool(top) if writes_lists or report.json else n_shown
    ranking = model.recommend(
        pairings.take_rows(np.arange(n_ranked)), max(top, 1), fallback=fallback
    )
    known = names.look_up(ranking.col_ids[ranking.mask])
    if output is not None and writes_lists:
        write_recommendations(ranking, output, names=known or None, if_exists="replace")
    elif output is not None:
        _write_factors(output, folded)
    report.show(
        f"{folded.row_ids.size:,} playlists folded in; {folded.n_dropped_pairs:,} pairs with "
        f"{folded.n_dropped_cols:,} unknown tracks dropped; {folded.n_empty_rows:,} playlists "
        "without known tracks have zero factors"
    )
    for playlist, found in islice(ranking, n_shown):
        tracks = ", ".join(track_text(track, known) for track, _ in found)
        nothing = "none, because no track of it is known or it contains all tracks"
        report.show(f"playlist {playlist}: {tracks or nothing}")
    if output is not None:
        report.show(f"The {'recommendations' if writes_lists else 'factors'} are in {output}.")
    report.show_json(
        {
            "playlists": folded.row_ids.size,
            "dropped_pairs": folded.n_dropped_pairs,
            "unknown_tracks": folded.n_dropped_cols,
            "empty_playlists": folded.n_empty_rows,
            "output": None if output is None else str(output),
            "recommendations": list(ranking_json(ranking, known)),
        }
    )


def _write_factors(output: Path, folded: FoldedRows) -> None:
    ids = folded.row_ids
    with replaced(output) as file:
        np.savez(
            file,
            row_ids=ids.astype(str) if ids.dtype == object else ids,
            row_factors=folded.row_factors,
        )


def evaluate(
    model: FactorModel,
    read: Reading,
    report: Report,
    *,
    beside: list[Path] | None = None,
    metrics: Sequence[str] = ("recall", "ndcg", "precision", "hit-rate", "r-precision"),
    k: int = 20,
    unknown: Literal["miss", "leave-out"] = "miss",
    heldout_table: str | None = None,
    hide: float = 0.2,
    rng: int = 0,
    scheduler: str | None = None,
) -> None:
    """Score models: fold the playlists of SOURCE in and look for the pairs that were held out.

    Prints a line for each model and one for the most popular tracks, and the objective of the
    folded-in playlists. With --metrics rmse,mae the pairs are predicted instead, and the last line
    is that of the mean value.

    Parameters
    ----------
    beside : list of Path, optional
        Another model to score on the same playlists; can be repeated.
    metrics : sequence of str, default recall,ndcg,precision,hit-rate,r-precision
        What to print, such as recall@20,map-min@10,coverage@20, a name without @ being taken at
        --k; or rmse,mae of predicted values.
    k : int, default 20
        Length of the lists that are scored.
    unknown : {"miss", "leave-out"}, default "miss"
        What becomes of held-out tracks that a model does not have, and of playlists without a
        known track: misses and zeros; or in no denominator.
    heldout_table : str, optional
        Table of the database SOURCE with the held-out pairs. By default, random pairs are hidden.
    hide : float, default 0.2
        Share of each playlist's pairs to hide.
    rng : int, default 0
        Seed for choosing the hidden pairs.
    scheduler : str, optional
        Address of a Dask scheduler, such as tcp://host:8786, whose workers score the models.
    """
    models = {"model": model}
    for path in beside or []:
        check_is_model(path)
        models[path.name if path.name not in models else str(path)] = FactorModel.load(path)
    split = _split(read, report, heldout_table, hide, rng)
    if scheduler is None:
        judged = judge_models(models, split, metrics, k, unknown=unknown)
    else:
        with connected(scheduler) as client:
            judged = distributed.evaluate(
                models, split, metrics, k,
                unknown=unknown, client=client, progress=report.progress,
            )  # fmt: skip
    value = model.value(split.seen)
    ids = set(model.row_ids.tolist())
    n_trained = sum(row in ids for row in split.seen.row_ids.tolist())
    report.show(str(judged))
    report.show(
        f"Objective of the folded-in playlists: loss {value.loss:,.6g}, unobserved "
        f"{value.unobserved:,.6g}, penalty {value.penalty:,.6g}, total {value.total:,.6g}."
    )
    if n_trained:
        report.show(f"The model was trained on {n_trained:,} of these playlists, by their ids.")
    report.show_json(
        {
            "playlists": split.seen.shape[0],
            "trained_on": n_trained,
            "objective": {**asdict(value), "total": value.total},
            "models": [
                {"model": name} | scores | asdict(judged.counts[name])
                for name, scores in judged.scores.items()
            ],
        }
    )


def _split(
    read: Reading, report: Report, heldout_table: str | None, hide: float, rng: int
) -> PairSplit:
    """Return the pairs that are given to the model, and those to find."""
    pairings = read(progress=report.progress)
    if heldout_table is None:
        return split_pairs(pairings, fraction=hide, rng=rng)
    try:
        heldout = read(progress=report.progress, table=heldout_table, max_rows=None)
    except OptionError as error:
        raise OptionError(str(error).replace("--table", "--heldout-table")) from error
    if pairings.row_ids.dtype != heldout.row_ids.dtype:
        raise InvalidInputError(
            "playlist ids are integers in one of the two tables and text in the other: give "
            "--id-type"
        )
    both = np.intersect1d(pairings.row_ids, heldout.row_ids)
    if not both.size:
        raise InvalidInputError("the held-out table has no playlist that is in the other table")
    n_others = heldout.row_ids.size - both.size
    if n_others:
        report.show(f"{n_others:,} playlists of the held-out table are not in SOURCE: left out.")
    parts = (part.take_rows(part.row_index(both)) for part in (pairings, heldout))
    return PairSplit(*parts)
