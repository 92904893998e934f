"""Weights beside the values of pairings: they stay with their pairs, whatever is done to these."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from twofold import Pairings, split_pairs, split_rows
from twofold.data.files import write_file
from twofold.data.stored import parts_of
from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.io import read_npz

pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")
pd = pytest.importorskip("pandas")


def entries(pairings: Pairings) -> list[tuple[object, object, float, float]]:
    """Row id, column id, value and weight of each stored entry, in their order."""
    assert pairings.weights is not None
    assert pairings.weights.dtype == np.float64
    assert pairings.weights.shape == (pairings.n_pairs,)
    matrix = pairings.matrix
    rows = np.repeat(pairings.row_ids, np.diff(matrix.indptr))
    columns = rows, pairings.col_ids[matrix.indices], matrix.data, pairings.weights
    return list(zip(*(column.tolist() for column in columns), strict=True))


def weighted(n_rows: int = 20, n_cols: int = 15, seed: int = 0) -> Pairings:
    """Pairs in any order, each with a value of its own and half of it as weight."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(n_rows * n_cols, size=n_rows * n_cols // 3, replace=False)
    rows, cols = cells // n_cols, cells % n_cols
    return Pairings.from_arrays(rows, cols, cells, weights=cells / 2)


def is_in_step(pairings: Pairings, n_cols: int = 15) -> bool:
    return all(
        row * n_cols + col == value == 2 * weight for row, col, value, weight in entries(pairings)
    )


def test_without_weights_there_are_none(tmp_path):
    pairings = Pairings.from_arrays([1, 1, 2], [5, 6, 5])
    pairings.save(tmp_path / "a")
    pairings.save(tmp_path / "a.npz")
    for each in (
        pairings, pairings.align([6]), pairings.take_rows([1]), *split_pairs(pairings),
        Pairings.open(tmp_path / "a"), read_npz(tmp_path / "a.npz"),
    ):  # fmt: skip
        assert each.weights is None


def test_weights_stay_with_their_pairs():
    pairings = weighted()
    assert pairings.n_pairs == 100
    assert is_in_step(pairings)
    rng = np.random.default_rng(1)
    taken = pairings.take_rows(rng.permutation(pairings.shape[0])[:9])
    aligned = pairings.align(rng.permutation(15)[:11])
    for each in (taken, aligned, pickle.loads(pickle.dumps(pairings))):
        assert each.n_pairs
        assert is_in_step(each)
    assert aligned.n_dropped_pairs == 100 - aligned.n_pairs
    for parts in (split_rows(pairings), split_pairs(pairings, fraction=0.4)):
        assert sum(part.n_pairs for part in parts) == 100
        assert all(is_in_step(part) for part in parts)
    assert is_in_step(pairings)
    assert len(pairings.take_rows([]).weights) == 0


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_align_of_entries_in_any_order(data):
    size = data.draw(st.integers(0, 20))
    positions = st.lists(st.integers(0, 4), min_size=size, max_size=size)
    rows, cols = (np.array(data.draw(positions), dtype=int) for _ in range(2))
    matrix = sparse.coo_array((np.arange(float(size)), (rows, cols)), shape=(5, 5))
    pairings = Pairings(matrix, range(5), range(5), weights=matrix / 2)
    order = data.draw(st.permutations(range(5)))
    for each in (pairings.align(order), pairings.take_rows(order), pairings.align(order[:3])):
        assert all(value == 2 * weight for _, _, value, weight in entries(each))


def test_split_pairs_adds_up_the_weights_of_repeated_entries():
    parts = (np.array([1.0, 2.0, 4.0]), np.array([1, 0, 1]), np.array([0, 3]))
    matrix = sparse.csr_array(parts, shape=(1, 2))
    pairings = Pairings(matrix, ["u"], ["a", "b"], weights=[0.5, 8.0, 0.25])
    assert entries(pairings) == [
        ("u", "b", 1.0, 0.5),
        ("u", "a", 2.0, 8.0),
        ("u", "b", 4.0, 0.25),
    ]
    seen, heldout = split_pairs(pairings, fraction=0.5)
    assert sorted(entries(seen) + entries(heldout)) == [("u", "a", 2.0, 8.0), ("u", "b", 5.0, 0.75)]
    assert matrix.indices.tolist() == [1, 0, 1]
    assert pairings.weights.tolist() == [0.5, 8.0, 0.25]


