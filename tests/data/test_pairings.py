import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from twofold import Objective, Pairings
from twofold.data.csr import as_csr
from twofold.data.files import write_file
from twofold.data.stored import parts_of
from twofold.exceptions import FileFormatError, InvalidInputError, UnknownIdError
from twofold.objective import Problem
from twofold.solvers import ALS

integers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(max_size=8)
pairs = st.one_of(
    st.lists(st.tuples(rows, cols), max_size=30)
    for rows in (integers, texts, st.integers(0, 3))
    for cols in (integers, texts, st.integers(0, 3))
)


def columns_of(listed):
    return [pair[0] for pair in listed], [pair[1] for pair in listed]


def cells(pairings: Pairings) -> dict[tuple[object, object], float]:
    entries = pairings.matrix.tocoo()
    rows, cols = pairings.row_ids[entries.row].tolist(), pairings.col_ids[entries.col].tolist()
    found = dict(zip(zip(rows, cols, strict=True), entries.data.tolist(), strict=True))
    assert len(found) == entries.nnz  # no cell is stored twice
    return found


@settings(deadline=None)
@given(pairs)
def test_from_arrays_keeps_every_pair_and_the_order_of_ids(listed):
    pairings = Pairings.from_arrays(*columns_of(listed))
    assert cells(pairings) == dict.fromkeys(listed, 1.0)
    assert pairings.row_ids.tolist() == sorted({row for row, _ in listed})
    assert pairings.col_ids.tolist() == sorted({col for _, col in listed})
    assert pairings.matrix.dtype == np.float32
    assert pairings.matrix.has_sorted_indices
    counted = Pairings.from_arrays(*columns_of(listed), duplicates="count")
    assert cells(counted) == {pair: listed.count(pair) for pair in listed}


