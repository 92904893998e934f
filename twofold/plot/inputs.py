"""What the pictures need of solutions, searches, evaluations, rankings and models.

The classes of these are in packages above this one. Any object with the attributes can be drawn.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from twofold.data.pairings import Pairings
from twofold.exceptions import InvalidInputError, TwofoldError

__all__ = ["FittedModel", "Ranked", "Run", "Scores", "Searched", "check_attributes"]


class Run(Protocol):
    """A run with its history, such as `Solution`."""

    @property
    def solver(self) -> str:
        """Name of the solver."""

    @property
    def history(self) -> Sequence[Any]:
        """Records with ``epoch``, ``seconds``, ``loss``, ``unobserved``, ``penalty``, ``total``."""


class Searched(Protocol):
    """Trials, best first, such as `SearchResult`."""

    @property
    def names(self) -> list[str]:
        """Names of the fields that vary."""

    @property
    def best(self) -> Any:
        """The best trial."""

    @property
    def score_name(self) -> str:
        """Name of the score."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger score is better."""

    def __iter__(self) -> Iterator[Any]:
        """Yield trials with ``number``, ``parameters`` and ``score``."""


class Scores(Protocol):
    """Scores of models on the same held-out pairs, such as `Evaluation`."""

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """The score of each model and metric."""

    @property
    def per_row(self) -> dict[str, dict[str, NDArray[Any]]]:
        """The scores of rows, of each model and metric."""

    @property
    def judged(self) -> str:
        """Either "recommendations" or "predictions"."""

    def interval(self, metric: str, model: str | None = None) -> tuple[float, float, float]:
        """Return the mean over the rows, and the bounds of its confidence interval."""


class Ranked(Protocol):
    """Recommendations, such as `Ranking`."""

    @property
    def row_ids(self) -> NDArray[Any]:
        """Ids of the rows, shape (n_rows,)."""

    @property
    def col_ids(self) -> NDArray[Any]:
        """Ids of the columns, best first, shape (n_rows, n)."""

    @property
    def scores(self) -> NDArray[Any]:
        """The score of each column."""

    @property
    def mask(self) -> NDArray[Any]:
        """False for padding."""

    @property
    def fallback(self) -> NDArray[Any]:
        """Whether the scores of a row are numbers of pairs, shape (n_rows,)."""


class FittedModel(Protocol):
    """A fitted model, such as `FactorModel`."""

    @property
    def objective(self) -> Any:
        """The objective, with ``n_bias_columns``."""

    @property
    def pairings(self) -> Pairings:
        """The training pairs."""

    @property
    def row_factors(self) -> NDArray[Any]:
        """P, shape (n_rows, n_factors)."""

    @property
    def col_factors(self) -> NDArray[Any]:
        """Q, shape (n_cols, n_factors)."""


def check_attributes(value: Any, name: str, attributes: Sequence[str], wanted: str) -> None:
    """Raise InvalidInputError unless a value has the attributes of what is wanted."""
    for attribute in attributes:
        try:
            getattr(value, attribute)
        except TwofoldError:  # of a model that is not fitted
            raise
        except AttributeError:
            raise InvalidInputError(f"{name} is a {type(value).__name__}: give {wanted}") from None
