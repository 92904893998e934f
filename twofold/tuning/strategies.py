"""Strategies: which parameters a search tries, and for how many epochs."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from twofold._common.checks import check_whole, seed_of
from twofold.exceptions import InvalidInputError
from twofold.tuning.pending import PendingTrial
from twofold.tuning.space import Dimension, Values, dimensions, list_of_values

if TYPE_CHECKING:
    from twofold.tuning.run import Trial

__all__ = ["Grid", "Halving", "Proposal", "Random", "Strategy"]

_MOST = 1_000_000  # combinations of lists that are shuffled; beyond it repeats are rare
Proposals = Generator["Proposal", "Trial", None]
Cost = Callable[["Trial"], float]


@dataclass(frozen=True)
class Proposal:
    """A trial that a strategy proposes.

    Parameters
    ----------
    number : int
        Number of the trial; 0 is for the defaults.
    parameters : dict of str to object
        The fields to change; empty for the defaults.
    epochs : tuple of int, default ()
        Numbers of epochs after which the trial was scored before, and the one to score it at now.
        Empty: all epochs of the solver.
    kept : frozenset of int, default frozenset()
        Numbers of the trials whose factors may be continued later.

    Examples
    --------
    >>> Proposal(4, {"n_factors": 16}, epochs=(2, 6)).rung
    1
    """

    number: int
    parameters: dict[str, Any]
    epochs: tuple[int, ...] = ()
    kept: frozenset[int] = frozenset()

    @property
    def rung(self) -> int:
        """How often the trial was continued."""
        return max(len(self.epochs) - 1, 0)


class Strategy(ABC):
    """What `search` runs. A strategy of your own has these three methods and ``space``.

    A strategy is deterministic: a search that was killed runs it again, with the stored trials.

    Examples
    --------
    >>> strategy = Grid({"n_factors": [16, 64]})
    >>> isinstance(strategy, Strategy), strategy.n_runs(max_epochs=15)
    (True, 3)
    >>> [proposal.parameters for proposal in strategy.proposals({"n_factors": 16}, 15, cost=float)]
    [{}, {'n_factors': 64}]
    >>> strategy.describe()["strategy"]
    'Grid'
    """

    space: Mapping[str, Any]

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """The values of each name of the space."""
        return dimensions(self.space)

    @abstractmethod
    def proposals(self, defaults: dict[str, Any], max_epochs: int, cost: Cost) -> Proposals:
        """Yield proposals, the defaults first; each ``yield`` returns the finished trial.

        On a cluster it may return a `PendingTrial`, whose fields wait for the trial: read them
        late, and trials that do not depend on each other run at the same time.

        Parameters
        ----------
        defaults : dict of str to object
            The values of the fields that vary, as given.
        max_epochs : int
            Of the solver.
        cost : callable
            ``cost(trial)`` is smaller for a better trial, and inf for one that failed.
        """

    @abstractmethod
    def n_runs(self, max_epochs: int) -> int:
        """Return the largest number of proposals.

        Parameters
        ----------
        max_epochs : int
            Of the solver.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return plain JSON that differs between strategies with different proposals."""

    def _described(self, **values: Any) -> dict[str, Any]:
        space = {name: dimension.describe() for name, dimension in self.dimensions.items()}
        return {"strategy": type(self).__name__, "space": space, **values}


def _all_at_once(parameters: Iterator[dict[str, Any]], defaults: dict[str, Any]) -> Proposals:
    """Yield the defaults and then all parameters that differ from them."""
    yield Proposal(0, {})
    others = (each for each in parameters if each != defaults)
    for number, each in enumerate(others, start=1):
        yield Proposal(number, each)


@dataclass(frozen=True)
class Grid(Strategy):
    """Every combination of lists of values.

    Parameters
    ----------
    space : mapping of str to sequence
        Values to try for each name. A combination that equals the defaults is trial 0.

    Examples
    --------
    >>> Grid({"n_factors": [16, 64], "ratio": [1.0, 15.0]}).n_runs(max_epochs=15)
    5
    """

    space: Mapping[str, Any]

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """The values of each name of the space."""
        return {name: Values(list_of_values(name, given)) for name, given in self.space.items()}

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield all combinations; the last name varies fastest.

        Yields
        ------
        dict of str to object
            The value of each field.

        Examples
        --------
        >>> list(Grid({"n_factors": [16, 64]}).combinations())
        [{'n_factors': 16}, {'n_factors': 64}]
        """
        lists = [list_of_values(name, given) for name, given in self.space.items()]
        for values in itertools.product(*lists):
            yield dict(zip(self.space, values, strict=True))

    def proposals(self, defaults: dict[str, Any], max_epochs: int, cost: Cost) -> Proposals:
        """Yield the defaults and all other combinations."""
        yield from _all_at_once(self.combinations(), defaults)

    def n_runs(self, max_epochs: int) -> int:
        """Return the number of combinations and 1 for the defaults."""
        return 1 + math.prod(len(given) for given in self.space.values())

    def describe(self) -> dict[str, Any]:
        """Return the name and the space."""
        return self._described()


