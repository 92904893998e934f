"""Chunks of columns of any kind become the same pairings as their items one by one."""

import sys
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from twofold import Pairings
from twofold.data import PairBuilder, builder
from twofold.data.builder import encode_integers
from twofold.data.csr import build_csr
from twofold.exceptions import InvalidInputError

PAIRS = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3)), max_size=60)
TEXTS = st.text(max_size=20) | st.text(st.sampled_from("a\0é\U0001f3b5\ud800\uffff"), max_size=9)
BATCHES = st.lists(st.lists(TEXTS, max_size=30), max_size=4)


@given(PAIRS, st.booleans())
def test_the_matrix_is_the_sum_of_its_pairs(pairs, swapped):
    if swapped:
        pairs = [pair[::-1] for pair in pairs]
    rows, cols = (np.array([pair[axis] for pair in pairs], np.int32) for axis in (0, 1))
    values = np.arange(len(pairs), dtype=np.float64)
    ids = np.arange(5001)
    matrix, beside = build_csr(rows, cols, {"value": values}, ids, ids, "count")
    assert not beside
    expected = sparse.coo_array((values, (rows, cols)), shape=(5001, 5001)).tocsr()
    np.testing.assert_array_equal(matrix.indptr, expected.indptr)
    np.testing.assert_array_equal(matrix.indices, expected.indices)
    np.testing.assert_array_equal(matrix.data, expected.data)
    counts, beside = build_csr(rows, cols, {"weight": values}, ids, ids, "count")
    np.testing.assert_array_equal(beside["weights"], expected.data)
    once, _ = build_csr(rows, cols, {}, ids, ids, "keep-one")
    assert counts.sum() == len(pairs)
    assert once.nnz == counts.nnz == len(set(pairs))
    np.testing.assert_array_equal(once.indices, expected.indices)


@given(PAIRS)
def test_a_repeated_pair_has_its_latest_time(pairs):
    times = np.arange(len(pairs))[::-1]
    rows, cols = (np.array([pair[axis] for pair in pairs], np.int64) for axis in (0, 1))
    found = Pairings.from_arrays(rows, cols, times=times)
    expected = {}
    for pair, time in zip(pairs, times.tolist(), strict=True):
        expected[pair] = max(time, expected.get(pair, 0))
    entries = found.matrix.tocoo()
    ids = found.row_ids[entries.row].tolist(), found.col_ids[entries.col].tolist()
    assert dict(zip(zip(*ids, strict=True), found.times.tolist(), strict=True)) == expected


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9))))
def test_integers_become_their_places(parts):
    arrays = [np.array(part, np.int64) for part in parts]
    whole = np.concatenate([np.empty(0, np.int64), *arrays])
    distinct, places = encode_integers(arrays)
    np.testing.assert_array_equal(distinct, np.unique(whole))
    np.testing.assert_array_equal(distinct[places], whole)


def test_a_sum_beyond_float64_is_refused():
    with pytest.raises(InvalidInputError, match="row 1 and column 2 has values whose sum"):
        Pairings.from_arrays([0, 1, 1], [2, 2, 2], [1.0, 1e308, 1e308], duplicates="count")


def encoded(batches, make=list):
    """Return the distinct texts and the position of each text of the batches."""
    column = builder._IdColumn()
    for batch in batches:
        column.add(make(batch))
    return column.encoded()


def check(batches, found):
    whole = [text for batch in batches for text in batch]
    ids, places = found
    assert ids.tolist() == sorted(set(whole))
    assert ids[places].tolist() == whole


