import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from twofold import Pairings
from twofold._kernels.csr import CHUNK, count_digits, find_rows
from twofold._kernels.threads import run
from twofold.data.csr import build_csr, encode_integers
from twofold.exceptions import InvalidInputError

PAIRS = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3)), max_size=60)


@given(PAIRS, st.booleans())
def test_sorting_digits_is_sorting(pairs, swapped):
    if swapped:
        pairs = [pair[::-1] for pair in pairs]
    rows, cols = (np.array([pair[axis] for pair in pairs], np.int32) for axis in (0, 1))
    values = np.arange(len(pairs), dtype=np.float64)
    ids = np.arange(5001)
    matrix, none = build_csr(rows.copy(), cols.copy(), values, ids, ids, "count")
    assert none is None
    expected = sparse.coo_array((values, (rows, cols)), shape=(5001, 5001)).tocsr()
    np.testing.assert_array_equal(matrix.indptr, expected.indptr)
    np.testing.assert_array_equal(matrix.indices, expected.indices)
    np.testing.assert_array_equal(matrix.data, expected.data)
    counts, weights = build_csr(rows.copy(), cols.copy(), None, ids, ids, "count", values)
    np.testing.assert_array_equal(weights, expected.data)
    once, _ = build_csr(rows.copy(), cols.copy(), None, ids, ids, "keep-one")
    assert counts.sum() == len(pairs)
    assert once.nnz == counts.nnz == len(set(pairs))
    np.testing.assert_array_equal(once.indices, expected.indices)


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9))))
def test_integers_become_their_places(parts):
    arrays = [np.array(part, np.int64) for part in parts]
    whole = np.concatenate([np.empty(0, np.int64), *arrays])
    distinct, places = encode_integers(arrays)
    np.testing.assert_array_equal(distinct, np.unique(whole))
    np.testing.assert_array_equal(distinct[places], whole)


def test_one_thread_gives_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, 900, (2, 5000))
    values = rng.normal(size=5000)
    found = []
    for n_threads in (1, 2, 5):
        monkeypatch.setattr("twofold.data.csr.available_threads", lambda n=n_threads: n)
        matrix = Pairings.from_arrays(rows, cols, values, duplicates="count").matrix
        found.append((matrix.indptr.tolist(), matrix.indices.tolist(), matrix.data.tobytes()))
    assert found[0] == found[1] == found[2]


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="two thousand million steps of Python")
def test_more_than_2_to_31_pairs():
    n = 2**31 + 5
    rows = np.broadcast_to(np.int32(1), n)  # takes no memory
    indptr = np.empty(4, np.int64)
    run(find_rows, -(-(n + 1) // CHUNK), 2, rows, indptr)
    assert indptr.tolist() == [0, 0, n, n]
    counts = np.zeros((1, 2048), np.int64)
    run(count_digits, 1, 1, rows, 0, np.array([0, n]), counts)
    assert counts[0, 1] == n


def test_a_sum_beyond_float64_is_refused():
    with pytest.raises(InvalidInputError, match="row 1 and column 2 has values whose sum"):
        Pairings.from_arrays([0, 1, 1], [2, 2, 2], [1.0, 1e308, 1e308], duplicates="count")
