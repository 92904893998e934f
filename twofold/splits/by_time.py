"""Splits at one time for all rows."""

import math
import warnings
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.checks import check_real
from twofold.data.pairings import Pairings, check_pairings
from twofold.exceptions import InvalidInputError, LeakWarning
from twofold.splits.parts import PairSplit, canonical, pair_split

__all__ = ["split_time"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LATEST = np.iinfo(np.int64).max


def split_time(
    pairings: Pairings,
    cut: datetime | date | str | float | None = None,
    *,
    fraction: float | None = None,
) -> PairSplit:
    """Split at one time for all rows: pairs before the cut are seen, pairs from it on are held out.

    A model of `PairSplit.train` has no information from after the cut. `PairSplit.seen` and
    `PairSplit.heldout` have the same rows and columns, as with the other splits of pairs, so they
    are evaluated in the same way. Everything is in UTC; the time zone of the system is not used.

    Parameters
    ----------
    pairings : Pairings
        Pairs with `Pairings.times`. They are not changed. A pair that is stored twice counts as one
        pair with the sum of its values, the sum of its weights and the later of its times.
    cut : datetime, date, str or float, optional
        A datetime or ISO 8601 text, in UTC unless it has a time zone; a date, for its midnight; or
        a number of seconds since 1970-01-01. Times that are integers are compared with a number as
        they are, in their own unit, and with the others as seconds since 1970-01-01.
    fraction : float, optional
        In place of the cut, the share of all n pairs to hold out, between 0 and 1: the cut is the
        time of the m-th last pair, m = max(1, ``fraction * n``) rounded to the nearest whole number
        (a half to the even one). All pairs of that time are held out.

    Returns
    -------
    PairSplit
        `seen` and `heldout`, each with all rows and all columns of `pairings` at their positions,
        and with its values, weights and times.

    Raises
    ------
    InvalidInputError
        If there are no times, not exactly one of cut and fraction is given, one of them cannot be
        used, or all pairs are on one side of the cut; the message has the range of the times.

    Warns
    -----
    LeakWarning
        If rows or columns have pairs from the cut on only, which a model of `train` cannot
        predict, or rows have pairs on both sides, so that they are not new to a model of `train`;
        with their numbers.

    References
    ----------
    Meng, McCreadie, Macdonald, Ounis, "Exploring Data Splitting Strategies for the Evaluation of
    Recommendation Models", RecSys 2020 ("temporal global split").

    Ji, Sun, Zhang, Li, "A Critical Study on Data Leakage in Recommender System Offline Evaluation",
    ACM Transactions on Information Systems 41(3), 2023.

    Examples
    --------
    >>> import warnings
    >>> days = ["2017-01-01", "2017-06-01", "2017-10-31"]
    >>> pairings = Pairings.from_arrays([1, 1, 2], [7, 8, 7], times=np.array(days, "datetime64[D]"))
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     split = split_time(pairings, "2017-06-01T02:00+02:00")
    >>> split.seen.n_pairs, split.heldout.n_pairs
    (1, 2)
    >>> split.unknown
    Unknown(n_cols=1, n_pairs=1)
    >>> print(caught[0].message)  # doctest: +NORMALIZE_WHITESPACE
    1 rows (1 pairs) and 1 columns (1 pairs) occur only from the cut 2017-06-01T00:00:00.000000 on,
    so a model of the pairs before it does not have them; 1 rows occur on both sides, so they are
    not new to it
    """
    check_pairings(pairings)
    if (cut is None) == (fraction is None):
        raise InvalidInputError("give either a cut or a fraction of the pairs to hold out")
    if pairings.times is None:
        raise InvalidInputError(
            "the pairings have no times to split at: read them with a time, for instance by "
            "read_sql(time=...)"
        )
    pairings, _ = canonical(pairings)
    times: NDArray[Any] = pairings.times  # type: ignore[assignment]
    place = _fraction_cut(times, fraction) if cut is None else _cut(times, cut)
    # As integers, since a cut of any size can be compared with them.
    is_heldout = np.asarray(times.view(np.int64) >= place)
    if is_heldout.all() or not is_heldout.any():
        raise InvalidInputError(_one_sided(times, place, bool(is_heldout.any())))
    split = pair_split(pairings, is_heldout)
    _warn(split, _shown(times, place))
    return split


def _fraction_cut(times: NDArray[Any], fraction: Any) -> int:
    """Return the cut that holds out a fraction of the pairs, in the unit of the times."""
    check_real(fraction, "fraction", above=0.0, below=1.0)
    if not times.size:
        return 0
    n_heldout = max(1, round(fraction * times.size))
    return int(np.partition(times.view(np.int64), times.size - n_heldout)[times.size - n_heldout])


def _cut(times: NDArray[Any], cut: Any) -> int:
    """Return the first integer that is not before the cut, in the unit of the times."""
    is_datetime = times.dtype.kind == "M"
    if isinstance(cut, int | float | np.integer | np.floating) and not isinstance(cut, bool):
        check_real(cut, "cut")
        place = round(cut * 1_000_000) if is_datetime else math.ceil(cut)
    else:
        microseconds = _microseconds(cut)
        place = microseconds if is_datetime else -(-microseconds // 1_000_000)
    return min(max(place, -_LATEST), _LATEST)


def _microseconds(cut: Any) -> int:
    """Return the microseconds since 1970-01-01 UTC."""
    if isinstance(cut, np.datetime64) and not np.isnat(cut):
        return int(cut.astype("datetime64[us]").astype(np.int64))
    if isinstance(cut, str):
        try:
            cut = datetime.fromisoformat(cut)
        except ValueError as error:
            raise InvalidInputError(
                f'cut is {cut!r}: write a date and time as "2017-10-31T12:00+00:00"'
            ) from error
    elif isinstance(cut, date) and not isinstance(cut, datetime):
        cut = datetime(cut.year, cut.month, cut.day)
    if not isinstance(cut, datetime) or cut != cut:  # pandas.NaT is a datetime
        raise InvalidInputError(
            f"cut is {cut!r}: give a datetime, a date, an ISO 8601 text or a number of seconds"
        )
    return ((cut.replace(tzinfo=UTC) if cut.tzinfo is None else cut) - _EPOCH) // _MICROSECOND


def _shown(times: NDArray[Any], place: int) -> str:
    return str(np.datetime64(place, "us")) if times.dtype.kind == "M" else str(place)


def _one_sided(times: NDArray[Any], place: int, after: bool) -> str:
    """Return the message of a cut that does not divide the pairs."""
    if not times.size:
        return "there are no pairs to split"
    side = "not before" if after else "before"
    unit = "" if times.dtype.kind == "M" else " as integers (a date becomes seconds since 1970)"
    return (
        f"all {times.size} pairs are {side} the cut {_shown(times, place)}: their times are from "
        f"{times.min()} to {times.max()}{unit}; give a cut inside"
    )


def _warn(split: PairSplit, place: str) -> None:
    """Warn of rows and columns that are unknown before the cut, and of rows on both sides."""
    n_seen, n_heldout = (np.diff(part.matrix.indptr) for part in split)
    is_new = (n_seen == 0) & (n_heldout > 0)
    n_new, n_both = np.count_nonzero(is_new), np.count_nonzero((n_seen > 0) & (n_heldout > 0))
    n_cols, n_pairs = split.unknown
    if n_new or n_cols or n_both:
        warnings.warn(
            f"{n_new} rows ({n_heldout[is_new].sum()} pairs) and {n_cols} columns ({n_pairs} "
            f"pairs) occur only from the cut {place} on, so a model of the pairs before it does "
            f"not have them; {n_both} rows occur on both sides, so they are not new to it",
            LeakWarning,
            stacklevel=3,
        )
