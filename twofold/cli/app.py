"""The commands of ``twofold``."""

import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from twofold import __version__
from twofold.cli import options as opt
from twofold.cli.demo import demo
from twofold.cli.output import (
    EXPLAIN,
    history_lines,
    say,
    solution_json,
    stop_on_interrupt,
    write_json,
)
from twofold.exceptions import DivergenceWarning, InvalidInputError, TwofoldError
from twofold.metrics import ndcg_at_k, precision_at_k, r_precision, recall_at_k
from twofold.model import FactorModel
from twofold.solvers import Solution, Status
from twofold.splits import split_pairs, split_rows
from twofold.tuning import grid_search

app = typer.Typer(
    name="twofold",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Factorise playlists: train on (playlist, track) pairs from SQL, fold new playlists in, "
    "complete them.\n\nStart with: twofold demo",
)
app.command()(demo)


def run() -> None:
    """Run the command line: one line and exit code 2 for an error, 130 for an interrupt."""
    try:
        app(standalone_mode=False)
    except TwofoldError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("interrupted; nothing was written", 130)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except typer.Abort:
        _fail("interrupted; nothing was written", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of the output has gone, as `| head` does
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's usage errors have one
            raise
        _fail(f"{error.format_message()} (twofold --help shows how)", 2)


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"twofold: error: {' '.join(message.split())}\n")
    sys.exit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def fit(
    source: opt.Source,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the model goes.")] = Path(
        "model.twofold"
    ),
    checkpoint: Annotated[
        Path | None, typer.Option(help="Save the state here after every epoch.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on from a checkpoint, up to --max-epochs in all.")
    ] = None,
    solver: opt.SolverName = "als",
    n_factors: opt.NFactors = None,
    max_epochs: opt.MaxEpochs = None,
    learning_rate: opt.LearningRate = None,
    tol: opt.Tol = None,
    seed: opt.Seed = 0,
    n_threads: opt.Threads = None,
    dtype: opt.Dtype = None,
    more: opt.Set = None,
    loss: opt.LossName = "squared",
    delta: opt.Delta = 1.0,
    regularizer: opt.RegularizerName = "l2",
    weight: opt.Weight = 0.005,
    exponent: opt.Exponent = 0.0,
    data: opt.Data = "ones",
    unobserved_weight: opt.A0 = 0.0,
    unobserved: opt.Unobserved = "all",
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
    """Train a model on the pairs of SOURCE and write it to a file.

    Ctrl-C stops after the running epoch and still writes the model. A fit that diverged is an
    error: no model is written.
    """
    objective = opt.make_objective(
        loss, delta, regularizer, weight, exponent, data, unobserved_weight, unobserved
    )
    chosen = opt.make_solver(
        solver, more, n_factors=n_factors, max_epochs=max_epochs, learning_rate=learning_rate,
        tol=tol, rng=seed, n_threads=n_threads, dtype=dtype, progress=not quiet,
    )  # fmt: skip
    chosen.validate(objective)
    _check_folder(output)
    sql = opt.SqlOptions(table, row, col, value, where, max_rows, duplicates, on_null)
    pairings = opt.read_source(source, sql, progress=not quiet)
    init = None if resume is None else Solution.load(resume)
    model = FactorModel(objective, chosen)
    with stop_on_interrupt() as stop, warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergenceWarning)  # said as an error below
        model.fit(pairings, init, stop, checkpoint=checkpoint)
    solution = model.solution
    if solution.status is Status.DIVERGED:
        raise InvalidInputError(f"the fit diverged, no model was written. {solution.message}")
    model.save(output)
    if as_json:
        write_json(
            {
                "model": str(output),
                "playlists": pairings.shape[0],
                "tracks": pairings.shape[1],
                "pairs": pairings.n_pairs,
                **solution_json(solution),
            }
        )
        return
    say(
        f"{pairings.shape[0]:,} playlists, {pairings.shape[1]:,} tracks, {pairings.n_pairs:,} pairs"
    )
    say("\n".join(history_lines(solution)))
    say(EXPLAIN)
    say(f"{solution.message} The model is in {output}.")


def _check_folder(output: Path) -> None:
    """Say that the folder is missing before the work is done, not after."""
    if not output.parent.is_dir():
        raise InvalidInputError(f"the folder {str(output.parent)!r} does not exist: make it first")
    if output.is_dir():
        raise InvalidInputError(f"{str(output)!r} is a folder: give the name of a file")


@app.command("fold-in")
def fold_in(
    model: opt.Model,
    source: opt.Source,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write row_ids and row_factors to this .npz file."),
    ] = None,
    top: Annotated[int, typer.Option(help="Print this many recommendations for each.")] = 10,
    show: Annotated[int, typer.Option(help="For this many playlists.")] = 5,
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
    fitted = FactorModel.load(model)
    if output is not None:
        _check_folder(output)
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
        say(f"playlist {playlist}: " + ", ".join(str(track) for track, _ in found))
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