@given(batches=BATCHES)
@pytest.mark.parametrize(("many", "gathered"), [(10**9, 10**9), (1, 10), (20, 10), (20, 10**9)])
def test_texts_are_numbered_alike_by_pyarrow_and_by_a_dictionary(many, gathered, batches):
    """Also where the first surrogate, which pyarrow cannot encode, comes late."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "_MANY_TEXTS", many)
        patch.setattr(builder, "_GATHERED_TEXTS", gathered)
        if any(batches):
            check(batches, encoded(batches))


def test_texts_without_pyarrow(monkeypatch):
    monkeypatch.setattr(builder, "_MANY_TEXTS", 1)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    batches = [["b", "a"], ["a", "é"]]
    check(batches, encoded(batches))


@given(st.lists(st.lists(st.text(max_size=20), min_size=1, max_size=30), min_size=1, max_size=4))
def test_texts_of_arrow(batches):
    pa = pytest.importorskip("pyarrow")
    # Of slices, whose buffers begin before them.
    check(batches, encoded(batches, lambda batch: pa.array(["", *batch], "large_string")[1:]))


@pytest.mark.parametrize("data", [b"\xff", b"\xc3", b"\xed\xa0\x80"])
def test_bytes_that_are_not_text(data):
    pa = pytest.importorskip("pyarrow")
    text = pa.array([b"a", data]).view("string")
    with pytest.raises(InvalidInputError, match=r"column 'tid' .* not UTF-8"):
        PairBuilder("pid", "tid").add([np.arange(2), text])


def test_the_type_of_ids_can_be_chosen():
    rows, cols = np.array([7, 10]), ["007", "+7"]
    text = PairBuilder("pid", "tid", id_type="text")
    text.add([rows, cols])
    assert Pairings(**text.build("arrays")).row_ids.tolist() == ["10", "7"]
    whole = PairBuilder("pid", "tid", id_type="integer")
    whole.add([rows, cols])
    pairings = Pairings(**whole.build("arrays"))
    assert pairings.col_ids.tolist() == [7]
    assert pairings.matrix.toarray().tolist() == [[1], [1]]
    whole.add([rows, ["7", "x"]])
    with pytest.raises(InvalidInputError, match=r"column 'tid' holds 'x', .*id_type=\"text\""):
        whole.build("arrays")


def test_large_unsigned_integers_can_be_text():
    pa = pytest.importorskip("pyarrow")
    large = pa.array([2**64 - 1, 3], "uint64")
    with pytest.raises(InvalidInputError, match=r"18446744073709551615 where tid is 0: .*id_type"):
        PairBuilder("pid", "tid").add([large, np.arange(2)])
    for column in (large, [2**64 - 1, 3]):
        text = PairBuilder("pid", "tid", id_type="text")
        text.add([column, np.arange(2)])
        assert text.build("arrays")["row_ids"].tolist() == ["18446744073709551615", "3"]


def test_uuids_are_text():
    pa = pytest.importorskip("pyarrow")
    ids = [uuid.UUID(int=2), uuid.UUID(int=1)]
    expected = [str(each) for each in ids]
    columns = [ids, pa.array([each.bytes for each in ids], pa.uuid())]
    for column in columns:
        text = PairBuilder("pid", "tid")
        text.add([column, np.arange(2)])
        assert text.build("arrays")["row_ids"].tolist() == sorted(expected)
    assert Pairings.from_arrays(ids, [1, 2]).row_ids.tolist() == sorted(expected)


@pytest.mark.parametrize(
    ("dtype", "limit"), [("float64", 2**53), ("float32", 2**24), ("float16", 2**11)]
)
def test_floats_are_ids_only_below_the_limit_of_their_width(dtype, limit):
    pa = pytest.importorskip("pyarrow")
    exact = pa.array(np.array([limit - 1], dtype))
    one = PairBuilder("pid", "tid")
    one.add([exact, np.arange(1)])
    assert one.build("arrays")["row_ids"].tolist() == [limit - 1]
    with pytest.raises(InvalidInputError, match=f"hold integers exactly below {limit} only"):
        one.add([pa.array(np.array([limit], dtype)), np.arange(1)])


@pytest.mark.parametrize(
    "values",
    [
        np.ma.masked_array([1.0, 2.0], [False, True]), np.array(["1", "2"]), np.array([1j, 2]),
        np.array(["2020-01-01", "2020-01-02"], "datetime64[D]"),
    ],
)  # fmt: skip
def test_values_that_are_not_real_numbers_are_refused(values):
    for name in ("values", "weights"):
        with pytest.raises(InvalidInputError, match=f"{name} (is a masked array|holds)"):
            Pairings.from_arrays([1, 2], [1, 2], **{name: values})


def test_masked_ids_are_refused():
    with pytest.raises(InvalidInputError, match="rows is a masked array"):
        Pairings.from_arrays(np.ma.masked_array([1, 2], [False, True]), [1, 2])


def test_rows_without_pairs():
    pairings = Pairings.from_arrays([5, 3], ["a", "b"], row_ids=[9, 3, 1])
    assert pairings.row_ids.tolist() == [1, 3, 5, 9]
    assert pairings.matrix.sum(axis=1).tolist() == [0, 1, 1, 0]
    assert pairings.report.n_read == 2


def test_times_stay_with_their_pairs(tmp_path):
    times = np.array(["2024-05-01T10:00", "2020-01-01", "2022-02-02"], "datetime64[s]")
    pairings = Pairings.from_arrays([2, 1, 1], [7, 8, 7], times=times)
    assert pairings.times.dtype == "datetime64[us]"
    assert pairings.times.tolist() == times[[2, 1, 0]].astype("datetime64[us]").tolist()
    pairings.save(tmp_path / "a.npz")
    for same in (Pairings.open(tmp_path / "a.npz"), pairings.take_rows([0, 1])):
        assert same.times.tolist() == pairings.times.tolist()
    assert pairings.take_rows([1]).times.tolist() == pairings.times.tolist()[2:]
    assert pairings.align([8, 7]).times.tolist() == pairings.times[[1, 0, 2]].tolist()
    for wrong in ([1.5] * 3, ["x"] * 3, np.array(["NaT"] * 3, "datetime64[s]"), [1, 2]):
        with pytest.raises(InvalidInputError, match="times"):
            Pairings.from_arrays([2, 1, 1], [7, 8, 7], times=wrong)
