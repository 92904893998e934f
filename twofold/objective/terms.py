"""`Terms`: the parameters of an objective, with their validation."""

from dataclasses import KW_ONLY, dataclass, field, is_dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold._common.checks import check_choice, check_real
from twofold.exceptions import InvalidInputError
from twofold.objective.biases import N_BIAS_COLUMNS
from twofold.objective.losses import Loss, SquaredLoss
from twofold.objective.regularizers import L2, Regularizer

__all__ = ["Terms"]


@dataclass(frozen=True)
class Terms:
    """The parameters of an objective, with their validation.

    Parameters
    ----------
    loss, regularizer, data, unobserved_weight, unobserved, nonnegative, biases, mean
        As for `Objective`.

    Examples
    --------
    >>> terms = Terms(data="signed", unobserved_weight=0.1, unobserved="missing")
    >>> terms.targets_of([2.0, -1.0]).tolist(), terms.missing_weight
    ([1.0, 0.0], 0.1)
    >>> terms.n_bias_columns, terms.has_centers
    (0, False)
    """

    loss: Loss = field(default_factory=SquaredLoss)
    regularizer: Regularizer = field(default_factory=L2)
    _: KW_ONLY
    data: Literal["ones", "targets", "weights", "signed"] = "ones"
    unobserved_weight: float = 0.0
    unobserved: Literal["all", "missing"] = "all"
    nonnegative: bool = False
    biases: bool = False
    mean: float | None = None

    def __post_init__(self) -> None:
        for name, kind in (("loss", Loss), ("regularizer", Regularizer)):
            value: Any = getattr(self, name)
            if not isinstance(value, kind) or not is_dataclass(value):
                name_of = value.__name__ if isinstance(value, type) else ""
                raise InvalidInputError(
                    f"{name} is {value!r}: give an instance of a {kind.__name__} dataclass"
                    + (f", {name_of}()" if name_of else "")
                )
        check_choice(self.data, "data", ("ones", "targets", "weights", "signed"))
        check_choice(self.unobserved, "unobserved", ("all", "missing"))
        check_real(self.unobserved_weight, "unobserved_weight", minimum=0.0)
        for name in ("nonnegative", "biases"):
            value = getattr(self, name)
            if not isinstance(value, bool | np.bool_):
                raise InvalidInputError(f"{name} is {value!r}: it must be True or False")
        if self.nonnegative and self.biases:
            raise InvalidInputError(
                "nonnegative=True does not go with biases=True, because biases may be negative: "
                "choose one of them"
            )
        if self.nonnegative and self.has_centers:
            raise InvalidInputError(
                "nonnegative=True does not go with row_center and col_center of the regularizer: "
                "choose one of them"
            )
        if self.mean is not None:
            if not self.biases:
                raise InvalidInputError(f"mean is {self.mean!r}: it needs biases=True")
            check_real(self.mean, "mean")

    def targets_of(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the targets r of stored values, as ``data`` reads them.

        Parameters
        ----------
        values : array_like of float
            Stored values.

        Returns
        -------
        ndarray of float64
            The values themselves with "targets", 1 and 0 (below 0) with "signed", otherwise ones.
        """
        numbers = np.asarray(values, dtype=np.float64)
        if self.data == "targets":
            return numbers
        if self.data == "signed":
            return (numbers >= 0.0).astype(np.float64)
        return np.ones_like(numbers)

    @property
    def n_bias_columns(self) -> int:
        """Number of columns that biases add to each factor: 2, or 0 without biases."""
        return N_BIAS_COLUMNS if self.biases else 0

    @property
    def common_ridge(self) -> float | None:
        """The ridge lam s_u if it is the same for all rows and columns of any data, or None."""
        regularizer = self.regularizer
        is_common = not regularizer.exponent and type(regularizer).scale is Regularizer.scale
        return regularizer.weight if is_common else None

    @property
    def has_centers(self) -> bool:
        """Whether the regularizer has a center of rows or of columns."""
        return self.regularizer.centers != (None, None)

    def with_centers(self, row_center: Any, col_center: Any) -> Self:
        """Return the objective with other centers of its `L2`; None for zeros.

        Parameters
        ----------
        row_center, col_center : array_like or None
            As for `L2`.

        Returns
        -------
        Terms
            Of the type of this object.

        Examples
        --------
        >>> Terms().with_centers([[0.5, 0.0]], None).has_centers
        True
        """
        if row_center is None and col_center is None and not self.has_centers:
            return self
        regularizer: Any = self.regularizer
        centered = replace(regularizer, row_center=row_center, col_center=col_center)
        return replace(self, regularizer=centered)

    @property
    def missing_weight(self) -> float:
        """a0 if U excludes the stored cells, otherwise 0."""
        return self.unobserved_weight if self.unobserved == "missing" else 0.0
