"""What holds for every split."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse

from twofold import Pairings
from twofold.exceptions import InvalidInputError, LeakWarning
from twofold.splits import split_challenge, split_last, split_pairs, split_rows, split_time


def of_challenge(pairings, rng):
    train, tasks = split_challenge(pairings, 1, tasks=[1, 2], rng=rng)
    return [train, *tasks[1], *tasks[2]]


# The parts of a split: the one to train on, then the others.
SPLITS = {
    "rows": lambda pairings, rng: [*split_rows(pairings, validation=0.2, test=0.3, rng=rng)],
    "pairs": lambda pairings, rng: [*split_pairs(pairings, fraction=0.4, rng=rng)],
    "last": lambda pairings, rng: [*split_last(pairings, 2)],
    "time": lambda pairings, rng: [*split_time(pairings, fraction=0.3)],
    "challenge": of_challenge,
}
RANDOM = {"rows", "pairs", "challenge"}
ALL_SPLITS = pytest.mark.parametrize("name", SPLITS)


def parts_of(name, pairings, rng=0):
    """Return the parts of a split, or reject the example if it cannot be split."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)
        try:
            return SPLITS[name](pairings, rng)
        except InvalidInputError:
            assume(False)


@st.composite
def pairings_of_all_kinds(draw):
    """Pairs with values, weights and times, of which several are equal; ids of any order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_rows, n_cols = draw(st.integers(6, 14)), draw(st.integers(2, 7))
    cells = np.flatnonzero(rng.random(n_rows * n_cols) < draw(st.sampled_from([0.4, 0.8])))
    rows, cols = np.divmod(cells, n_cols)
    n = rows.size
    counts = np.bincount(rows, minlength=n_rows)
    row_ids, col_ids = rng.permutation(1000)[:n_rows], rng.permutation(1000)[:n_cols]
    times = rng.integers(0, 6, n)
    if draw(st.booleans()):
        row_ids, col_ids = row_ids.astype(str).tolist(), col_ids.astype(str).tolist()
        times = np.datetime64("2017-01-01") + times
    given = {"weights": rng.random(n) if draw(st.booleans()) else None, "times": times}
    indptr = np.concatenate([[0], np.cumsum(counts)])
    matrix = sparse.csr_array((rng.random(n), cols, indptr), shape=(n_rows, n_cols))
    return Pairings(matrix, row_ids, col_ids, **given)


def stored(pairings):
    """All that is stored of each pair: ids, value, weight and time."""
    matrix = pairings.matrix
    rows = np.repeat(pairings.row_ids, np.diff(matrix.indptr)).tolist()
    numbers = [array.tolist() for array in (matrix.data, *pairings.beside.values())]
    return list(zip(rows, pairings.col_ids[matrix.indices].tolist(), *numbers, strict=True))


def arrays_of(pairings):
    matrix = pairings.matrix
    return [
        matrix.indptr, matrix.indices, matrix.data, pairings.row_ids, pairings.col_ids,
        *pairings.beside.values(),
    ]  # fmt: skip


def same_bits(first, second):
    return all(
        a.dtype == b.dtype and np.array_equal(a, b)
        for a, b in zip(arrays_of(first), arrays_of(second), strict=True)
    )


@ALL_SPLITS
@settings(max_examples=40)
@given(pairings_of_all_kinds())
def test_each_pair_is_in_one_part_with_its_numbers(name, pairings):
    parts = parts_of(name, pairings)
    found = [pair for part in parts for pair in stored(part)]
    assert sorted(found) == sorted(stored(pairings))
    assert len({pair[:2] for pair in found}) == pairings.n_pairs


@ALL_SPLITS
@settings(max_examples=40)
@given(pairings_of_all_kinds())
def test_no_pair_of_the_others_is_in_the_training_part(name, pairings):
    train, *others = parts_of(name, pairings)
    trained = {pair[:2] for pair in stored(train)}
    for part in others:
        assert not trained & {pair[:2] for pair in stored(part)}


@ALL_SPLITS
@settings(max_examples=40)
@given(pairings_of_all_kinds())
def test_ids_keep_their_order(name, pairings):
    parts = parts_of(name, pairings)
    for index, part in enumerate(parts):
        assert (np.diff(pairings.row_index(part.row_ids)) > 0).all()
        assert (np.diff(pairings.col_index(part.col_ids)) > 0).all()
        assert part.matrix.has_canonical_format
        if index:  # all but the training part have all columns
            assert part.col_ids.tolist() == pairings.col_ids.tolist()
    train = parts[0]
    if name in ("rows", "challenge"):
        assert set(train.matrix.indices.tolist()) == set(range(train.shape[1]))
    else:
        assert train.shape == pairings.shape


@ALL_SPLITS
@settings(max_examples=40)
@given(pairings_of_all_kinds(), st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_bits(name, pairings, seed):
    first, second = parts_of(name, pairings, seed), parts_of(name, pairings, seed)
    assert all(map(same_bits, first, second))
    generated = parts_of(name, pairings, np.random.default_rng(seed))
    assert all(map(same_bits, generated, parts_of(name, pairings, np.random.default_rng(seed))))


@ALL_SPLITS
@settings(max_examples=40)
@given(pairings_of_all_kinds())
def test_the_input_is_unchanged_and_shared_by_no_part(name, pairings):
    before = [array.copy() for array in arrays_of(pairings)]
    for part in parts_of(name, pairings):
        for array in (part.matrix.data, part.matrix.indices, *part.beside.values()):
            array[:] = array[:1] if array.size else array
            assert not any(np.shares_memory(array, own) for own in arrays_of(pairings))
    assert all(map(np.array_equal, before, arrays_of(pairings)))


def many(n_rows=40, n_cols=20):
    rows, cols = np.divmod(np.arange(n_rows * n_cols), n_cols)
    return Pairings.from_arrays(rows, cols, times=cols)


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_the_seed_decides(name):
    pairings = many()

    def found(rng):
        return [stored(part) for part in SPLITS[name](pairings, rng)]

    assert found(4) == found(4)
    assert found(4) != found(5)
    generator = np.random.default_rng(4)
    assert found(generator) != found(generator)
    assert found(None) != found(None)


@pytest.mark.parametrize("name", sorted(RANDOM))
@pytest.mark.parametrize("rng", [-1, "seed", np.random.RandomState(0)])
def test_a_wrong_seed_is_an_error(name, rng):
    with pytest.raises(InvalidInputError, match="rng is"):
        SPLITS[name](many(), rng)


@pytest.mark.parametrize("name", ["pairs", "last", "time", "challenge"])
def test_a_pair_that_is_stored_twice_is_one_pair(name):
    """It has the sum of the values and of the weights, and the latest time."""
    n_rows = 5
    matrix = sparse.csr_array(
        (np.tile([1.0, 2.0, 4.0], n_rows), np.tile([1, 0, 1], n_rows), 3 * np.arange(n_rows + 1)),
        shape=(n_rows, 2),
    )
    numbers = {"weights": np.tile([0.5, 8.0, 0.25], n_rows), "times": np.tile([9, 5, 1], n_rows)}
    pairings = Pairings(matrix, range(n_rows), ["a", "b"], **numbers)
    parts = parts_of(name, pairings)
    expected = [
        pair
        for row in range(n_rows)
        for pair in [(row, "a", 2.0, 8.0, 5), (row, "b", 5.0, 0.75, 9)]
    ]
    assert sorted(pair for part in parts for pair in stored(part)) == expected
    if name in ("last", "time"):
        assert {pair[1] for pair in stored(parts[1])} == {"b"}
    assert matrix.indices.tolist() == [1, 0, 1] * n_rows
