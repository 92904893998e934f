"""Options that several commands share, and the objects that they describe."""

import importlib
import logging
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twofold.data.pairings import Pairings
from twofold.exceptions import InvalidInputError
from twofold.model import FactorModel
from twofold.objective import L1, L2, HuberLoss, LogisticLoss, Loss, Objective, SquaredLoss
from twofold.solvers import Solver, available_solvers, get_solver

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

SOURCE_HELP = "SQLAlchemy URL (sqlite:///my.db), an SQLite file or a .npz file."

Source = Annotated[str, typer.Argument(help=SOURCE_HELP, metavar="SOURCE")]
Model = Annotated[Path, typer.Argument(help="Model file, as made by `fit`.", metavar="MODEL")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def _silence(quiet: bool) -> bool:
    if quiet:
        logging.getLogger("twofold").setLevel(logging.WARNING)  # the line about compiling kernels
    return quiet


Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.", callback=_silence)]

Classes = Annotated[
    list[str] | None,
    typer.Option("--class", help="module:Class of your own that the model needs; repeatable."),
]

_SQL, _OBJECTIVE, _SOLVER = "Reading from SQL", "Objective", "Solver"


def _sql(help: str, *names: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=_SQL)


def _objective(help: str, *names: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=_OBJECTIVE)


def _solver(help: str, *names: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=_SOLVER)


Table = Annotated[str, _sql("Table or view that holds the pairs.")]
Row = Annotated[str, _sql("Column with the playlist (row) id.")]
Col = Annotated[str, _sql("Column with the track (column) id.")]
Value = Annotated[str | None, _sql("Column with a value of each pair; none by default.")]
Where = Annotated[str | None, _sql("SQL condition, such as 'pid < 10000'.")]
MaxRows = Annotated[int | None, _sql("Read only this many playlists, by ascending id.")]
Duplicates = Annotated[str, _sql("A pair that occurs again: keep-one, count or error.")]
OnNull = Annotated[str, _sql("A NULL id: error or drop.")]

LossName = Annotated[str, _objective("squared, huber or logistic.", "--loss")]
Delta = Annotated[float, _objective("Where the Huber loss becomes a line.")]
RegularizerName = Annotated[str, _objective("l2 or l1.", "--regularizer")]
Weight = Annotated[float, _objective("Regularizer weight (lam), >= 0.", "--weight")]
Exponent = Annotated[float, _objective("Power of the row's weight in its penalty; 1 = by count.")]
Data = Annotated[str, _objective("How stored values are read: ones, targets or weights.")]
A0 = Annotated[float, _objective("Weight of unobserved cells (a0), >= 0.", "--unobserved-weight")]
Unobserved = Annotated[str, _objective("Which cells these are: all or missing.")]

SolverName = Annotated[
    str, _solver(f"{', '.join(available_solvers())} or module:Class.", "--solver")
]
NFactors = Annotated[int | None, _solver("Rank of the factorisation. (default: 64)")]
MaxEpochs = Annotated[int | None, _solver("Epochs at most. (default: 15; gd 100)")]
LearningRate = Annotated[
    float | None,
    _solver("Step of sgd and gd. (default: from the scale of the data for sgd; gd finds it)"),
]
Tol = Annotated[float | None, _solver("Stop below this relative decrease; 0 runs all epochs.")]
Seed = Annotated[int, _solver("Seed of everything random.")]
Threads = Annotated[int | None, _solver("Threads. (default: all)")]
Dtype = Annotated[str | None, _solver("float32 or float64. (default: float32)")]
Set = Annotated[
    list[str] | None, _solver("Any other field of the solver, as NAME=VALUE; repeatable.", "--set")
]


@dataclass(frozen=True)
class SqlOptions:
    """Where and how to read pairs from a database."""

    table: str = "pairings"
    row: str = "pid"
    col: str = "tid"
    value: str | None = None
    where: str | None = None
    max_rows: int | None = None
    duplicates: str = "keep-one"
    on_null: str = "error"


def read_source(source: str, sql: SqlOptions, *, progress: bool = False) -> Pairings:
    """Read pairs from a URL, an SQLite file or a ``.npz`` file."""
    from twofold.io import read_npz, read_sql

    if source.endswith(".npz"):
        plain = SqlOptions(duplicates=sql.duplicates, on_null=sql.on_null)
        given = [
            f"--{field.name.replace('_', '-')}"
            for field in fields(sql)
            if getattr(sql, field.name) != getattr(plain, field.name)
        ]
        if given:
            raise InvalidInputError(f"{', '.join(given)}: for SQL only, and {source} is a file")
        return read_npz(source)
    return read_sql(
        source_url(source),
        sql.table,
        sql.row,
        sql.col,
        sql.value,
        where=sql.where,
        max_rows=sql.max_rows,
        duplicates=sql.duplicates,  # type: ignore[arg-type]  # read_sql checks it
        on_null=sql.on_null,  # type: ignore[arg-type]  # read_sql checks it
        progress=progress,
    )


def source_url(source: str) -> "str | URL":
    """Return the URL of a source: a path of a file means SQLite."""
    from sqlalchemy.engine import URL

    return source if "://" in source else URL.create("sqlite", database=source)


def make_objective(
    loss: str,
    delta: float,
    regularizer: str,
    weight: float,
    exponent: float,
    data: str,
    unobserved_weight: float,
    unobserved: str,
) -> Objective:
    """Make the objective that the options describe."""
    losses: dict[str, Loss] = {
        "squared": SquaredLoss(),
        "huber": HuberLoss(delta),
        "logistic": LogisticLoss(),
    }
    if loss not in losses:
        raise InvalidInputError(f"--loss {loss}: it must be one of {', '.join(losses)}")
    kinds = {"l2": L2, "l1": L1}
    if regularizer not in kinds:
        raise InvalidInputError(f"--regularizer {regularizer}: it must be one of l2, l1")
    return Objective(
        losses[loss],
        kinds[regularizer](weight, exponent),
        data=data,  # type: ignore[arg-type]  # Objective checks it
        unobserved_weight=unobserved_weight,
        unobserved=unobserved,  # type: ignore[arg-type]  # Objective checks it
    )


def make_solver(name: str, more: list[str] | None, **given: Any) -> Solver:
    """Make the solver that the options describe; None leaves a field at its default."""
    kind = get_solver(_importable(name))
    known = {field.name for field in fields(kind)}
    values = {key: value for key, value in given.items() if value is not None}
    for item in more or []:
        key, equals, text = item.partition("=")
        if not equals:
            raise InvalidInputError(f"--set {item}: write it as NAME=VALUE")
        values[key.replace("-", "_")] = parse_value(text)
    for key in values:
        if key not in known:
            raise InvalidInputError(
                f"{kind.__name__} has no field {key!r}: it has {', '.join(sorted(known))}"
            )
    return kind(**values)


def load_model(path: Path, classes: list[str] | None) -> FactorModel:
    """Load a model, with the classes of the user's own that it needs."""
    found = []
    for name in classes or []:
        module, colon, attribute = _importable(name).partition(":")
        try:
            found.append(getattr(importlib.import_module(module), attribute))
        except (ImportError, AttributeError, ValueError) as error:
            reason = error if colon else "write it as module:Class"
            raise InvalidInputError(f"--class {name}: {reason}") from error
    return FactorModel.load(path, classes=found)


def _importable(name: str) -> str:
    """Let a module of the user's own be found in the current folder, as `python` does."""
    if ":" in name and "" not in sys.path:
        sys.path.insert(0, "")
    return name


def parse_value(text: str) -> Any:
    """Read a number, true, false, none, or else the text itself."""
    plain = {"true": True, "false": False, "none": None}
    if text.lower() in plain:
        return plain[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
