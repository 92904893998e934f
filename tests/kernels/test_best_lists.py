"""The n best columns by every kernel, for few rows with small whole numbers as factors."""

import numpy as np
import pytest
from scipy import sparse

from twofold.model.ranking import Rules, best_columns, scores_of_pairs
from twofold.model.screening import prepare_screen
from twofold.testing import reference

pytestmark = pytest.mark.plain

N_ROWS, N_COLS, K = 30, 130, 3  # more than a strip of rows and a block of columns


def factors(dtype):
    rng = np.random.default_rng(0)
    P, Q = (rng.integers(-3, 4, (n, K)).astype(dtype) for n in (N_ROWS, N_COLS))
    P[4] = 0.0
    return P, Q


def cells(share, seed):
    return np.random.default_rng(seed).random((N_ROWS, N_COLS)) < share


def assert_best(P, Q, n, can, found):
    positions, scores = reference.top_columns(P, Q, n, can)
    np.testing.assert_array_equal(found[0], positions)
    np.testing.assert_array_equal(found[1], scores)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 7, 140])
@pytest.mark.parametrize("rules", [None, "allowed", "blocked"])
@pytest.mark.parametrize("each_row", [False, True])
def test_rankings(each_row, rules, n, dtype):
    P, Q = factors(dtype)
    can, excluded = ~cells(0.1, 1), sparse.csr_array(cells(0.1, 1))
    held = cells(0.5, 2) if each_row else np.tile(cells(0.5, 2)[0], (N_ROWS, 1))
    options = {}
    if rules is not None:
        chosen = sparse.csr_array(held) if each_row else np.flatnonzero(held[0])
        options["rules"] = Rules(**{rules: chosen})
        can &= held if rules == "allowed" else ~held
    assert_best(P, Q, n, can, best_columns(P, Q, n, excluded, **options))


@pytest.mark.parametrize("rows", [np.arange(N_ROWS), np.array([5])])
def test_scaled_scores(rows):
    """Rows of a strip, and single ones."""
    P, Q = factors("float64")
    scale = np.random.default_rng(3).choice([0.5, 1.0, 4.0], N_COLS)
    found = best_columns(P, Q, 9, rows=rows, scale=scale)
    scaled = Q * scale[:, np.newaxis]
    assert_best(P[rows], scaled, 9, np.ones((rows.size, N_COLS), bool), found)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 7, 140])
def test_screened_rankings(n, dtype):
    """Also for a row of zeros, and for columns that are too long for bounds."""
    P, Q = factors(dtype)
    Q[11] = 1e38
    can, excluded = ~cells(0.1, 1), sparse.csr_array(cells(0.1, 1))
    unranked = np.arange(N_ROWS) == 8
    can[8] = False
    screen = prepare_screen(Q)
    with np.errstate(over="ignore"):
        found = best_columns(P, Q, n, excluded, unranked=unranked, screen=screen)
        expected = best_columns(P, Q, n, excluded, unranked=unranked)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    others = np.arange(N_COLS) != 11
    Q = Q[others]
    found = best_columns(P, Q, n, sparse.csr_array(~can[:, others]), screen=prepare_screen(Q))
    assert_best(P, Q, n, can[:, others], found)


def test_columns_without_a_score():
    P, Q = factors("float32")
    Q[[3, 99]] = np.nan
    can = np.ones((N_ROWS, N_COLS), bool)
    can[:, [3, 99]] = False
    with np.errstate(invalid="ignore"):
        found = best_columns(P, Q, 5)
        screened = best_columns(P, Q, 5, screen=prepare_screen(Q))
    for each in (found, screened):
        assert_best(P, np.nan_to_num(Q), 5, can, each)


def test_scores_of_pairs():
    P, Q = factors("float32")
    rng = np.random.default_rng(4)
    rows, cols = rng.integers(N_ROWS, size=4200), rng.integers(N_COLS, size=4200)
    found = scores_of_pairs(P, Q, rows, cols)
    np.testing.assert_array_equal(found, np.sum(P[rows] * Q[cols], axis=1))
