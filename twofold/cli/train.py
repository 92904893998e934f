"""``twofold fit``."""

import warnings
from dataclasses import replace
from pathlib import Path

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
) -> None:
    """Train a model on the pairs of SOURCE and write it to a file.

    Ctrl-C stops after the running epoch and still writes the model. A fit that diverged is an
    error: no model is written.

    Parameters
    ----------
    output : Path, default model.twofold
        File to write the model to.
    checkpoint : Path, optional
        File to save the state to after every epoch.
    resume : Path, optional
        Checkpoint to continue from, up to --max-epochs in all.
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
        warnings.simplefilter("ignore", DivergenceWarning)  # an error below
        model.fit(pairings, init, stop, checkpoint=checkpoint)
    solution = model.solution
    if solution.status is Status.DIVERGED:
        raise InvalidInputError(f"the fit diverged, no model was written. {solution.message}")
    model.save(output)
    counts = dict(zip(("playlists", "tracks"), pairings.shape, strict=True))
    counts["pairs"] = pairings.n_pairs
    report.say(", ".join(f"{count:,} {name}" for name, count in counts.items()))
    used = objective.for_data(pairings.matrix, pairings.weights)
    report.say(f"Objective: {used}")
    report.say("\n".join(history_lines(solution)))
    report.say(EXPLAIN)
    end = solution.message
    if stop.asked:
        end = f"Stopped by Ctrl-C after epoch {solution.n_epochs}."
    report.say(f"{end} The model is in {output}.")
    if used.data == "ones" and not used.unobserved_weight:
        report.say(
            "Every pair counts as 1 and nothing says that others count less: for recommendations "
            "use --preset balanced."
        )
    report.finish(
        {"model": str(output), **counts, "terms": describe(used)} | solution_json(solution)
    )