@dataclass(frozen=True)
class Random(Strategy):
    """Random parameters.

    Parameters
    ----------
    space : mapping of str to list, tuple or distribution
        For each name a list of values; a range ``(low, high)`` to draw from uniformly, of whole
        numbers if both are whole, both included; a range ``(low, high, "log")``, where log(x) is
        uniform; or a frozen distribution of scipy.stats such as ``loguniform(1e-3, 1)``. If all of
        them are lists, no combination is drawn twice.
    n_trials : int, default 20
        Draws, >= 1, besides the defaults. A stored search can be continued with more.
    rng : int, numpy.random.Generator or None, default 0
        Seed of the draws.

    References
    ----------
    Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13, 2012.

    Examples
    --------
    >>> strategy = Random({"ratio": (1.0, 100.0, "log"), "n_factors": [16, 32, 64]}, n_trials=2)
    >>> [sorted(drawn) for drawn in strategy.draws()]
    [['n_factors', 'ratio'], ['n_factors', 'ratio']]
    """

    space: Mapping[str, Any]
    n_trials: int = 20
    _: KW_ONLY
    rng: int | np.random.Generator | None = 0

    def __post_init__(self) -> None:
        check_whole(self.n_trials, "n_trials", 1)

    def draws(self) -> Iterator[dict[str, Any]]:
        """Yield the parameters of each trial.

        Yields
        ------
        dict of str to object
            The value of each field.
        """
        drawn, generator = self.dimensions, np.random.default_rng(seed_of(self.rng))
        values = [each.values for each in drawn.values() if isinstance(each, Values)]
        sizes = [len(each) for each in values]
        if len(values) == len(drawn) and math.prod(sizes) <= _MOST:
            for chosen in generator.permutation(math.prod(sizes))[: self.n_trials]:
                places = np.unravel_index(chosen, sizes) if sizes else ()
                picked = (each[place] for each, place in zip(values, places, strict=True))
                yield dict(zip(drawn, picked, strict=True))
            return
        for _ in range(self.n_trials):
            quantiles = generator.random(len(drawn)).tolist()
            yield {
                name: dimension.at(quantile)
                for (name, dimension), quantile in zip(drawn.items(), quantiles, strict=True)
            }

    def proposals(self, defaults: dict[str, Any], max_epochs: int, cost: Cost) -> Proposals:
        """Yield the defaults and the draws."""
        yield from _all_at_once(self.draws(), defaults)

    def n_runs(self, max_epochs: int) -> int:
        """Return the number of draws and 1 for the defaults."""
        return 1 + self.n_trials

    def describe(self) -> dict[str, Any]:
        """Return the name, the space and the seed."""
        return self._described(rng=seed_of(self.rng))


