"""``twofold fit`` and ``twofold tune``."""

import warnings
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from twofold.cli import options as opt
from twofold.cli.output import (
    EXPLAIN,
    check_folder,
    history_lines,
    say,
    solution_json,
    stop_on_interrupt,
    write_json,
)
from twofold.exceptions import DivergenceWarning, InvalidInputError
from twofold.model import FactorModel
from twofold.solvers import Solution, Status
from twofold.splits import split_rows
from twofold.tuning import grid_search


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
    check_folder(output)
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
    if stop.asked:
        say(f"Stopped by Ctrl-C after epoch {solution.n_epochs}. The model is in {output}.")
    else:
        say(f"{solution.message} The model is in {output}.")
    if data == "ones" and not unobserved_weight:
        say(
            "Every pair counts as 1 and nothing says that others count less: for recommendations "
            "try --unobserved-weight 0.1 --weight 1."
        )


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
        str,
        typer.Option(
            help="What ranks: total or loss of the validation playlists; or recall: 1 - Recall@20 "
            "of a fifth of their pairs, which also compares different objectives."
        ),
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
        own = {field.name for field in fields(chosen)}
        if score != "recall" and not own.issuperset(values):
            say(
                "These are values of different objectives: the lowest is not the one that "
                "recommends best. --score recall compares them."
            )
    if result.complete:
        _ = result.best  # an error if no trial succeeded


def _parse_grid(items: list[str]) -> dict[str, list[Any]]:
    grid: dict[str, list[Any]] = {}
    for item in items:
        name, equals, texts = item.partition("=")
        if not equals or not texts:
            raise InvalidInputError(f"--grid {item}: write it as NAME=V1,V2,...")
        if name in grid:
            raise InvalidInputError(f"--grid {name} is given twice: write {name}=V1,V2,...")
        grid[name] = [opt.parse_value(text.strip()) for text in texts.split(",")]
    return grid