@app.command()
def evaluate(
    model: opt.Model,
    source: opt.Source,
    heldout_table: Annotated[
        str | None,
        typer.Option(help="Table of SOURCE with the pairs to find. (default: hide some)"),
    ] = None,
    hide: Annotated[
        float, typer.Option(help="Without it: share of each playlist's pairs to hide.")
    ] = 0.2,
    k: Annotated[int, typer.Option(help="Length of the lists that are judged.")] = 20,
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
    fitted = FactorModel.load(model)
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
    values = {
        "playlists": seen.shape[0],
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


def _same_rows(seen: Any, heldout: Any) -> tuple[Any, Any]:
    """Keep the rows that both have, in one order."""
    both = np.intersect1d(seen.row_ids, heldout.row_ids)
    if not both.size:
        raise InvalidInputError("the held-out table has no playlist that is in the other table")
    return (
        seen.take_rows(seen.row_index(both)),
        heldout.take_rows(heldout.row_index(both)).matrix,
    )


@app.command()
def tune(
    source: opt.Source,
    grid: Annotated[
        list[str],
        typer.Option(
            "--grid",
            help="Values to try, as NAME=V1,V2,...; repeatable. Names are fields of the solver, of "
            "the objective (unobserved_weight), or of its parts (regularizer.weight).",
        ),
    ],
    score: Annotated[
        str, typer.Option(help="Which part of the validation objective ranks: total or loss.")
    ] = "total",
    validation: Annotated[float, typer.Option(help="Share of the playlists to score on.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share of the playlists to leave alone.")] = 0.15,
    solver: opt.SolverName = "als",
    n_factors: opt.NFactors = None,
    max_epochs: opt.MaxEpochs = None,
    learning_rate: opt.LearningRate = None,
    tol: opt.Tol = None,
    seed: opt.Seed = 0,
    n_threads: opt.Threads = None,
    dtype: opt.Dtype = None,
    more: opt.Set = None,
    loss: opt.LossName = "squared",
    delta: opt.Delta = 1.0,
    regularizer: opt.RegularizerName = "l2",
    weight: opt.Weight = 0.005,
    exponent: opt.Exponent = 0.0,
    data: opt.Data = "ones",
    unobserved_weight: opt.A0 = 0.0,
    unobserved: opt.Unobserved = "all",
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
    """Try every combination of a grid; print them best first.

    Each one is trained on most of the playlists; the validation playlists are folded in and scored
    by the objective. Ctrl-C prints what has finished.
    """
    objective = opt.make_objective(
        loss, delta, regularizer, weight, exponent, data, unobserved_weight, unobserved
    )
    chosen = opt.make_solver(
        solver, more, n_factors=n_factors, max_epochs=max_epochs, learning_rate=learning_rate,
        tol=tol, rng=seed, n_threads=n_threads, dtype=dtype,
    )  # fmt: skip
    values = _parse_grid(grid)
    sql = opt.SqlOptions(table, row, col, value, where, max_rows, duplicates, on_null)
    pairings = opt.read_source(source, sql, progress=not quiet)
    parts = split_rows(pairings, validation=validation, test=test, rng=seed)
    result = grid_search(
        chosen, objective, parts.train, parts.validation, values, score=score, progress=not quiet
    )
    if as_json:
        trials = [
            {**trial.parameters, "score": trial.score, "train_total": trial.train_total,
             "seconds": trial.seconds, "status": trial.status, "message": trial.message}
            for trial in result
        ]  # fmt: skip
        write_json({"complete": result.complete, "trials": trials})
    else:
        say(str(result))
        if not result.complete:
            say("Interrupted: these are the trials that had finished.")
        elif np.isfinite(result[0].score):
            best = ", ".join(f"{name}={item}" for name, item in result[0].parameters.items())
            say(f"Best: {best}")
    if result.complete:
        _ = result.best  # an error if no trial succeeded


def _parse_grid(items: list[str]) -> dict[str, list[Any]]:
    grid: dict[str, list[Any]] = {}
    for item in items:
        name, equals, texts = item.partition("=")
        if not equals or not texts:
            raise InvalidInputError(f"--grid {item}: write it as NAME=V1,V2,...")
        grid[name] = [opt.parse_value(text.strip()) for text in texts.split(",")]
    return grid


@app.command("import-mpd")
def import_mpd(
    files: Annotated[
        list[str],
        typer.Argument(help="Slices (mpd.slice.*.json), folders or patterns.", metavar="FILES..."),
    ],
    url: Annotated[str, typer.Argument(help="Database to write.", metavar="URL")],
    replace: Annotated[bool, typer.Option(help="Replace tables that exist.")] = False,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Import slices of the Million Playlist Dataset into a database.

    Writes the tables pairings (pid, tid), tracks and playlists in one transaction.
    """
    from twofold.io import read_mpd, write_sql

    pairings = read_mpd(files, progress=not quiet)
    write_sql(pairings, opt.source_url(url), if_exists="replace" if replace else "error")
    values = {
        "playlists": pairings.shape[0],
        "tracks": pairings.shape[1],
        "pairs": pairings.n_pairs,
    }
    if as_json:
        write_json(values)
    else:
        say(", ".join(f"{count:,} {name}" for name, count in values.items()) + f" are in {url}")
