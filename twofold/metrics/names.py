"""Metrics by name."""

import re
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from twofold.exceptions import InvalidInputError
from twofold.metrics import rows
from twofold.metrics.kinds import ErrorMetric, RowMetric, TableMetric
from twofold.metrics.table import coverage, gini, novelty
from twofold.metrics.targets import mae, rmse

__all__ = ["available", "get"]


class _Entry(NamedTuple):
    """What a name stands for."""

    formula: Callable[..., Any]
    of_table: bool = False
    has_k: bool = True
    needs: tuple[str, ...] = ()
    higher_is_better: bool = True
    of_pair: Callable[[Any], Any] | None = None
    """The error of a pair from the difference, for errors of predicted values."""


_REGISTRY = {
    "precision": _Entry(rows.precision),
    "recall": _Entry(rows.recall),
    "recall-min": _Entry(partial(rows.recall, truncated=True)),
    "ndcg": _Entry(rows.ndcg),
    "ndcg-k": _Entry(partial(rows.ndcg, ideal="k")),
    "map": _Entry(rows.average_precision),
    "map-min": _Entry(partial(rows.average_precision, divisor="min")),
    "map-hits": _Entry(partial(rows.average_precision, divisor="hits")),
    "mrr": _Entry(rows.reciprocal_rank),
    "hit-rate": _Entry(rows.hit_rate),
    "r-precision": _Entry(rows.r_precision, has_k=False),
    "mpd-r-precision": _Entry(rows.mpd_r_precision, has_k=False, needs=("artists",)),
    "mpd-ndcg": _Entry(rows.mpd_ndcg),
    "clicks": _Entry(rows.clicks, higher_is_better=False),
    "coverage": _Entry(coverage, of_table=True),
    "novelty": _Entry(novelty, of_table=True, needs=("col_counts", "n_train_rows")),
    "gini": _Entry(gini, of_table=True, higher_is_better=False),
    "rmse": _Entry(rmse, has_k=False, higher_is_better=False, of_pair=np.square),
    "mae": _Entry(mae, has_k=False, higher_is_better=False, of_pair=np.abs),
}


def available() -> list[str]:
    """Return the names that `get` accepts, with "@k" where a length of the list belongs to them.

    Returns
    -------
    list of str
        For example "recall@k" and "r-precision"; the table in `twofold.metrics` has the formulas.

    Examples
    --------
    >>> available()[:3]
    ['precision@k', 'recall@k', 'recall-min@k']
    """
    return [name + "@k" * entry.has_k for name, entry in _REGISTRY.items()]


def get(text: str) -> RowMetric | TableMetric | ErrorMetric:
    """Return the metric of a text such as "recall@20".

    Parameters
    ----------
    text : str
        A name from `available` in any case, with a whole number >= 1 for k.

    Returns
    -------
    RowMetric, TableMetric or ErrorMetric
        A metric of each row, of the whole table, or of predicted values.

    Raises
    ------
    InvalidInputError
        If there is no such metric, k is missing, or k is given to a metric without one.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold.metrics import judge
    >>> judged = judge([[0, 2], [3, 1]], sparse.csr_array([[1, 0, 0, 1], [0, 1, 0, 0]]))
    >>> get("recall@2").per_row(judged).tolist()
    [0.5, 1.0]
    >>> tally = get("coverage@2").start()
    >>> tally.add(judged)
    >>> tally.value()
    1.0
    >>> get("rmse").value([3.0, 5.0], [4.0, 4.0])
    1.0
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"the metric's name is {text!r}: give a str")
    name, at, number = text.strip().lower().partition("@")
    if name not in _REGISTRY:
        near = get_close_matches(name, _REGISTRY, n=1)
        hint = f'did you mean "{near[0]}"? There' if near else "there"
        raise InvalidInputError(f"there is no metric {text!r}: {hint} are {', '.join(available())}")
    entry = _REGISTRY[name]
    if not entry.has_k and at:
        raise InvalidInputError(f'"{name}" has no length of the list: write it without "@{number}"')
    if entry.has_k and not re.fullmatch("[1-9][0-9]*", number):
        raise InvalidInputError(
            f'{text!r} has no length of the list, a whole number >= 1: write "{name}@20", for '
            "example"
        )
    if entry.of_pair is not None:
        return ErrorMetric(
            name=name, k=None, higher_is_better=entry.higher_is_better, _formula=entry.formula,
            _of_pair=entry.of_pair,
        )  # fmt: skip
    kind = TableMetric if entry.of_table else RowMetric
    k = int(number) if entry.has_k else None
    return kind(
        name=name + at + number, k=k, needs=entry.needs, higher_is_better=entry.higher_is_better,
        _formula=entry.formula,
    )  # fmt: skip
