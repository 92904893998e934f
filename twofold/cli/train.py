"""``twofold fit``."""

import warnings
from dataclasses import replace
from pathlib import Path

from twofold._common.figures import check_picture
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

__all__ = ["fit"]


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
    """
    model = FactorModel(objective, replace(solver, progress=report.progress))
    if isinstance(objective, Objective):
        solver.validate(objective)
    for path in filter(None, (output, checkpoint, plot)):
        check_folder(path)
    if plot is not None:
        check_picture(plot)
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
    if plot is not None:
        solution.plot(plot)
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
    picture = "" if plot is None else f" The picture is in {plot}."
    report.show(f"{end} The model is in {output}.{picture}")
    if used.data == "ones" and not used.unobserved_weight:
        report.show(
            "All targets are 1 and unobserved pairs have no weight. For recommendations, use "
            "--preset balanced."
        )
    files = {"model": str(output), "plot": None if plot is None else str(plot)}
    report.show_json(files | counts | {"terms": describe(used)} | solution_json(solution))
