"""``twofold fit``."""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from twofold.cli.options import OptionError
from twofold.cli.output import (
    EXPLAIN,
    Report,
    check_folder,
    history_lines,
    solution_json,
    stop_on_interrupt,
)
from twofold.cli.sources import (
    Reading,
    check_is_model,
    check_overwrites_model,
    readers_of_parts,
)
from twofold.distributed.als import DaskALS
from twofold.distributed.engine import connected
from twofold.distributed.pairs import ClusterPairings
from twofold.exceptions import DivergenceWarning, InvalidInputError
from twofold.model import FactorModel
from twofold.model.description import describe
from twofold.objective import Balanced, Objective
from twofold.plot.figures import check_picture
from twofold.solvers import ALS, Solution, Solver, Status

__all__ = ["fit", "show_training", "trained", "training_json"]


def fit(
    read: Reading,
    objective: Objective | Balanced,
    solver: Solver,
    report: Report,
    *,
    output: Path = Path("model.twofold"),
    checkpoint: Path | None = None,
    resume: Path | None = None,
    plot: Path | None = None,
    scheduler: str | None = None,
    parts: bool = False,
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
    plot : Path, optional
        Picture of the objective over epochs and seconds to write (.png, .svg, .pdf).
    scheduler : str, optional
        Address of a Dask scheduler, such as tcp://host:8786, whose workers train the model (als).
    parts : bool, default False
        Let the workers of --scheduler read the files of the folder SOURCE. The model then
        serves new playlists, and has no trained ones.
    """
    if scheduler is not None:
        solver = _on_cluster(solver)
    elif parts:
        raise OptionError("--parts needs --scheduler")
    model = FactorModel(objective, replace(solver, progress=report.progress))
    if isinstance(objective, Objective):
        solver.validate(objective)
    for path in filter(None, (output, checkpoint, plot)):
        check_folder(path)
    for path in filter(None, (output, checkpoint)):
        check_overwrites_model(path)
    if plot is not None:
        check_picture(plot)
    init = None
    if resume is not None:
        check_is_model(resume)
        init = Solution.load(resume, mmap=getattr(solver, "array_folder", None) is not None)
    pairings = ClusterPairings(readers_of_parts(read)) if parts else read(progress=report.progress)
    with stop_on_interrupt() as stop, nullcontext() if scheduler is None else connected(scheduler):
        trained(lambda: model.fit(pairings, init, stop, checkpoint=checkpoint))
    solution = model.solution
    model.save(output, serving=parts)
    if plot is not None:
        solution.plot(plot)
    show_training(model, report)
    end = solution.message
    if stop.requested:
        end = f"Stopped by Ctrl-C after epoch {solution.n_epochs}."
    picture = "" if plot is None else f" The picture is in {plot}."
    report.show(f"{end} The model is in {output}.{picture}")
    used = _used_objective(model)
    if used.data == "ones" and not used.unobserved_weight:
        report.show(
            "All targets are 1 and unobserved pairs have no weight. For recommendations, use "
            "--preset balanced."
        )
    files = {"model": str(output), "plot": None if plot is None else str(plot)}
    report.show_json(files | training_json(model))


def _on_cluster(solver: Solver) -> Solver:
    """Return the same solver for a cluster."""
    if type(solver) is not ALS:
        raise OptionError("--scheduler is for --solver als")
    return DaskALS(**{one.name: getattr(solver, one.name) for one in fields(ALS)})


def trained(fit: Callable[[], FactorModel]) -> FactorModel:
    """Return the model of a fit.

    Raises
    ------
    InvalidInputError
        If the fit diverged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergenceWarning)  # raised as an error below
        model = fit()
    if model.solution.status is Status.DIVERGED:
        raise InvalidInputError(
            f"the fit diverged and no model was written. {model.solution.message}"
        )
    return model


def show_training(model: FactorModel, report: Report) -> None:
    """Print the sizes of the data, the objective and the history."""
    report.show(", ".join(f"{count:,} {name}" for name, count in _counts(model).items()))
    report.show(f"Objective: {_used_objective(model)}")
    report.show("\n".join(history_lines(model.solution)))
    report.show(EXPLAIN)


def training_json(model: FactorModel) -> dict[str, Any]:
    """Return the JSON fields of a training."""
    terms = {"terms": describe(_used_objective(model))}
    return _counts(model) | terms | solution_json(model.solution)


def _counts(model: FactorModel) -> dict[str, int]:
    sizes = len(model.solution.row_factors), len(model.col_factors)
    counts = dict(zip(("playlists", "tracks"), sizes, strict=True))
    return counts | ({"pairs": model.pairings.n_pairs} if hasattr(model, "pairings") else {})


def _used_objective(model: FactorModel) -> Objective:
    """Return the objective that was minimised."""
    objective = model.objective
    assert isinstance(objective, Objective)  # as the model is fitted
    return objective