@settings(deadline=None)
@given(pairs, st.data())
def test_align_keeps_known_pairs_and_counts_the_others(listed, data):
    pairings = Pairings.from_arrays(*columns_of(listed))
    known = data.draw(st.permutations(sorted({col for _, col in listed})))[: len(listed) // 2]
    vocabulary = [*known, "new"] if known and isinstance(known[0], str) else known
    vocabulary = list(dict.fromkeys(vocabulary))
    aligned = pairings.align(vocabulary)
    kept = {pair for pair in listed if pair[1] in vocabulary}
    assert cells(aligned) == dict.fromkeys(kept, 1.0)
    assert aligned.row_ids.tolist() == pairings.row_ids.tolist()
    assert aligned.col_ids.tolist() == vocabulary
    lost = set(listed) - kept
    assert aligned.n_dropped_pairs == len(lost)
    assert aligned.n_dropped_cols == len({col for _, col in lost})
    if lost:
        with pytest.raises(UnknownIdError, match=f"{len({c for _, c in lost})} columns"):
            pairings.align(vocabulary, unknown="error")
    else:
        assert cells(pairings.align(vocabulary, unknown="error")) == cells(pairings)


@settings(deadline=None)
@given(pairs, st.data())
def test_take_rows_and_positions_of_ids(listed, data):
    pairings = Pairings.from_arrays(*columns_of(listed))
    ids = data.draw(st.permutations(pairings.row_ids.tolist()))
    taken = pairings.take_rows(pairings.row_index(ids))
    assert taken.row_ids.tolist() == ids
    assert cells(taken) == cells(pairings)
    cols = data.draw(st.permutations(pairings.col_ids.tolist()))
    assert pairings.col_ids[pairings.col_index(cols)].tolist() == cols


def test_values_and_duplicates():
    rows, cols = [1, 1, 2], [5, 5, 6]
    same = Pairings.from_arrays(rows, cols, [0.5, 0.5, 3])
    assert cells(same) == {(1, 5): 0.5, (2, 6): 3.0}
    assert same.matrix.dtype == np.float64
    added = Pairings.from_arrays(rows, cols, [0.5, 1.5, 3], duplicates="count")
    assert cells(added) == {(1, 5): 2.0, (2, 6): 3.0}
    with pytest.raises(InvalidInputError, match=r"row 1 and column 5 occurs with different values"):
        Pairings.from_arrays(rows, cols, [0.5, 1.5, 3])
    with pytest.raises(InvalidInputError, match="row 1 and column 5 occurs more than once"):
        Pairings.from_arrays(rows, cols, duplicates="error")
    with pytest.raises(InvalidInputError, match="duplicates is 'first'"):
        Pairings.from_arrays(rows, cols, duplicates="first")


@pytest.mark.parametrize(
    ("rows", "values", "message"),
    [
        ([1, 2, 3], None, "rows has 3 entries but cols has 2"),
        ([1, 2], [1.0], r"values has shape \(1,\), but there are 2 pairs"),
        ([1, 2], ["high", 1.0], "values holds <U32: give a finite number"),
        ([1, 2], [1.0, 1j], "values holds complex128: give a finite number"),
        ([1, 2], [[1.0], [1.0, 2.0]], "values is nested unevenly"),
        ([1, 2], [1.0, np.inf], "array 'values' holds inf where rows is 2 and cols is 'b'"),
        ([1.0, 2.0], None, r"rows\[0\] is 1.0: ids must be whole numbers or strings"),
        ([1, "2"], None, r"rows\[1\] is '2', but rows\[0\] is 1"),
        (["1", 2], None, r"rows\[1\] is 2, but rows\[0\] is '1'"),
        ([1, None], None, r"rows\[1\] is None"),
        ([True, False], None, r"rows\[0\] is True"),
        ([1, 2**63], None, rf"rows\[1\] is {2**63}, which is beyond 64-bit"),
        (np.array([2**63, 1], dtype=np.uint64), None, "beyond 64-bit"),
        ([[1], [2]], None, "rows has 2 dimensions"),
        ([[1], [2, 3]], None, "nested unevenly"),
        (5, None, "rows are a int"),
    ],
)
def test_what_from_arrays_refuses(rows, values, message):
    with pytest.raises(InvalidInputError, match=message):
        Pairings.from_arrays(rows, ["a", "b"], values)


@pytest.mark.parametrize(
    "ids",
    [
        np.array([3, 5], dtype=np.uint64), np.array([3, 5], dtype=np.int8), (3, 5),
        np.array([3, 5], dtype=object), [np.int32(3), 5],
    ],
)  # fmt: skip
def test_integers_of_any_kind_become_int64(ids):
    pairings = Pairings(sparse.eye_array(2), ids, np.array(["a", "b"]))
    assert pairings.row_ids.dtype == np.int64
    assert pairings.row_ids.tolist() == [3, 5]
    assert [type(text) for text in pairings.col_ids] == [str, str]


def test_ids_fit_the_matrix_and_are_unique():
    with pytest.raises(InvalidInputError, match="row_ids has 3 ids, but the matrix has 2 rows"):
        Pairings(sparse.eye_array(2), [1, 2, 3], [1, 2])
    with pytest.raises(InvalidInputError, match="col_ids holds 'x' more than once"):
        Pairings(sparse.eye_array(2), [1, 2], ["x", "x"])
    with pytest.raises(InvalidInputError, match="row_ids holds 4 more than once"):
        Pairings(sparse.eye_array(2), [4, 4], [1, 2])
    with pytest.raises(InvalidInputError, match=r"scipy.sparse.csr_array"):
        Pairings(np.eye(2), [1, 2], [1, 2])


def test_unknown_ids_are_named():
    pairings = Pairings.from_arrays([1, 2], ["a", "b"])
    with pytest.raises(UnknownIdError, match=r"row id 7 is unknown: .* 2 row ids, .* integers"):
        pairings.row_index([1, 7])
    with pytest.raises(UnknownIdError, match=r"column id 0 is unknown: .* which are strings"):
        pairings.col_index([0])


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([0, 5], "position 5 is not one of the 2 rows"), ([-1], "position -1"),
        ([0, 0], "more than once"), ([0.0], "float64"), ([[0]], "2 dimensions"),
        (np.array([True, False]), "array of bool"),
    ],
)  # fmt: skip
def test_what_take_rows_refuses(positions, message):
    with pytest.raises(InvalidInputError, match=message):
        Pairings.from_arrays([1, 2], [1, 2]).take_rows(positions)


def test_shape_repr_and_pickle():
    pairings = Pairings.from_arrays([1, 2, 2], ["a", "b", "a"])
    assert repr(pairings) == "<Pairings: 2 rows x 2 columns, 3 pairs>"
    assert cells(pickle.loads(pickle.dumps(pairings))) == cells(pairings)
    assert pairings.take_rows([]).shape == (0, 2)


@st.composite
def coo_arrays(draw):
    shape = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    size = draw(st.integers(0, 12)) if min(shape) else 0
    rows = draw(st.lists(st.integers(0, max(shape[0] - 1, 0)), min_size=size, max_size=size))
    cols = draw(st.lists(st.integers(0, max(shape[1] - 1, 0)), min_size=size, max_size=size))
    data = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    return sparse.coo_array((np.array(data, dtype=float), (rows, cols)), shape=shape)


