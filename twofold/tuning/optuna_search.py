"""`Optuna`: parameters that Optuna's samplers suggest."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from twofold._common.checks import check_whole, seed_of
from twofold.exceptions import InvalidInputError
from twofold.tuning.space import Values
from twofold.tuning.strategies import Cost, Proposal, Proposals, Strategy

__all__ = ["Optuna"]


@dataclass(frozen=True)
class Optuna(Strategy):
    """Parameters suggested by Optuna, from the scores so far; needs ``twofold[optuna]``.

    Optuna only suggests: trials, table and storage are those of every search. Ranges and
    distributions are suggested as quantiles between 0 and 1, lists as categories.

    Parameters
    ----------
    space : mapping of str to list, tuple or distribution
        As for `Random`.
    n_trials : int, default 20
        Suggestions, >= 1, besides the defaults. A stored search can be continued with more.
    rng : int, numpy.random.Generator or None, default 0
        Seed of the default sampler.
    sampler : optuna.samplers.BaseSampler, optional
        Another sampler, which must have a seed if the search is stored, and is used by one search
        only. Default: the tree-structured Parzen estimator.

    References
    ----------
    Akiba, Sano, Yanase, Ohta and Koyama, "Optuna: A Next-generation Hyperparameter Optimization
    Framework", KDD 2019.
    Bergstra, Bardenet, Bengio and Kégl, "Algorithms for Hyper-Parameter Optimization", NeurIPS
    2011: the default sampler.

    Examples
    --------
    >>> Optuna({"ratio": (1.0, 100.0, "log")}, n_trials=30).n_runs(max_epochs=15)
    31
    """

    space: Mapping[str, Any]
    n_trials: int = 20
    _: KW_ONLY
    rng: int | np.random.Generator | None = 0
    sampler: Any = None

    def __post_init__(self) -> None:
        check_whole(self.n_trials, "n_trials", 1)

    def proposals(self, defaults: dict[str, Any], max_epochs: int, cost: Cost) -> Proposals:
        """Yield the defaults and the suggestions."""
        optuna = _optuna()
        sampler = self.sampler or optuna.samplers.TPESampler(seed=seed_of(self.rng) % 2**32)
        study = _quiet_study(optuna, sampler)
        spaces: dict[str, Any] = {
            name: optuna.distributions.CategoricalDistribution(range(len(dimension.values)))
            if isinstance(dimension, Values)
            else optuna.distributions.FloatDistribution(0.0, 1.0)
            for name, dimension in self.dimensions.items()
        }
        yield Proposal(0, {})
        for number in range(1, self.n_trials + 1):
            asked = study.ask(spaces)
            parameters = {
                name: dimension.values[asked.params[name]]
                if isinstance(dimension, Values)
                else dimension.at(asked.params[name])
                for name, dimension in self.dimensions.items()
            }
            found = cost((yield Proposal(number, parameters)))
            if np.isfinite(found):
                study.tell(asked, found)
            else:
                study.tell(asked, state=optuna.trial.TrialState.FAIL)

    def n_runs(self, max_epochs: int) -> int:
        """Return the number of suggestions and 1 for the defaults."""
        return 1 + self.n_trials

    def describe(self) -> dict[str, Any]:
        """Return the name, the space, the seed and the kind of sampler."""
        kind = "TPESampler" if self.sampler is None else type(self.sampler).__name__
        return self._described(rng=seed_of(self.rng), sampler=kind)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise InvalidInputError(
            'the strategy Optuna needs the package optuna: pip install "twofold[optuna]"'
        ) from error
    return optuna


def _quiet_study(optuna: Any, sampler: Any) -> Any:
    """Return a study in memory, without the line that Optuna logs about it."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(sampler=sampler)  # which minimises
    finally:
        optuna.logging.set_verbosity(before)
