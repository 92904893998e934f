"""``twofold recommend`` with a source of pairs in place of a model."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from twofold._common.checks import check_whole
from twofold.cli.names import Names
from twofold.cli.options import OptionError
from twofold.cli.output import Report, check_folder
from twofold.cli.recommend import write_table
from twofold.cli.search_options import SearchOptions
from twofold.cli.sources import Reading, check_overwrites_model, database_url
from twofold.cli.train import show_training, trained, training_json
from twofold.cli.tune import run_search, search_json, show_best
from twofold.model import FactorModel
from twofold.model.export import BLOCK
from twofold.model.runs import Run, columns_of, written_run
from twofold.objective import Balanced, Objective
from twofold.solvers import Solver
from twofold.splits import split_rows

__all__ = ["recommend_source"]


def recommend_source(
    read: Reading,
    objective: Objective | Balanced,
    solver: Solver,
    names: Names,
    report: Report,
    options: SearchOptions,
    *,
    into: str | None = None,
    into_table: str = "recommendations",
    top: int = 10,
    model: Path | None = None,
    score: str | None = None,
    validation: float | None = None,
) -> None:
    """Train a model on the pairs of SOURCE; write recommendations for all playlists to a table.

    With --grid or --early-stopping, the parameters are those of the best trial of a search, scored
    on the validation playlists, and the model is trained with them on all playlists.

    With --model FILE the same command continues after an interrupt while the table was written, and
    neither reads SOURCE nor trains again. It trains a new model once the table is complete, or if
    the solver or the objective is another one.

    Parameters
    ----------
    into : str, optional
        Database to write the recommendations to: an SQLAlchemy URL or the path of an SQLite file.
    into_table : str, default recommendations
        Its table, with the columns pid, place, tid and score, and name and artist if there are
        names.
    top : int, default 10
        Number of tracks to recommend for each playlist.
    model : Path, optional
        File to write the model to. If the table has a part of its recommendations, the model is
        read from the file instead of trained, and the table is completed. An existing file is
        overwritten only if it is a model.
    score : str, optional
        What ranks the trials of a search, by default ndcg@20: a metric such as recall@20, rmse or
        mae, total or loss.
    validation : float, optional
        Share of the playlists that a search scores on, by default 0.15.
    """
    check_whole(top, "top", 1)
    if into is None:
        raise OptionError(
            "give --into URL for the recommendations of a model that is trained on SOURCE, or a "
            "file that `twofold fit` wrote in place of SOURCE"
        )
    if model is not None:
        check_folder(model)
        check_overwrites_model(model)
    strategy = options.make_strategy(solver, objective)
    is_search = bool(options.grid) or options.early_stopping is not None
    _check_search(options, is_search, score, validation)
    if isinstance(objective, Objective):
        solver.validate(objective)
    written = written_run(database_url(into, create=True), into_table)
    fitted_as = None if is_search else (solver, objective)
    found = None if model is None else _unfinished(written, model, names, top, fitted_as)
    values: dict[str, Any] = {"model": None if model is None else str(model)}
    values["trained"] = found is None
    if found is not None:
        report.show(f"The model is read from {model}, because its table is incomplete.")
    else:
        pairings = read(progress=report.progress)
        shown = replace(solver, progress=report.progress)
        fit = partial(FactorModel(objective, shown).fit, pairings)
        if is_search:
            share = 0.15 if validation is None else validation
            parts = split_rows(pairings, validation=share, test=0.0, rng=solver.rng)
            result = run_search(
                parts, solver, objective, strategy, options, report, score=score or "ndcg@20"
            )
            if not result.complete:
                raise KeyboardInterrupt
            show_best(result, report)
            values |= {"search": search_json(result)}
            fit = partial(result.refit, pairings)
        found = trained(fit)
        show_training(found, report)
        values |= training_json(found)
        if model is not None:
            found.save(model)
            report.show(f"The model is in {model}.")
    write_table(found, names, report, top, into, into_table, values, options.scheduler)


def _check_search(
    options: SearchOptions, is_search: bool, score: str | None, validation: float | None
) -> None:
    """Raise if options of a search are given without one."""
    only = {
        "--strategy": options.strategy != "grid",
        "--n-trials": options.n_trials is not None,
        "--warm-start": options.warm_start,
    }
    for flag, is_given in only.items():
        if is_given and not options.grid:
            raise OptionError(f"{flag} is for a search: give --grid NAME=V1,V2,... too")
    for flag, value in (("--score", score), ("--validation", validation)):
        if value is not None and not is_search:
            raise OptionError(f"{flag} is for a search: give --grid or --early-stopping too")


def _unfinished(
    written: tuple[str, int] | None,
    path: Path,
    names: Names,
    top: int,
    fitted_as: tuple[Solver, Objective | Balanced] | None,
) -> FactorModel | None:
    """Return the model of a file if a table has a part of its recommendations.

    It must have the solver and the objective, if they are given.
    """
    if written is None or not path.exists():
        return None
    model = FactorModel.load(path)
    known = names.look_up(model.col_ids) or None
    run = Run(model, top, known, columns_of(known), BLOCK)
    if written[0] != run.key or written[1] >= run.n_rows:
        return None
    if fitted_as is None:
        return model
    solver, objective = fitted_as
    solver = replace(solver, progress=model.solver.progress)
    objective = objective.for_data(model.pairings.matrix, model.pairings.weights)
    return model if (solver, objective) == (model.solver, model.objective) else None
