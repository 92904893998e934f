"""Errors of predicted values, such as ratings."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold.exceptions import InvalidInputError

__all__ = ["mae", "rmse"]


def rmse(predicted: ArrayLike, values: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Root mean square error.

        RMSE = sqrt( sum_e w_e (p_e - v_e)^2 / sum_e w_e )

    Parameters
    ----------
    predicted, values : array_like of float, equal shapes
        The predictions p and the values v, finite.
    weights : array_like of float, optional
        Weights w >= 0 of the same shape, not all 0. By default all are 1.

    Returns
    -------
    float
        The error, in the unit of the values.

    Raises
    ------
    InvalidInputError
        If shapes differ, there are no values, or a number is not finite or a weight below 0.

    Examples
    --------
    >>> rmse([3.0, 5.0], [3.0, 3.0], weights=[3.0, 1.0])
    1.0
    """
    errors, shares = _errors(predicted, values, weights)
    return float(np.sqrt(np.average(errors**2, weights=shares)))


def mae(predicted: ArrayLike, values: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Mean absolute error.

        MAE = sum_e w_e |p_e - v_e| / sum_e w_e

    Parameters
    ----------
    predicted, values, weights
        As for `rmse`.

    Returns
    -------
    float
        The error, in the unit of the values.

    Raises
    ------
    InvalidInputError
        As for `rmse`.

    Examples
    --------
    >>> mae([3.0, 5.0], [3.0, 3.0])
    1.0
    """
    errors, shares = _errors(predicted, values, weights)
    return float(np.average(np.abs(errors), weights=shares))


def _errors(
    predicted: ArrayLike, values: ArrayLike, weights: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return the differences and the weights, or say what is wrong with them."""
    given = {"predicted": predicted, "values": values}
    if weights is not None:
        given["weights"] = weights
    arrays = {name: np.asarray(each, dtype=np.float64) for name, each in given.items()}
    shape = arrays["values"].shape
    for name, array in arrays.items():
        if array.shape != shape or not array.size:
            raise InvalidInputError(
                f"{name} has shape {array.shape} and values has shape {shape}: give equal shapes "
                "with at least one number"
            )
        if not np.isfinite(array).all():
            raise InvalidInputError(f"{name} has a number that is not finite: leave it out")
    shares = arrays.get("weights")
    if shares is not None and (shares.min() < 0 or not shares.sum() > 0):
        raise InvalidInputError("weights are below 0 or all 0: give weights >= 0, not all 0")
    return arrays["predicted"] - arrays["values"], shares
