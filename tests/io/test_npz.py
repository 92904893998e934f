import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from twofold import Pairings
from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.io import read_npz

ids = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5, unique=True),
    st.lists(st.text(max_size=5), min_size=1, max_size=5, unique=True),
)


@settings(max_examples=50, deadline=None)
@given(ids, ids, st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
def test_round_trip(tmp_path_factory, row_ids, col_ids, seed, dtype):
    path = tmp_path_factory.mktemp("npz") / "any ending"
    rng = np.random.default_rng(seed)
    matrix = sparse.csr_array(rng.integers(0, 2, (len(row_ids), len(col_ids))).astype(dtype))
    pairings = Pairings(
        matrix, row_ids, col_ids, n_dropped_pairs=3, n_dropped_cols=2, n_null_dropped=1
    )
    pairings.save(path)
    found = read_npz(path)
    assert found.row_ids.tolist() == row_ids
    assert found.col_ids.tolist() == col_ids
    assert found.matrix.dtype == dtype
    np.testing.assert_array_equal(found.matrix.toarray(), pairings.matrix.toarray())
    assert (found.n_dropped_pairs, found.n_dropped_cols, found.n_null_dropped) == (3, 2, 1)


def test_repeated_entries_and_stored_zeros_survive(tmp_path):
    matrix = sparse.coo_array(([1.0, 2.0, 0.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    Pairings(matrix, [1, 2], [1, 2]).save(tmp_path / "a.npz")
    assert read_npz(tmp_path / "a.npz").matrix.data.tolist() == [1, 2, 0]


def test_plain_files_of_rows_and_cols(tmp_path):
    path = tmp_path / "plain.npz"
    rows = np.array([5, 3, 5], dtype=np.int32)
    np.savez(path, rows=rows, cols=np.array(["b", "a", "b"]))
    pairings = read_npz(path)
    assert pairings.row_ids.tolist() == [3, 5]
    assert pairings.col_ids.tolist() == ["a", "b"]
    assert pairings.matrix.toarray().tolist() == [[1, 0], [0, 1]]
    assert read_npz(path, duplicates="count").matrix.toarray().tolist() == [[1, 0], [0, 2]]
    np.savez(path, rows=rows, cols=rows, values=[0.5, 2, 0.5])
    assert read_npz(path).matrix.toarray().tolist() == [[2, 0], [0, 0.5]]
    np.savez(path, rows=rows, cols=rows[:2])
    with pytest.raises(InvalidInputError, match="parallel arrays"):
        read_npz(path)


@pytest.mark.parametrize("kind", ["csr", "coo", "csc"])
def test_files_of_scipy(tmp_path, kind):
    path = tmp_path / "scipy.npz"
    matrix = sparse.csr_array([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]]).asformat(kind)
    sparse.save_npz(path, matrix)
    pairings = read_npz(path)
    assert pairings.row_ids.tolist() == [0, 1]
    assert pairings.col_ids.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(pairings.matrix.toarray(), matrix.toarray())


def make(kind, path):
    if kind == "own":
        Pairings.from_arrays(np.arange(99) % 7, np.arange(99) % 8).save(path)
    elif kind == "plain":
        np.savez(path, rows=np.arange(99) % 7, cols=np.arange(99) % 8)
    else:
        sparse.save_npz(path, sparse.eye_array(99, format="csr"), compressed=False)


@pytest.mark.parametrize("kind", ["own", "plain", "scipy"])
def test_truncated_and_damaged_files(tmp_path, kind):
    path = tmp_path / "a.npz"
    make(kind, path)
    whole = path.read_bytes()
    assert read_npz(path).n_pairs > 0
    for end in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:end])
        with pytest.raises(FileFormatError, match=r"a\.npz"):
            read_npz(path)


@pytest.mark.parametrize("kind", ["own", "plain", "scipy"])
def test_a_changed_byte_is_noticed_or_does_not_matter(tmp_path, kind):
    path = tmp_path / "a.npz"
    make(kind, path)
    whole, pairings = path.read_bytes(), read_npz(path)
    refused = 0
    for at in range(0, len(whole), 37):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        try:
            found = read_npz(path)
        except FileFormatError:
            refused += 1
        else:
            np.testing.assert_array_equal(found.matrix.toarray(), pairings.matrix.toarray())
    assert refused > 20


def test_foreign_files(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, other=np.ones(3))
    with pytest.raises(FileFormatError, match="not a file that twofold wrote"):
        read_npz(path)
    np.savez(path, rows=np.array([{}], dtype=object), cols=np.array([1]))
    with pytest.raises(FileFormatError, match="holds Python objects"):
        read_npz(path)
    path.write_text("pid,tid\n1,2\n")
    with pytest.raises(FileFormatError, match=r"a\.npz"):
        read_npz(path)
    with pytest.raises(InvalidInputError, match=r"cannot read .*missing.npz"):
        read_npz(tmp_path / "missing.npz")


def test_an_index_outside_of_the_matrix_is_damage(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    pairings = Pairings.from_arrays([1, 2], [1, 2])
    pairings.matrix.indices[0] = 7
    pairings.save(path)
    with pytest.raises(FileFormatError, match="damaged"):
        read_npz(path)


def test_arrays_of_other_names_are_named(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, rows=[1, 2], cols=[3, 4], stars=[0.5, 1.0])
    with pytest.raises(FileFormatError, match="'stars' beside rows and cols: the names are"):
        read_npz(path)
    np.savez(path, rows=[1, 2], cols=[3, 4], values=[0.5, 1.0], times=[7, 8], row_ids=[0, 1, 2])
    found = read_npz(path)
    assert found.row_ids.tolist() == [0, 1, 2]
    assert (found.matrix.data.tolist(), found.times.tolist()) == ([0.5, 1.0], [7, 8])


def test_ratings_are_values_and_timestamps_are_times(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, rows=[1, 2], cols=[3, 4], ratings=[0.5, 1.0], timestamps=[7, 8])
    found = read_npz(path)
    assert (found.matrix.data.tolist(), found.times.tolist()) == ([0.5, 1.0], [7, 8])
    np.savez(path, rows=[1, 2], cols=[3, 4], ratings=[0.5, 1.0], values=[0.5, 1.0])
    with pytest.raises(FileFormatError, match="'ratings' and 'values', which mean the same"):
        read_npz(path)


def test_messages_say_what_the_file_is(tmp_path):
    path = tmp_path / "a.npz"
    sparse.save_npz(path, sparse.coo_array(np.ones(3)))
    with pytest.raises(FileFormatError, match="1 dimension"):
        read_npz(path)
    path.write_text("pid,tid\n1,2\n")
    with pytest.raises(FileFormatError, match=r"is a text file, not a \.npz file"):
        read_npz(path)
