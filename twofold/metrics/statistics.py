"""Intervals and tests for the values of rows, such as ``recall_at_k(..., per_row=True)``."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from twofold._common.checks import check_choice, check_real, check_whole, seed_of
from twofold.exceptions import InvalidInputError

__all__ = ["Interval", "PairedTest", "bootstrap_interval", "holm", "paired_test"]

_DRAWS = 1 << 20  # random numbers drawn at once


class Interval(NamedTuple):
    """A mean and its confidence interval.

    Attributes
    ----------
    mean, low, high : float
        The mean of the values, and the bounds.

    Examples
    --------
    >>> interval = bootstrap_interval([0.2, 0.4, 0.4, 0.6])
    >>> interval.low <= interval.mean <= interval.high
    True
    """

    mean: float
    low: float
    high: float


class PairedTest(NamedTuple):
    """The result of `paired_test`.

    Attributes
    ----------
    difference : float
        Mean of first - second.
    statistic : float
        The test's statistic: t, the Wilcoxon signed-rank statistic, or the difference.
    p_value : float
        Two-sided.
    n_rows : int
        Number of rows that have both values.

    Examples
    --------
    >>> result = paired_test([0.2, 0.4, 0.4, 0.6], [0.1, 0.2, 0.4, 0.5])
    >>> round(result.difference, 2), result.n_rows
    (0.1, 4)
    """

    difference: float
    statistic: float
    p_value: float
    n_rows: int


def bootstrap_interval(
    values: ArrayLike,
    *,
    level: float = 0.95,
    method: str = "bca",
    n_resamples: int = 2000,
    rng: int | np.random.Generator | None = 0,
) -> Interval:
    """Confidence interval of the mean over rows, by resampling rows with replacement.

    The percentile interval has the quantiles (1 - level) / 2 and (1 + level) / 2 of the resampled
    means as bounds. BCa, bias-corrected and accelerated, shifts these quantiles; the acceleration
    of a mean is sum (x - mean)^3 / (6 (sum (x - mean)^2)^(3/2)) in closed form, so that no
    jackknife is needed, which would take n^2 operations in `scipy.stats.bootstrap`.

    Parameters
    ----------
    values : array_like of float, shape (n_rows,)
        One value for each row; NaN is left out.
    level : float, default 0.95
        Confidence level, between 0 and 1.
    method : {"bca", "percentile"}, default "bca"
        Which interval.
    n_resamples : int, default 2000
        Number of resampled means, at least 1.
    rng : int, numpy.random.Generator or None, default 0
        Seed of the resamples. None draws a new one from the operating system.

    Returns
    -------
    Interval
        `mean`, `low` and `high`.

    Raises
    ------
    InvalidInputError
        If there are fewer than two values, or an argument is out of range.

    References
    ----------
    Efron, "Better Bootstrap Confidence Intervals", JASA 82, 1987; DiCiccio and Efron, "Bootstrap
    Confidence Intervals", Statistical Science 11, 1996.

    Examples
    --------
    >>> found = bootstrap_interval([0.0, 0.5, 0.5, 1.0, float("nan")])
    >>> found.mean, bool(found.low < 0.5 < found.high)
    (0.5, True)
    """
    check_choice(method, "method", ("bca", "percentile"))
    check_real(level, "level", above=0.0, below=1.0)
    check_whole(n_resamples, "n_resamples", 1)
    x = _column(values, "values")
    x = x[~np.isnan(x)]
    _check_enough(x.size, "values has")
    mean = float(x.mean())
    means = _resampled_means(x, n_resamples, np.random.default_rng(seed_of(rng)))
    shares = np.array([1 - level, 1 + level]) / 2
    deviations = x - mean
    spread = float(deviations @ deviations)
    if method == "bca" and spread > 0:
        below = (np.sum(means < mean) + np.sum(means == mean) / 2) / n_resamples
        bias = stats.norm.ppf(np.clip(below, 0.5 / n_resamples, 1 - 0.5 / n_resamples))
        acceleration = np.sum(deviations**3) / (6 * spread**1.5)
        z = bias + stats.norm.ppf(shares)
        shares = stats.norm.cdf(bias + z / (1 - acceleration * z))
    low, high = np.quantile(means, shares)
    return Interval(mean, float(low), float(high))


def paired_test(
    first: ArrayLike,
    second: ArrayLike,
    *,
    test: str = "randomization",
    n_resamples: int = 9999,
    rng: int | np.random.Generator | None = 0,
) -> PairedTest:
    """Test whether two models differ on the same rows.

    The null hypothesis is that the differences first - second are symmetric about 0
    ("randomization", "wilcoxon"), or have mean 0 ("t"). Randomization flips the signs of the
    differences at random: p = (1 + number of flips with a mean at least as far from 0) /
    (1 + n_resamples).

    Parameters
    ----------
    first, second : array_like of float, shape (n_rows,)
        The values of two models for the same rows; a row with a NaN is left out of both.
    test : {"randomization", "t", "wilcoxon"}, default "randomization"
        Which test; the latter two are `scipy.stats.ttest_1samp` and `scipy.stats.wilcoxon` of the
        differences. Wilcoxon leaves differences of 0 out.
    n_resamples : int, default 9999
        Number of random flips of signs, at least 1.
    rng : int, numpy.random.Generator or None, default 0
        Seed of the flips. None draws a new one from the operating system.

    Returns
    -------
    PairedTest
        `difference`, `statistic`, `p_value` and `n_rows`. Equal arrays have the p-value 1.

    Raises
    ------
    InvalidInputError
        If the arrays differ in length, fewer than two rows have both values, or an argument is out
        of range.

    References
    ----------
    Smucker, Allan and Carterette, "A Comparison of Statistical Significance Tests for Information
    Retrieval Evaluation", CIKM 2007. Phipson and Smyth, "Permutation P-values Should Never Be
    Zero", 2010.

    Examples
    --------
    >>> found = paired_test([0.5, 0.75, 1.0, 0.5], [0.25, 0.5, 0.75, 0.25], test="wilcoxon")
    >>> found.difference, found.p_value
    (0.25, 0.125)
    """
    check_choice(test, "test", ("randomization", "t", "wilcoxon"))
    check_whole(n_resamples, "n_resamples", 1)
    a, b = _column(first, "first"), _column(second, "second")
    if a.size != b.size:
        raise InvalidInputError(
            f"first has {a.size} rows but second has {b.size}: compare values of the same rows"
        )
    differences = (a - b)[~np.isnan(a - b)]
    n = differences.size
    _check_enough(n, "first and second have")
    mean = float(differences.mean())
    if not differences.any():
        return PairedTest(0.0, 0.0, 1.0, n)
    if test == "randomization":
        p = _sign_flips(differences, n_resamples, np.random.default_rng(seed_of(rng)))
        return PairedTest(mean, mean, p, n)
    if test == "t" and np.ptp(differences) == 0:
        return PairedTest(mean, float(np.copysign(np.inf, mean)), 0.0, n)
    found = stats.ttest_1samp(differences, 0.0) if test == "t" else stats.wilcoxon(differences)
    return PairedTest(mean, float(found.statistic), float(found.pvalue), n)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values of several tests, so that the chance of any false rejection is bounded.

        adjusted p_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)),   p_(1) <= ... <= p_(m)

    Reject where the adjusted value is at most the wanted level.

    Parameters
    ----------
    p_values : array_like of float, shape (m,)
        From 0 to 1.

    Returns
    -------
    ndarray of float64, shape (m,)
        The adjusted values in the order of `p_values`.

    Raises
    ------
    InvalidInputError
        If a value is not from 0 to 1.

    References
    ----------
    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 6, 1979.

    Examples
    --------
    >>> holm([0.25, 0.125, 0.5]).tolist()
    [0.5, 0.375, 0.5]
    """
    p = _column(p_values, "p_values")
    if not ((p >= 0) & (p <= 1)).all():
        raise InvalidInputError("p_values has a value that is not from 0 to 1")
    order = np.argsort(p)
    adjusted = np.empty(p.size)
    factors = np.arange(p.size, 0, -1)
    adjusted[order] = np.maximum.accumulate(np.minimum(factors * p[order], 1))
    return adjusted


