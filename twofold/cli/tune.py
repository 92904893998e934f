"""``twofold tune``."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twofold import distributed
from twofold.cli.options import OptionError
from twofold.cli.output import Report, check_folder
from twofold.cli.search_options import SearchOptions
from twofold.cli.sources import Reading, check_overwrites_model, database_url
from twofold.cli.train import trained
from twofold.distributed.engine import connected
from twofold.model.description import describe
from twofold.objective import Balanced, Objective
from twofold.plot.figures import check_picture
from twofold.solvers import Solver
from twofold.splits import RowSplit, split_rows
from twofold.tuning import SearchResult, Strategy, search

__all__ = ["run_search", "search_json", "show_best", "tune"]


def tune(
    read: Reading,
    objective: Objective | Balanced,
    solver: Solver,
    report: Report,
    options: SearchOptions,
    *,
    score: str = "ndcg@20",
    storage: str | None = None,
    study: str = "tune",
    output: Path | None = None,
    plot: Path | None = None,
    validation: float = 0.15,
    test: float = 0.15,
) -> None:
    """Try other options of the solver and the objective; print them best first.

    Each trial is trained on most of the playlists and scored on the validation playlists. The one
    called default has the options as given. Ctrl-C prints the trials that have finished.

    Parameters
    ----------
    score : str, default "ndcg@20"
        What ranks the trials: how well a metric such as recall@20 finds a fifth of the pairs of the
        validation playlists, which are hidden; rmse or mae of their predictions; or total or loss,
        the objective of the validation playlists.
    storage : str, optional
        Database, as URL or SQLite file, in which every trial is stored. The same command continues
        a search that was ended.
    study : str, default tune
        Name of the search in the storage.
    output : Path, optional
        File to write the best model to, trained on training and validation playlists.
    plot : Path, optional
        Picture of the scores over each option that varies to write (.png, .svg, .pdf), unless the
        search is interrupted.
    validation : float, default 0.15
        Share of the playlists to score on.
    test : float, default 0.15
        Share of the playlists to leave out.
    """
    if not options.grid:
        raise OptionError("give --grid NAME=V1,V2,... or NAME=LOW:HIGH: the values to try")
    strategy = options.make_strategy(solver, objective)
    for path in filter(None, (output, plot)):
        check_folder(path)
    if output is not None:
        check_overwrites_model(output)
    if plot is not None:
        check_picture(plot)
    place = None if storage is None else database_url(storage, create=True)
    pairings = read(progress=report.progress)
    parts = split_rows(pairings, validation=validation, test=test, rng=solver.rng)
    result = run_search(
        parts, solver, objective, strategy, options, report, score=score, storage=place,
        study=None if storage is None else study,
    )  # fmt: skip
    written = _end(result, output, report)
    drawn = _draw(result, plot, report)
    report.show_json(search_json(result) | {"model": written, "plot": drawn})
    if not result.complete:
        raise KeyboardInterrupt
    _ = result.best  # an error if no trial succeeded


def run_search(
    parts: RowSplit,
    solver: Solver,
    objective: Objective | Balanced,
    strategy: Strategy,
    options: SearchOptions,
    report: Report,
    **places: Any,
) -> SearchResult:
    """Search, and print the trials, best first."""
    searching: Any = search if options.scheduler is None else distributed.search
    run: Callable[..., SearchResult] = partial(
        searching, solver, objective, parts.train, parts.validation, strategy,
        patience=options.early_stopping, warm_start=options.warm_start, progress=report.progress,
        **places,
    )  # fmt: skip
    if options.scheduler is None:
        result = run()
    else:
        with connected(options.scheduler) as client:
            result = run(client=client)
    report.show(str(result))
    return result


def show_best(result: SearchResult, report: Report) -> None:
    """Print the parameters of the best trial."""
    best = ", ".join(f"{name}={item}" for name, item in result.best.parameters.items())
    report.show(f"Best: {best}" + " (the default)" * (not result.best.number))
    if result.score_name in ("total", "loss"):
        solver_fields = vars(result.best_solver)
        if not solver_fields.keys() >= {*result.names}:
            report.show(
                "These are values of different objectives: the lowest is not the one that "
                "recommends best. --score ndcg@20 compares them."
            )


def _end(result: SearchResult, output: Path | None, report: Report) -> str | None:
    """Say what is best, and write its model; return the name of the file."""
    if not result.complete:
        report.show("Interrupted: only the finished trials are listed.")
        return None
    if not _succeeded(result):
        return None
    show_best(result, report)
    if output is None:
        return None
    model = trained(result.refit)
    model.save(output)
    report.show(f"The best model, of {model.row_ids.size:,} playlists, is in {output}.")
    return str(output)


def _draw(result: SearchResult, plot: Path | None, report: Report) -> str | None:
    """Draw a complete search; return the name of the file."""
    if plot is None or not result.complete or not _succeeded(result):
        return None
    result.plot(plot)
    report.show(f"The picture of the search is in {plot}.")
    return str(plot)


def _succeeded(result: SearchResult) -> bool:
    return bool(result) and result[0].score == result[0].score


def search_json(result: SearchResult) -> dict[str, Any]:
    """Return the JSON fields of a search."""
    best: dict[str, Any] = {"best": None}
    if _succeeded(result):
        best = {
            "best": result.best.number,
            "solver": describe(result.best_solver),
            "objective": describe(result.best_objective),
        }
    trials = [
        trial.parameters
        | {name: value for name, value in vars(trial).items() if name != "parameters"}
        | {"finished": trial.finished.isoformat()}
        for trial in result
    ]
    order = {"score": result.score_name, "higher_is_better": result.higher_is_better}
    return {"complete": result.complete, **order, **best, "trials": trials}