@settings(deadline=None)
@given(coo_arrays())
def test_as_csr_keeps_repeated_entries_zeros_and_their_order(coo):
    before = [array.copy() for array in (coo.data, coo.row, coo.col)]
    csr = as_csr(coo)[0]
    csr.check_format(full_check=True)
    rows = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr)).tolist()
    found = list(zip(rows, csr.indices.tolist(), csr.data.tolist(), strict=True))
    given = list(zip(coo.row.tolist(), coo.col.tolist(), coo.data.tolist(), strict=True))
    assert found == sorted(given, key=lambda entry: entry[0])
    for array, old in zip((coo.data, coo.row, coo.col), before, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("kind", ["coo", "csc", "csr", "dia", "dok", "lil"])
@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csr_matrix])
def test_as_csr_of_every_format(small, kind, make):
    csr = as_csr(make(small).asformat(kind))[0]
    assert isinstance(csr, sparse.csr_array)
    np.testing.assert_array_equal(csr.toarray(), small.toarray())


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_as_csr_keeps_what_compressed_formats_store(kind):
    stored = (np.array([1.0, 2.0, 0.0]), np.array([1, 1, 0]), np.array([0, 2, 3]))
    compressed = {"csr": sparse.csr_array, "csc": sparse.csc_array}[kind](stored, shape=(2, 2))
    assert sorted(as_csr(compressed)[0].data.tolist()) == [0, 1, 2]
    assert compressed.nnz == 3


@pytest.mark.parametrize(
    ("dtype", "result"),
    [
        (bool, np.float32), (np.int8, np.float32), (np.uint16, np.float32),
        (np.float32, np.float32), (np.int32, np.float64), (np.int64, np.float64),
        (np.float64, np.float64), (np.longdouble, np.float64),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["csr", "coo"])
def test_as_csr_holds_every_number_exactly(dtype, result, kind):
    matrix = sparse.csr_array(np.array([[1, 0]], dtype=dtype)).asformat(kind)
    assert as_csr(matrix)[0].dtype == result
    assert matrix.dtype == dtype


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(2), "a ndarray: give a scipy sparse matrix, for instance scipy.sparse.csr_array"),
        ([[1]], "a list"),
        (sparse.coo_array(np.array([1.0, 2.0])), "1 dimensions: it must have 2"),
        (sparse.csr_array([[1j]]), "complex128: it must hold real numbers"),
    ],
)
def test_what_as_csr_refuses(matrix, message):
    with pytest.raises(InvalidInputError, match=f"R (is|has) .*{message}|R has {message}"):
        as_csr(matrix, None, "R")[0]


def test_as_csr_refuses_indices_outside_the_matrix():
    """A matrix made by hand could make the kernels read other memory."""
    matrix = sparse.csr_array((np.ones(3), np.array([0, 1, 2]), np.array([0, 2, 3])), shape=(2, 3))
    matrix.indices[2] = 7
    with pytest.raises(InvalidInputError, match="entry 2 of matrix is in column 7"):
        as_csr(matrix)[0]
    matrix.indices[2] = -1
    with pytest.raises(InvalidInputError, match="column -1"):
        as_csr(matrix)[0]
    matrix.indices[2] = 0
    matrix.indptr[1] = 5
    with pytest.raises(InvalidInputError, match="index pointer"):
        as_csr(matrix)[0]
    coo = sparse.coo_array((np.ones(2), (np.array([0, 1]), np.array([0, 1]))), shape=(2, 2))
    coo.coords[0][1] = 9
    with pytest.raises(InvalidInputError, match="row 9"):
        as_csr(coo)[0]


def test_bsr_is_refused_as_its_blocks_store_zeros():
    with pytest.raises(InvalidInputError, match="eliminate_zeros"):
        as_csr(sparse.bsr_array(np.eye(4), blocksize=(2, 2)))


@settings(deadline=None)
@given(pairs, st.booleans(), st.sampled_from([np.float32, np.float64]))
def test_save_and_open(tmp_path_factory, listed, mmap, dtype):
    path = tmp_path_factory.mktemp("cache") / "any ending"
    pairings = Pairings.from_arrays(*columns_of(listed), duplicates="count")
    matrix = pairings.matrix.astype(dtype)
    pairings = Pairings(matrix, pairings.row_ids, pairings.col_ids, n_null_dropped=3)
    pairings.save(path)
    found = Pairings.open(path, mmap, verify=True)
    assert cells(found) == cells(pairings)
    assert found.row_ids.tolist() == pairings.row_ids.tolist()
    assert found.col_ids.tolist() == pairings.col_ids.tolist()
    assert found.matrix.dtype == dtype
    assert found.matrix.indices.dtype == np.int32
    assert (found.n_dropped_pairs, found.n_dropped_cols, found.n_null_dropped) == (0, 0, 3)