def _resampled_means(
    x: NDArray[np.float64], n_resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    means = np.empty(n_resamples)
    step = max(1, _DRAWS // x.size)
    for i in range(0, n_resamples, step):
        n = min(step, n_resamples - i)
        means[i : i + n] = x[rng.integers(x.size, size=(n, x.size), dtype=np.int32)].mean(axis=1)
    return means


def _sign_flips(
    differences: NDArray[np.float64], n_resamples: int, rng: np.random.Generator
) -> float:
    """Return the p-value; differences of 0 do not change under flips and are left out."""
    d = differences[differences != 0]
    total, n_far = d.sum(), 0
    limit = abs(total) * (1 - 1e-12)  # sums in another order may differ by rounding
    step = max(1, _DRAWS // d.size)
    for i in range(0, n_resamples, step):
        shape = (min(step, n_resamples - i), (d.size + 7) // 8)
        bits = np.unpackbits(rng.integers(256, size=shape, dtype=np.uint8), axis=1, count=d.size)
        n_far += int(np.sum(np.abs(total - 2 * (bits @ d)) >= limit))
    return (1 + n_far) / (1 + n_resamples)


def _column(values: ArrayLike, name: str) -> NDArray[np.float64]:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or np.isinf(found).any():
        raise InvalidInputError(
            f"{name} has {found.ndim} dimensions or an infinite value: give a one-dimensional "
            "array of numbers"
        )
    return found


def _check_enough(n: int, subject: str) -> None:
    if n < 2:
        raise InvalidInputError(f"{subject} {n} rows with a value: at least 2 are needed")
