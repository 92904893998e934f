"""The n best columns, compared with the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from twofold._kernels import topn
from twofold.model import ranking
from twofold.model.ranking import Rules, best_columns, scores_of_pairs, zero_rows
from twofold.testing import reference

DTYPES = st.sampled_from([np.float32, np.float64])


def assert_same(found, expected):
    """Compare positions and scores, which small whole numbers make exact."""
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def random_pairs(rng, m, n_cols, share):
    return sparse.csr_array(rng.random((m, n_cols)) < share)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    m=st.sampled_from([1, 2, 9, 30, 60]),
    n_cols=st.sampled_from([0, 1, 7, 40, 96, 97, 200, 321]),
    n=st.sampled_from([1, 2, 5, 30, 400]),
    dtype=DTYPES,
    excluded=st.sampled_from([None, 0.0, 0.3, 1.0]),
    allowed=st.sampled_from([None, "all rows", "each row"]),
    blocked=st.sampled_from([None, "all rows", "each row"]),
)
def test_best_columns_are_those_of_the_reference(
    seed, m, n_cols, n, dtype, excluded, allowed, blocked
):
    """Many ties, rows of zeros, exclusions and lists of all kinds."""
    rng = np.random.default_rng(seed)
    k, spread = int(rng.integers(1, 12)), int(rng.integers(1, 4))
    P, Q = (rng.integers(-spread, spread + 1, (size, k)).astype(dtype) for size in (m, n_cols))
    can, rules = np.ones((m, n_cols), bool), {}
    if excluded is not None:
        excluded = random_pairs(rng, m, n_cols, excluded)
        can &= ~excluded.toarray()
    for name, kind in (("allowed", allowed), ("blocked", blocked)):
        if kind is None:
            continue
        share = float(rng.choice([0.0, 0.2, 0.8]))
        if kind == "all rows":
            rules[name] = np.flatnonzero(rng.random(n_cols) < share)
            held = np.isin(np.arange(n_cols), rules[name])
        else:
            rules[name] = random_pairs(rng, m, n_cols, share)
            held = rules[name].toarray()
        can &= held if name == "allowed" else ~held
    found = best_columns(P, Q, n, excluded, rules=Rules(**rules))
    assert found[1].dtype == dtype
    assert_same(found, reference.top_columns(P, Q, n, can))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.sampled_from([1, 4, 60]), dtype=DTYPES)
def test_a_row_does_not_depend_on_the_others_or_on_the_threads(seed, n, dtype):
    rng = np.random.default_rng(seed)
    P, Q = (rng.normal(size=(size, 13)).astype(dtype) for size in (150, 333))
    excluded = random_pairs(rng, 150, 333, 0.1)
    expected = best_columns(P, Q, n, excluded, n_threads=1)
    assert_same(best_columns(P, Q, n, excluded, n_threads=2), expected)
    rows = rng.integers(0, 150, int(rng.choice([1, 2, 40])))
    some = best_columns(P, Q, n, excluded, rows=rows)
    assert_same(some, (expected[0][rows], expected[1][rows]))
    lists = Rules(allowed=sparse.csr_array(np.ones((150, 333), bool)))
    assert_same(best_columns(P, Q, n, excluded, rules=lists), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["ascending", "descending", "organ pipe"])
def test_long_lists_and_orders_of_the_scores(order, dtype, monkeypatch):
    n_cols = 1500
    x = np.arange(n_cols) // 3
    x = {"ascending": x, "descending": -x, "organ pipe": -abs(x - x.mean().round())}[order]
    P, Q = np.array([[1.0], [-1.0], [0.0]], dtype), x[:, np.newaxis].astype(dtype)
    for n in (1, 17, 400, 2000):
        expected = reference.top_columns(P, Q, n)
        assert_same(best_columns(P, Q, n), expected)
        monkeypatch.setattr(ranking, "_THREAD_BYTES", 1)  # one row at a time
        assert_same(best_columns(P, Q, n), expected)
        monkeypatch.undo()


@pytest.mark.parametrize("m", [1, 3])
def test_nan_is_not_ranked(m):
    P = np.array([[1.0, 1.0]] * m, np.float32)
    Q = np.array([[1, 0], [np.nan, 0], [np.inf, 0], [-np.inf, 0], [np.inf, -np.inf]], np.float32)
    positions, scores = best_columns(P, Q, 4)
    assert positions.tolist() == [[2, 0, -1, -1]] * m
    np.testing.assert_array_equal(scores, [[np.inf, 1.0, np.nan, np.nan]] * m)


def test_the_scratch_does_not_grow_with_n(monkeypatch):
    capacities = []

    def record(kernel, n_tasks, n_threads, *arguments):
        capacities.append(arguments[-3])
        run(kernel, n_tasks, n_threads, *arguments)

    run = ranking.run
    monkeypatch.setattr(ranking, "run", record)
    P, Q = np.ones((2, 1)), np.ones((5, 1))
    positions, _ = best_columns(P, Q, 100_000)
    assert capacities == [6]
    assert positions[:, :5].tolist() == [[0, 1, 2, 3, 4]] * 2
    assert (positions[:, 5:] == -1).all()


def test_excluded_pairs_in_any_order():
    P, Q = np.ones((2, 1)), np.arange(6.0)[:, np.newaxis]
    entries = (np.ones(5), np.array([5, 3, 5, 4, 0]), np.array([0, 3, 5]))
    excluded = sparse.csr_array(entries, shape=(2, 6))
    assert best_columns(P, Q, 2, excluded)[0].tolist() == [[4, 2], [5, 3]]
    assert excluded.indices.tolist() == [5, 3, 5, 4, 0]
    rows = np.array([1])
    assert best_columns(P, Q, 2, excluded, rows=rows)[0].tolist() == [[5, 3]]


def test_factors_that_are_not_contiguous_or_read_only():
    rng = np.random.default_rng(0)
    P, Q = rng.normal(size=(4, 5)), rng.normal(size=(30, 5))
    expected = best_columns(P, Q, 3)
    assert_same(best_columns(np.asfortranarray(P), np.repeat(Q, 2, axis=1)[:, ::2], 3), expected)
    Q.flags.writeable = False
    assert_same(best_columns(P, Q, 3), expected)


def test_scores_of_pairs_have_the_same_bits():
    rng = np.random.default_rng(0)
    P, Q = (rng.normal(size=(n, 21)).astype(np.float32) for n in (300, 40))
    positions, scores = best_columns(P, Q, 20)
    rows = np.repeat(np.arange(300), 20)
    assert rows.size > topn.PAIRS
    np.testing.assert_array_equal(scores_of_pairs(P, Q, rows, positions.ravel()), scores.ravel())


def test_zero_rows():
    P = np.zeros((5000, 2))
    P[4500, 1] = P[1, 0] = 1.0
    assert np.flatnonzero(~zero_rows(P)).tolist() == [1, 4500]
    assert zero_rows(P, np.array([4500, 0])).tolist() == [False, True]
