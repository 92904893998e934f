import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from twofold import Pairings
from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.io import read_mtx, write_mtx

values = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
dense = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.just(0.0) | values
)


@settings(max_examples=50, deadline=None)
@given(dense, st.sampled_from(["a", "a.mtx", "a.mtx.gz"]))
def test_round_trip(tmp_path_factory, matrix, name):
    path = tmp_path_factory.mktemp("mtx") / name
    n_rows, n_cols = matrix.shape
    write_mtx(Pairings(sparse.csr_array(matrix), range(n_rows), range(n_cols)), path)
    assert [file.name for file in path.parent.iterdir()] == [name]
    found = read_mtx(path)
    np.testing.assert_array_equal(found.matrix.toarray(), matrix)
    assert found.row_ids.tolist() == [*range(1, n_rows + 1)]
    assert found.col_ids.tolist() == [*range(1, n_cols + 1)]


def test_patterns_and_symmetric_matrices(tmp_path):
    path = tmp_path / "a.mtx"
    path.write_text("%%MatrixMarket matrix coordinate pattern symmetric\n3 3 2\n2 1\n3 3\n")
    assert read_mtx(path).matrix.toarray().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is an empty file, not a Matrix Market file"),
        ("pid,tid\n1,2\n", "not a Matrix Market file"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 1\n", "truncated"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n3 1 1\n", "Row index"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n0 1 1\n", "Row index"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 x\n", "Invalid"),
        ("%%MatrixMarket matrix array real general\n1 1\n5\n", "dense matrix"),
    ],
)
def test_damaged_files(tmp_path, text, message):
    (tmp_path / "a.mtx").write_text(text)
    with pytest.raises(FileFormatError, match=message):
        read_mtx(tmp_path / "a.mtx")


def test_other_files(tmp_path):
    with pytest.raises(InvalidInputError, match="cannot read"):
        read_mtx(tmp_path / "missing.mtx")
    (tmp_path / "a.mtx").write_text(
        "%%MatrixMarket matrix coordinate complex general\n1 1 1\n1 1 1 2\n"
    )
    with pytest.raises(InvalidInputError, match="complex128"):
        read_mtx(tmp_path / "a.mtx")
    with pytest.raises(InvalidInputError, match="cannot write"):
        write_mtx(Pairings.from_arrays([1], [1]), tmp_path / "none" / "a.mtx")


def test_repeated_entries_are_merged_and_values_are_finite(tmp_path):
    path = tmp_path / "m.mtx"
    head = "%%MatrixMarket matrix coordinate real general\n"
    path.write_text(head + "2 3 3\n1 2 5\n1 2 5\n2 1 4\n")
    assert read_mtx(path).matrix.toarray().tolist() == [[0, 5, 0], [4, 0, 0]]
    assert read_mtx(path, duplicates="count").matrix.toarray().tolist() == [[0, 10, 0], [4, 0, 0]]
    with pytest.raises(InvalidInputError, match="row 1 and column 2 occurs more than once"):
        read_mtx(path, duplicates="error")
    path.write_text(head + "2 3 1\n2 1 nan\n")
    with pytest.raises(InvalidInputError, match="holds nan in row 2, column 1"):
        read_mtx(path)


def test_exponents_of_fortran_are_refused(tmp_path):
    """scipy reads 1.5D+02 as 1.5."""
    path = tmp_path / "a.mtx"
    head = "%%MatrixMarket matrix coordinate real general\n% 1 1 2D+1\n2 2 2\n"
    path.write_text(head + "1 1 1.5E+02\n2 2 1.5D+02\n")
    with pytest.raises(FileFormatError, match="exponent of Fortran"):
        read_mtx(path)
    path.write_bytes(gzip.compress((head + "1 1 1.5d2\n2 2 1\n").encode()))
    with pytest.raises(FileFormatError, match="exponent of Fortran"):
        read_mtx(path)
    path.write_text(head + "1 1 1.5E+02\n2 2 1.5e1\n")
    assert read_mtx(path).matrix.data.tolist() == [150, 15]
