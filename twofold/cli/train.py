"""``twofold fit`` and ``twofold tune``."""

import warnings
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from twofold.cli.options import OptionError, options_of
from twofold.cli.output import (
    EXPLAIN,
    Report,
    check_folder,
    history_lines,
    solution_json,
    stop_on_interrupt,
)
from twofold.cli.sources import Reading, check_is_model
from twofold.exceptions import DivergenceWarning, InvalidInputError
from twofold.model import FactorModel
from twofold.model.description import describe
from twofold.objective import Balanced, Objective
from twofold.solvers import Solution, Solver, Status
from twofold.splits import split_rows
from twofold.tuning import grid_search

__all__ = ["fit", "tune"]


def fit(
    read: Reading,
    objective: Objective | Balanced,
    solver: Solver,
    report: Report,
    *,
    output: Path = Path("model.twofold"),
    checkpoint: Path | None = None,
    resume: Path | None = None,
) -> None:
    """Train a model on the pairs of SOURCE and write it to a file.

    Ctrl-C stops after the current epoch and writes the model. If the fit diverges, an error is
    raised and no model is written.

    Parameters
    ----------
    output : Path, default model.twofold
        File to write the model to.
    checkpoint : Path, optional
        File to save the state to after every epoch.
    resume : Path, optional
        Checkpoint to continue from, up to --max-epochs epochs in total.
    """
    model = FactorModel(objective, replace(solver, progress=report.progress))
    if isinstance(objective, Objective):
        solver.validate(objective)
    for path in filter(None, (output, checkpoint)):
        check_folder(path)
    init = None
    if resume is not None:
        check_is_model(resume)
        init = Solution.load(resume)
    pairings = read(progress=report.progress)
    with stop_on_interrupt() as stop, warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergenceWarning)  # raised as an error below
        model.fit(pairings, init, stop, checkpoint=checkpoint)
    solution = model.solution
    if solution.status is Status.DIVERGED:
        raise InvalidInputError(f"the fit diverged and no model was written. {solution.message}")
    model.save(output)
    counts = dict(zip(("playlists", "tracks"), pairings.shape, strict=True))
    counts["pairs"] = pairings.n_pairs
    report.show(", ".join(f"{count:,} {name}" for name, count in counts.items()))
    used = objective.for_data(pairings.matrix, pairings.weights)
    report.show(f"Objective: {used}")
    report.show("\n".join(history_lines(solution)))
    report.show(EXPLAIN)
    end = solution.message
    if stop.requested:
        end = f"Stopped by Ctrl-C after epoch {solution.n_epochs}."
    report.show(f"{end} The model is in {output}.")
    if used.data == "ones" and not used.unobserved_weight:
        report.show(
            "All targets are 1 and unobserved pairs have no weight. For recommendations, use "
            "--preset balanced."
        )
    report.show_json(
        {"model": str(output), **counts, "terms": describe(used)} | solution_json(solution)
    )


def tune(
    read: Reading,
    objective: Objective | Balanced,
    solver: Solver,
    report: Report,
    *,
    grid: list[str],
    score: Literal["total", "loss", "recall"] = "total",
    validation: float = 0.15,
    test: float = 0.15,
) -> None:
    """Try every combination of a grid of parameters and print them, best first.

    Each model is trained on the training playlists. The validation playlists are folded in and
    evaluated. Ctrl-C prints the finished trials.

    Parameters
    ----------
    grid : list of str
        Values to try for an option of the solver or the objective, as NAME=V1,V2,...; can be
        repeated. NAME is the name of the option without leading dashes, such as n-factors.
    score : {"total", "loss", "recall"}, default "total"
        Score of the ranking: total or loss of the validation playlists, or recall for 1 - Recall@20
        of a fifth of their pairs, which is comparable across objectives.
    validation : float, default 0.15
        Share of the playlists for validation.
    test : float, default 0.15
        Share of the playlists to exclude for a later test.
    """
    plain = objective if isinstance(objective, Objective) else Objective()
    values = _grid(grid, solver, plain)
    pairings = read(progress=report.progress)
    if pairings.weights is not None:
        raise OptionError("--weight-column is not supported by tune")
    parts = split_rows(pairings, validation=validation, test=test, rng=solver.rng)
    result = grid_search(
        solver, objective, parts.train, parts.validation, values, score=score,
        progress=report.progress,
    )  # fmt: skip
    report.show(str(result))
    if not result.complete:
        report.show("Interrupted: only the finished trials are listed.")
    elif np.isfinite(result[0].score):
        best = ", ".join(f"{name}={item}" for name, item in result[0].parameters.items())
        report.show(f"Best: {best}")
    solver_fields = {field.name for field in fields(solver)}
    if score != "recall" and not solver_fields.issuperset(values):
        report.show(
            "The scores are values of different objectives, so the lowest does not imply the best "
            "recommendations. Use --score recall to compare them."
        )
    trials = [dict(vars(trial)) for trial in result]
    trials = [trial.pop("parameters") | trial for trial in trials]
    report.show_json({"complete": result.complete, "trials": trials})
    if not result.complete:
        raise KeyboardInterrupt
    _ = result.best  # raises if no trial succeeded


def _grid(items: list[str], solver: Solver, objective: Objective) -> dict[str, list[Any]]:
    """Return the values of a grid, by the names of `grid_search`."""
    options_by_name = options_of(type(solver), skip=("progress",)) | options_of(type(objective))
    for part in ("loss", "regularizer"):
        options = options_of(type(getattr(objective, part)))
        options_by_name |= {f"{part}.{name}": option for name, option in options.items()}
    grid: dict[str, list[Any]] = {}
    for item in items:
        text, equals, values = item.partition("=")
        if not equals or not values:
            raise OptionError(f"--grid {item}: write it as NAME=V1,V2,...")
        name = text.strip().replace("-", "_")
        key = next((key for key in options_by_name if name in (key, key.rpartition(".")[2])), None)
        if key is None:
            names = ", ".join(key.rpartition(".")[2] for key in options_by_name).replace("_", "-")
            raise OptionError(f"--grid {item}: there is no {text!r}, but there are {names}")
        if key in grid:
            raise OptionError(f"--grid {text} is given twice: write {text}=V1,V2,...")
        grid[key] = [options_by_name[key].parse(value.strip()) for value in values.split(",")]
    return grid