def test_duplicates():
    rows, cols = [1, 2, 1, 1], [5, 6, 5, 5]
    same = Pairings.from_arrays(rows, cols, [3, 1, 3, 3], weights=[2, 0, 2, 2])
    assert entries(same) == [(1, 5, 3.0, 2.0), (2, 6, 1.0, 0.0)]
    added = Pairings.from_arrays(
        rows, cols, [3, 1, 2, 2], weights=[2, 0, 0.5, 1], duplicates="count"
    )
    assert entries(added) == [(1, 5, 7.0, 3.5), (2, 6, 1.0, 0.0)]
    counted = Pairings.from_arrays(rows, cols, weights=[2, 0, 0.5, 1], duplicates="count")
    assert entries(counted) == [(1, 5, 3.0, 3.5), (2, 6, 1.0, 0.0)]
    kept = Pairings.from_arrays(rows, cols, weights=[2, 0, 2, 2])
    assert entries(kept) == [(1, 5, 1.0, 2.0), (2, 6, 1.0, 0.0)]
    for values in (None, [3, 1, 3, 3]):
        with pytest.raises(
            InvalidInputError, match="row 1 and column 5 occurs with different weig"
        ):
            Pairings.from_arrays(rows, cols, values, weights=[2, 0, 2, 1])
        with pytest.raises(InvalidInputError, match="occurs more than once"):
            Pairings.from_arrays(rows, cols, values, weights=[2, 0, 2, 2], duplicates="error")
    with pytest.raises(InvalidInputError, match="different values"):
        Pairings.from_arrays(rows, cols, [3, 1, 3, 2], weights=[2, 0, 2, 2])
    with pytest.raises(InvalidInputError, match="has weights whose sum is beyond float64"):
        Pairings.from_arrays(rows, cols, weights=[1e308, 0, 1e308, 0], duplicates="count")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, -2.0, 3.0], "the weight of row 'x', column 5 is -2.0: weights must be finite and"),
        ([1.0, 2.0, np.inf], "the weight of row 'y', column 6 is inf"),
        ([np.nan, 2.0, 3.0], "the weight of row 'x', column 6 is nan"),
        ([1.0, 2.0], r"weights has shape \(2,\), but the matrix has 3 stored entries"),
        ([[1.0], [2.0], [3.0]], r"weights has shape \(3, 1\)"),
        (2.0, r"weights has shape \(\)"),
        (["much", 1.0, 2.0], "weights must be numbers, one for each entry: could not"),
    ],
)
def test_what_is_no_weight(weights, message):
    matrix = sparse.csr_array((np.ones(3), np.array([1, 0, 1]), np.array([0, 2, 3])), shape=(2, 2))
    with pytest.raises(InvalidInputError, match=message):
        Pairings(matrix, ["x", "y"], [5, 6], weights=weights)
    for duplicates in ("keep-one", "count"):
        with pytest.raises(InvalidInputError, match=r"'weights' holds|weights (has|holds)"):
            Pairings.from_arrays(["x", "x", "y"], [6, 5, 6], weights=weights, duplicates=duplicates)


def test_a_sum_does_not_hide_a_weight_below_0():
    with pytest.raises(InvalidInputError, match=r"holds -1.0 where rows is 1 and cols is 2"):
        Pairings.from_arrays([1, 1], [2, 2], weights=[3, -1], duplicates="count")


@pytest.mark.parametrize("kind", ["coo", "csc", "csr", "lil"])
@pytest.mark.parametrize("other", ["coo", "csc", "csr", "lil"])
def test_sparse_weights_of_every_format(small, kind, other):
    weights = (small * 2).asformat(other)
    pairings = Pairings(small.asformat(kind), range(30), range(20), weights=weights)
    assert all(2 * value == weight for _, _, value, weight in entries(pairings))
    np.testing.assert_array_equal(weights.toarray(), 2 * small.toarray())
    assert pairings.weights.size == small.nnz
    if kind != "csr":
        with pytest.raises(InvalidInputError, match=f"the matrix is in {kind.upper()} format"):
            Pairings(small.asformat(kind), range(30), range(20), weights=np.ones(small.nnz))


def test_sparse_weights_in_another_order():
    matrix = sparse.csr_array(
        (np.array([1.0, 2.0, 3.0]), np.array([2, 0, 1]), np.array([0, 3])), shape=(1, 3)
    )
    weights = sparse.csr_array(np.array([[20.0, 30.0, 10.0]]))
    pairings = Pairings(matrix, [0], [0, 1, 2], weights=weights)
    assert pairings.weights.tolist() == [10.0, 20.0, 30.0]
    assert weights.data.tolist() == [20.0, 30.0, 10.0]


