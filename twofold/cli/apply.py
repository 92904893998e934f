"""``twofold fold-in`` and ``twofold evaluate``: a model meets playlists."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from twofold.cli import options as opt
from twofold.cli.output import (
    check_folder,
    say,
    write_json,
)
from twofold.exceptions import InvalidInputError
from twofold.metrics import ndcg_at_k, precision_at_k, r_precision, recall_at_k
from twofold.splits import split_pairs


def fold_in(
    model: opt.Model,
    source: opt.Source,
    classes: opt.Classes = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write row_ids and row_factors to this .npz file."),
    ] = None,
    top: Annotated[int, typer.Option(help="Print this many recommendations for each.", min=0)] = 10,
    show: Annotated[int, typer.Option(help="For this many playlists.", min=0)] = 5,
    table: opt.Table = "pairings",
    row: opt.Row = "pid",
    col: opt.Col = "tid",
    value: opt.Value = None,
    where: opt.Where = None,
    max_rows: opt.MaxRows = None,
    duplicates: opt.Duplicates = "keep-one",
    on_null: opt.OnNull = "error",
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Fold the playlists of SOURCE into a model and recommend tracks for them.

    The model does not change. Tracks that it does not know are left out and counted; a playlist
    without a known track gets zeros.
    """
    fitted = opt.load_model(model, classes)
    if output is not None:
        check_folder(output)
    sql = opt.SqlOptions(table, row, col, value, where, max_rows, duplicates, on_null)
    pairings = opt.read_source(source, sql, progress=not quiet)
    folded = fitted.fold_in(pairings)
    if output is not None:
        _write_factors(output, folded.row_ids, folded.row_factors)
    shown = pairings.take_rows(np.arange(min(show, pairings.shape[0])))
    ranking: Iterable[Any] = ()
    if top > 0 and shown.shape[0]:
        ranking = fitted.recommend(shown, top)
    if as_json:
        write_json(
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
        return
    say(
        f"{folded.row_ids.size:,} playlists folded in; {folded.n_dropped_pairs:,} pairs with "
        f"{folded.n_dropped_cols:,} unknown tracks left out; {folded.n_empty_rows:,} playlists "
        "have no known track and are zero"
    )
    for playlist, found in ranking:
        tracks = ", ".join(str(track) for track, _ in found)
        say(f"playlist {playlist}: {tracks or 'no known track, so nothing to go by'}")
    if output is not None:
        say(f"The factors are in {output}.")


def _write_factors(output: Path, row_ids: Any, row_factors: Any) -> None:
    ids = row_ids.astype(str) if row_ids.dtype == object else row_ids
    temporary = output.with_name(f".{output.name}.tmp.npz")
    try:
        np.savez(temporary, row_ids=ids, row_factors=row_factors)
        temporary.replace(output)
    except OSError as error:
        raise InvalidInputError(f"cannot write {str(output)!r}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def evaluate(
    model: opt.Model,
    source: opt.Source,
    classes: opt.Classes = None,
    heldout_table: Annotated[
        str | None,
        typer.Option(help="Table of SOURCE with the pairs to find. (default: hide some)"),
    ] = None,
    hide: Annotated[
        float, typer.Option(help="Without it: share of each playlist's pairs to hide.")
    ] = 0.2,
    k: Annotated[int, typer.Option(help="Length of the lists that are judged.", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="Seed of what is hidden.")] = 0,
    table: opt.Table = "pairings",
    row: opt.Row = "pid",
    col: opt.Col = "tid",
    value: opt.Value = None,
    where: opt.Where = None,
    max_rows: opt.MaxRows = None,
    duplicates: opt.Duplicates = "keep-one",
    on_null: opt.OnNull = "error",
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Score a model: fold the playlists of SOURCE in and look for the pairs that were held out.

    Prints the objective of the folded-in playlists and, of the held-out pairs, Recall, NDCG and
    precision at k and R-precision.
    """
    fitted = opt.load_model(model, classes)
    sql = opt.SqlOptions(table, row, col, value, where, max_rows, duplicates, on_null)
    pairings = opt.read_source(source, sql, progress=not quiet)
    if heldout_table is None:
        seen, heldout = split_pairs(pairings, fraction=hide, rng=seed)
        relevant = heldout.align(fitted.col_ids).matrix
    else:
        seen = pairings
        held = opt.SqlOptions(heldout_table, row, col, value, where, None, duplicates, on_null)
        found = opt.read_source(source, held, progress=not quiet)
        seen, relevant = _same_rows(seen, found.align(fitted.col_ids))
    known = seen.align(fitted.col_ids)
    folded = fitted.fold_in(seen)
    objective = fitted.objective.value(known.matrix, folded.row_factors, fitted.col_factors)
    positions = fitted.recommend(seen, k).positions
    scores = {
        f"recall@{k}": recall_at_k(positions, relevant, k),
        f"ndcg@{k}": ndcg_at_k(positions, relevant, k),
        f"precision@{k}": precision_at_k(positions, relevant, k),
    }
    longest = int(np.diff(relevant.indptr).max(initial=1))
    scores["r-precision"] = r_precision(fitted.recommend(seen, longest).positions, relevant)
    trained = set(fitted.row_ids.tolist())
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
        **scores,
    }
    if as_json:
        write_json(values)
        return
    for name, score in values.items():
        say(f"{name:>16}  {score:,.6g}" if isinstance(score, float) else f"{name:>16}  {score:,}")
    if values["trained_on"]:
        say("The model was trained on some of these playlists (by their ids): see trained_on.")


def _same_rows(seen: Any, heldout: Any) -> tuple[Any, Any]:
    """Keep the rows that both have, in one order."""
    both = np.intersect1d(seen.row_ids, heldout.row_ids)
    if not both.size:
        raise InvalidInputError("the held-out table has no playlist that is in the other table")
    return (
        seen.take_rows(seen.row_index(both)),
        heldout.take_rows(heldout.row_index(both)).matrix,
    )
