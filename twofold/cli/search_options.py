"""Options of searches: what to try, and how."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from twofold._common.checks import check_whole
from twofold.cli.options import Option, OptionError, options_of
from twofold.objective import Balanced, Objective
from twofold.solvers import Solver
from twofold.tuning import Grid, Halving, Optuna, Random, Strategy

__all__ = ["SearchOptions"]


@dataclass(frozen=True)
class SearchOptions:
    """What to try, and how.

    Parameters
    ----------
    grid : list of str, optional
        Values to try for an option of the solver or the objective, as NAME=V1,V2,..., or a range,
        as NAME=LOW:HIGH or NAME=LOW:HIGH:log; can be repeated. NAME is that of the option without
        dashes in front, such as n-factors.
    strategy : {"grid", "random", "halving", "optuna"}, default "grid"
        All combinations; random ones; successive halving, which gives the best trials more epochs;
        or what Optuna suggests. A range needs one of the last three.
    n_trials : int, optional
        Trials besides the default, for random, halving and optuna. Without it, random and optuna
        make 20, and halving tries all combinations.
    early_stopping : int, optional
        Stop a trial after so many evaluations without a better score, and take its best epoch.
    warm_start : bool, default False
        Start a trial from the factors of the last one with as many factors: needs fewer epochs.
    scheduler : str, optional
        Address of a Dask scheduler, such as tcp://host:8786, whose workers run the trials.
    """

    grid: list[str] = field(default_factory=list)
    _: KW_ONLY
    strategy: Literal["grid", "random", "halving", "optuna"] = "grid"
    n_trials: int | None = None
    early_stopping: int | None = None
    warm_start: bool = False
    scheduler: str | None = None

    def make_strategy(self, solver: Solver, objective: Objective | Balanced) -> Strategy:
        """Return the strategy with the space of all grids."""
        space = self._space(_known_options(solver, objective))
        if self.early_stopping is not None:
            check_whole(self.early_stopping, "early_stopping", 1)
        for flag, given in (
            ("early-stopping", self.early_stopping),
            ("warm-start", self.warm_start),
        ):
            if self.strategy == "halving" and given:
                raise OptionError(
                    f"--{flag} is not for --strategy halving, which stops and continues trials "
                    "itself"
                )
        if self.strategy == "grid":
            if self.n_trials is not None:
                raise OptionError("--n-trials is for --strategy random, halving and optuna only")
            return Grid(space)
        kinds: dict[str, Callable[..., Strategy]] = {
            "random": Random,
            "halving": Halving,
            "optuna": Optuna,
        }
        more = {} if self.n_trials is None else {"n_trials": self.n_trials}
        return kinds[self.strategy](space, **more)

    def _space(self, known: dict[str, Option]) -> dict[str, Any]:
        """Return the values of each name, by the names of `search`."""
        space: dict[str, Any] = {}
        for item in self.grid:
            text, equals, values = item.partition("=")
            if not equals or not values:
                raise OptionError(f"--grid {item}: write it as NAME=V1,V2,... or NAME=LOW:HIGH")
            name = text.strip().replace("-", "_")
            key = next((key for key in known if name in (key, key.rpartition(".")[2])), None)
            if key is None:
                names = ", ".join(key.rpartition(".")[2] for key in known).replace("_", "-")
                raise OptionError(f"--grid {item}: there is no {text!r}, but there are {names}")
            if key in space:
                raise OptionError(f"--grid {text} is given twice: write {text}=V1,V2,...")
            option = known[key]
            if ":" in values and {int, float} & {*option.types}:
                space[key] = self._range(item, values, option)
            else:
                space[key] = [option.parse(value.strip()) for value in values.split(",")]
        return space

    def _range(self, item: str, values: str, option: Option) -> tuple[Any, ...]:
        if self.strategy == "grid":
            raise OptionError(f"--grid {item}: a range needs --strategy random, halving or optuna")
        low, high, *log = values.split(":")
        limits = option.parse(low.strip()), option.parse(high.strip())
        if log not in ([], ["log"]):
            raise OptionError(f"--grid {item}: write a range as NAME=LOW:HIGH or NAME=LOW:HIGH:log")
        if not limits[0] < limits[1] or (log and limits[0] <= 0):
            raise OptionError(
                f"--grid {item}: LOW must be below HIGH, and above 0 in a range with log"
            )
        return (*limits, *log)


def _known_options(solver: Solver, objective: Objective | Balanced) -> dict[str, Option]:
    """Return the options that a grid can name, by the names of `search`."""
    known = options_of(type(solver), skip=("progress",))
    for owner in (type(objective), Objective):
        known |= {name: each for name, each in options_of(owner).items() if name not in known}
    plain = objective if isinstance(objective, Objective) else Objective()
    for part in ("loss", "regularizer"):
        options = options_of(type(getattr(plain, part)))
        known |= {f"{part}.{name}": option for name, option in options.items()}
    return known