@pytest.mark.parametrize(
    "weights",
    [
        sparse.csr_array([[1.0, 1.0], [1.0, 0.0]]), sparse.csr_array([[1.0, 0.0], [0.0, 0.0]]),
        sparse.csr_array([[0.0, 1.0], [0.0, 1.0]]), sparse.csr_array([[1.0, 0.0, 0.0]] * 2),
        sparse.coo_array((np.ones(3), ([0, 1, 1], [0, 1, 1])), shape=(2, 2)),
    ],
)  # fmt: skip
def test_sparse_weights_with_other_entries(weights):
    with pytest.raises(InvalidInputError, match="both must have the same stored entries"):
        Pairings(sparse.eye_array(2).tocsr(), [1, 2], [1, 2], weights=weights)


def test_room_behind_the_entries_has_no_weights():
    parts = (np.array([1.0, 2.0, 9.0, 9.0]), np.array([1, 0, 0, 7]), np.array([0, 1, 2]))
    pairings = Pairings(sparse.csr_array(parts, shape=(2, 8)), [1, 2], range(8), weights=[3.0, 4.0])
    assert entries(pairings.align([0, 1])) == [(1, 1, 1.0, 3.0), (2, 0, 2.0, 4.0)]
    assert pairings.align([0]).n_dropped_pairs == 1
    assert split_pairs(pairings).seen.n_pairs == 2


@pytest.mark.parametrize("mmap", [True, False])
def test_files_keep_weights(mmap, tmp_path):
    pairings = weighted()
    pairings.save(tmp_path / "a")
    pairings.save(tmp_path / "a.npz")
    for found in (Pairings.open(tmp_path / "a", mmap, verify=True), read_npz(tmp_path / "a.npz")):
        assert entries(found) == entries(pairings)
        assert is_in_step(split_rows(found).train)


def test_an_open_cache_shares_its_weights(tmp_path):
    weighted().save(tmp_path / "a")
    before = (tmp_path / "a").read_bytes()
    found = Pairings.open(tmp_path / "a")
    found.weights[:] = 7
    assert (tmp_path / "a").read_bytes() == before
    assert is_in_step(Pairings.open(tmp_path / "a"))


@pytest.mark.parametrize(
    ("weights", "message"),
    [([1.0, -1.0], "column 2 is -1.0"), ([1.0, np.nan], "is nan"), ([1.0], "shape")],
)
def test_open_refuses_what_is_no_weight(weights, message, tmp_path):
    arrays, meta = parts_of(Pairings.from_arrays([1, 2], [1, 2]))
    write_file(tmp_path / "a", "pairings", 1, arrays | {"weights": np.array(weights)}, meta)
    with pytest.raises(FileFormatError, match=message):
        Pairings.open(tmp_path / "a")


def test_arrays_of_numpy(tmp_path):
    columns = {"rows": ["a", "b", "a"], "cols": [1, 2, 1], "weights": [0.5, 2.0, 0.25]}
    np.savez(tmp_path / "a.npz", **columns)
    found = read_npz(tmp_path / "a.npz", duplicates="count")
    assert entries(found) == [("a", 1, 2.0, 0.75), ("b", 2, 1.0, 2.0)]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_frames(make):
    frame = make({"pid": [2, 1, 1], "tid": ["b", "b", "a"], "v": [1, 2, 3], "w": [0.5, 0.0, 2.0]})
    found = Pairings.from_frame(frame, value="v", weight="w")
    assert entries(found) == [(1, "a", 3.0, 2.0), (1, "b", 2.0, 0.0), (2, "b", 1.0, 0.5)]
    alone = Pairings.from_frame(frame, weight="w")
    assert entries(alone) == [(1, "a", 1.0, 2.0), (1, "b", 1.0, 0.0), (2, "b", 1.0, 0.5)]
    twice = Pairings.from_frame(frame, value="w", weight="w")
    assert [entry[2] for entry in entries(twice)] == [entry[3] for entry in entries(twice)]
    for column, message in (
        ([0.5, None, 2.0], "column 'w' holds NULL where pid is 1 and tid is 'b'"),
        (
            [0.5, -1.0, 2.0],
            "'w' holds -1.0 where pid is 1 and tid is 'b': weights must be .* >= 0",
        ),
        (["a", "b", "c"], "column 'w' holds"),
    ):
        bad = make({"pid": [2, 1, 1], "tid": ["b", "b", "a"], "w": column})
        with pytest.raises(InvalidInputError, match=message):
            Pairings.from_frame(bad, weight="w")
    with pytest.raises(InvalidInputError, match="no column 'x'"):
        Pairings.from_frame(frame, weight="x")
    with pytest.raises(InvalidInputError, match="weight is 3: it must be a name"):
        Pairings.from_frame(frame, weight=3)