def test_save_keeps_repeated_entries_and_only_what_is_stored(tmp_path):
    parts = (np.array([1.0, 2.0, 0.0, 9.0]), np.array([1, 1, 0, 0]), np.array([0, 2, 3]))
    pairings = Pairings(sparse.csr_array(parts, shape=(2, 2)), [2, 1], ["b", "a"])
    pairings.save(tmp_path / "a")
    found = Pairings.open(tmp_path / "a")
    assert found.matrix.data.tolist() == [1, 2, 0]
    assert found.matrix.indices.tolist() == [1, 1, 0]
    assert (found.row_ids.tolist(), found.col_ids.tolist()) == ([2, 1], ["b", "a"])


def test_a_mapped_cache_is_solved_without_a_copy(tmp_path):
    Pairings.from_arrays([1, 1, 2], [5, 6, 6]).save(tmp_path / "a")
    found = Pairings.open(tmp_path / "a")
    assert np.shares_memory(
        Problem.of(Objective(), found.matrix).rows.entries.indices, found.matrix.indices
    )
    before = (tmp_path / "a").read_bytes()
    found.matrix.indices[:] = 0
    found.matrix.data[:] = 7
    assert (tmp_path / "a").read_bytes() == before
    assert np.unique(Pairings.open(tmp_path / "a").matrix.data).tolist() == [1]


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("indices", np.array([0, 2], np.int32), "entry 1 of matrix is in column 2"),
        ("indices", np.array([-1, 0], np.int32), "column -1"),
        ("indptr", np.array([0, 2, 1]), "index pointer|last value"),
        ("indptr", np.array([0, 1, 2**40]), "index pointer|last value"),
        ("indptr", np.array([0, 2]), "index pointer"),
        ("row_ids", np.array([3, 3]), "3 more than once"),
        ("data", np.array([1.0]), "same size"),
        ("data", np.array([1.0, 2.0]).view(np.uint8), "same size"),
    ],
)
def test_open_refuses_what_would_crash_a_solver(tmp_path, name, array, message):
    """Damage that a checksum would find, without looking at the checksum."""
    arrays, meta = parts_of(Pairings.from_arrays([1, 2], [1, 2]))
    write_file(tmp_path / "a", "pairings", 1, arrays | {name: array}, meta)
    with pytest.raises(FileFormatError, match=message):
        Pairings.open(tmp_path / "a")


def test_matrices_with_too_many_rows_or_columns_are_refused():
    matrix = sparse.csr_array((1, 2**31), dtype=np.float32)
    for call in (lambda: Objective().value(matrix, [[1.0]], [[1.0]]), lambda: ALS().solve(
        Objective(), matrix
    )):  # fmt: skip
        with pytest.raises(InvalidInputError, match=r"shape \(1, 2147483648\): at most 2\^31 - 1"):
            call()


def test_times_need_the_order_of_csr():
    matrix = sparse.csc_array(np.eye(2))
    with pytest.raises(InvalidInputError, match="times need a matrix in CSR format"):
        Pairings(matrix, [1, 2], [1, 2], times=[1, 2])


def test_masked_arrays_are_refused():
    masked = np.ma.masked_array([1.0, 2.0], [False, True])
    with pytest.raises(InvalidInputError, match=r"values is a masked array: .* values.filled\(\)"):
        Pairings.from_arrays([1, 2], [1, 2], masked)


def test_dates_are_no_ids():
    dates = np.array(["2024-01-01", "2024-01-02"], "datetime64[D]")
    with pytest.raises(InvalidInputError, match=r"rows holds datetime64\[D\]: ids must be whole"):
        Pairings.from_arrays(dates, [1, 2])


def test_the_frame_has_a_line_for_each_pair():
    pairings = Pairings.from_arrays(
        ["b", "a", "a"], [1, 2, 1], [0.5, 1.5, 2.5], weights=[1, 2, 3], times=[7, 8, 9]
    )
    frame = pairings.to_frame("pandas")
    assert list(frame.columns) == ["row", "col", "value", "weight", "time"]
    assert frame.to_numpy().tolist() == [
        ["a", 1, 2.5, 3.0, 9], ["a", 2, 1.5, 2.0, 8], ["b", 1, 0.5, 1.0, 7]
    ]  # fmt: skip


def test_open_refuses_other_files(tmp_path):
    write_file(tmp_path / "a.npz", "model", 1, {}, {})
    with pytest.raises(FileFormatError, match="holds a twofold model, not a pairings"):
        Pairings.open(tmp_path / "a.npz")
    write_file(tmp_path / "new", "pairings", 2, {}, {})
    with pytest.raises(FileFormatError, match=r"format version 2, .* upgrade twofold"):
        Pairings.open(tmp_path / "new")