@dataclass(frozen=True)
class Halving(Strategy):
    """Successive halving: all trials get a few epochs, and the best of them get more.

    All trials are trained for ``min_epochs`` epochs. The best 1 / ``factor`` of them continue from
    their own factors up to ``factor`` times as many epochs, and so on up to ``max_epochs`` of the
    solver. The defaults are continued to the end whatever their score is.

    Parameters
    ----------
    space : mapping of str to list, tuple or distribution
        As for `Random`. ``max_epochs`` cannot be part of it.
    n_trials : int, optional
        Random draws from the space, >= 1, besides the defaults. Default: all combinations of a
        space of lists.
    factor : int, default 3
        At each step the number of trials is divided and the number of epochs multiplied by it;
        >= 2.
    min_epochs : int, default 1
        Epochs that every trial gets, >= 1.
    rng : int, numpy.random.Generator or None, default 0
        Seed of the draws.

    References
    ----------
    Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter
    Optimization", AISTATS 2016, algorithm 1.

    Examples
    --------
    >>> halving = Halving({"ratio": [1.0, 3.0, 5.0, 10.0, 20.0, 30.0]}, min_epochs=2)
    >>> halving.budgets(max_epochs=15), halving.n_runs(max_epochs=15)
    ([2, 6, 15], 12)
    """

    space: Mapping[str, Any]
    n_trials: int | None = None
    _: KW_ONLY
    factor: int = 3
    min_epochs: int = 1
    rng: int | np.random.Generator | None = 0

    def __post_init__(self) -> None:
        if self.n_trials is not None:
            check_whole(self.n_trials, "n_trials", 1)
        check_whole(self.factor, "factor", 2)
        check_whole(self.min_epochs, "min_epochs", 1)
        if "max_epochs" in self.space:
            raise InvalidInputError(
                "max_epochs cannot vary in Halving, whose budget is the number of epochs: give the "
                "solver the largest number"
            )

    def candidates(self) -> list[dict[str, Any]]:
        """Return the parameters of the first step, without the defaults.

        Returns
        -------
        list of dict of str to object

        Raises
        ------
        InvalidInputError
            If a field has infinitely many values, and ``n_trials`` is not given.

        Examples
        --------
        >>> Halving({"n_factors": [16, 64]}).candidates()
        [{'n_factors': 16}, {'n_factors': 64}]
        """
        if self.n_trials is not None:
            return [*Random(self.space, self.n_trials, rng=self.rng).draws()]
        for name, dimension in self.dimensions.items():
            if not isinstance(dimension, Values):
                raise InvalidInputError(
                    f"{name!r} is not a list, so that there is no last combination: give n_trials"
                )
        return [*Grid(self.space).combinations()]

    def budgets(self, max_epochs: int) -> list[int]:
        """Return the number of epochs of each step.

        Parameters
        ----------
        max_epochs : int
            Of the solver.

        Returns
        -------
        list of int
            Ascending; the last one is ``max_epochs``.

        Raises
        ------
        InvalidInputError
            If ``min_epochs`` is larger than ``max_epochs``.
        """
        if self.min_epochs > max_epochs:
            raise InvalidInputError(
                f"min_epochs is {self.min_epochs}: it must be at most max_epochs of the solver, "
                f"{max_epochs}"
            )
        budgets, epochs = [], self.min_epochs
        while epochs < max_epochs:
            budgets.append(epochs)
            epochs *= self.factor
        return [*budgets, max_epochs]

    def proposals(self, defaults: dict[str, Any], max_epochs: int, cost: Cost) -> Proposals:
        """Yield the trials of each step."""
        parameters = [{}, *(each for each in self.candidates() if each != defaults)]
        budgets, left = self.budgets(max_epochs), [*range(len(parameters))]
        for step in range(len(budgets)):
            costs: dict[int, float] = {}
            trials: dict[int, Trial] = {}
            n_next = max(1, math.ceil((len(left) - (0 in left)) / self.factor))
            for position, number in enumerate(left):
                kept = frozenset([*left[position:], *_best(costs, n_next)])
                epochs = tuple(budgets[: step + 1])
                trial = yield Proposal(number, parameters[number], epochs, kept)
                trials[number] = trial
                if not isinstance(trial, PendingTrial):
                    costs[number] = cost(trial)
            left = _best({number: cost(trial) for number, trial in trials.items()}, n_next)

    def n_runs(self, max_epochs: int) -> int:
        """Return the number of trials of all steps."""
        n, total = len(self.candidates()), 0
        for _ in self.budgets(max_epochs):
            total += n + 1
            n = max(1, math.ceil(n / self.factor)) if n else 0
        return total

    def describe(self) -> dict[str, Any]:
        """Return the name, the space and all parameters."""
        return self._described(
            n_trials=self.n_trials, factor=self.factor, min_epochs=self.min_epochs,
            rng=seed_of(self.rng),
        )  # fmt: skip


def _best(costs: Mapping[int, float], n: int) -> list[int]:
    """Return the defaults and the n other trials of the lowest finite costs, by number."""
    finite = [number for number, cost in costs.items() if math.isfinite(cost)]
    ranked = sorted((number for number in finite if number), key=lambda each: costs[each])
    return sorted([*ranked[:n], *(number for number in finite if not number)])
