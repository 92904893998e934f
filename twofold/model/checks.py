"""Checks of the arguments of requests."""

from typing import Any

from twofold._common.checks import check_whole
from twofold.exceptions import InvalidInputError

__all__ = ["check_n"]

_MAX_PADDED = 100_000  # length of a list with padding, so that no n allocates much for it


def check_n(n: Any, n_candidates: int, what: str = "column") -> int:
    """Return n, or raise unless it is a length of lists of candidates, >= 1.

    Lists have exactly n entries, which metrics rely on, also if there are fewer candidates.
    """
    check_whole(n, "n", 1)
    if n > max(n_candidates, _MAX_PADDED):
        raise InvalidInputError(
            f"n is {n}, but the model has {n_candidates} {what}s: give n={n_candidates} for all of "
            f"them; an n up to {_MAX_PADDED} is padded where there are fewer"
        )
    return int(n)  # Multiples of a small integer of numpy may be beyond its range.
