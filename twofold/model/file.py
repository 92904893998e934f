"""Models in files; the format is in docs/model_file.md."""

import os
from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from twofold.data.files import read_file, write_file
from twofold.data.pairings import Pairings
from twofold.data.stored import arguments_of, parts_of
from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.model.description import CENTERS, describe, restore_objective, restore_solver
from twofold.model.fitted import Fitted
from twofold.model.serving import ServedColumns, arrays_of_system, restore_system
from twofold.solvers import Solution, Solver

__all__ = ["read_model", "write_model"]

_VERSION = 1


def write_model(
    path: str | os.PathLike[str], fitted: Fitted, solver: Solver, serving: bool
) -> None:
    """Write a model; see `FactorModel.save`."""
    objective, solution = fitted.objective, fitted.solution
    arrays: dict[str, NDArray[Any]] = {"col_factors": solution.col_factors}
    meta: dict[str, Any] = {
        "solver": describe(solver.on_one_machine()),
        "solution": solution.to_meta(),
    }
    if serving:
        meta["text_row_ids"] = fitted.has_text_rows
        arrays |= ServedColumns.to_arrays(
            fitted.pairings.col_ids, fitted.col_counts, fitted.of_unknown
        ) | arrays_of_system(fitted)
        row_center, col_center = objective.regularizer.centers
        if row_center is not None:  # of no row, so that new rows still need one
            objective = objective.with_centers(row_center.take([]), col_center)
    else:
        fitted.check_has_rows("pairs")
        own, meta["pairings"] = parts_of(fitted.pairings)
        arrays |= own | {"row_factors": solution.row_factors}
        arrays |= {f"memory.{name}": array for name, array in solution.memory.items()}
    meta |= {"objective": describe(objective), "serving": serving}
    for name, centers in zip(CENTERS, objective.regularizer.centers, strict=True):
        if centers is not None:
            arrays[name] = centers.values
    write_file(path, "model", _VERSION, arrays, meta)


def read_model(path: str | os.PathLike[str], classes: Iterable[type], mapped: bool) -> Fitted:
    """Read a model; see `FactorModel.load`."""
    if isinstance(classes, str | bytes) or not isinstance(classes, Iterable):
        raise InvalidInputError(f"classes is a {type(classes).__name__}: give a list of classes")
    classes = list(classes)
    arrays, meta = read_file(path, "model", _VERSION, mapped=mapped, verify=not mapped)
    try:
        objective = restore_objective(meta["objective"], classes, arrays)
        solver = restore_solver(meta["solver"], classes)
        if meta.get("serving"):
            pairings: Pairings = ServedColumns.of_arrays(arrays, meta["text_row_ids"])
            arrays["row_factors"] = arrays["col_factors"][:0]
        else:
            pairings = Pairings(**arguments_of(arrays, meta["pairings"]))
        solution = Solution.from_arrays(arrays, meta["solution"])
        fitted = Fitted.checked(objective, solution, pairings, solver)
        restore_system(fitted, arrays)
        return fitted
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{str(path)!r} is not a whole model: {error}") from error
