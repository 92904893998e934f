import decimal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold import Pairings
from twofold.exceptions import InvalidInputError

pa = pytest.importorskip("pyarrow", reason='needs pip install "twofold[frames]"')
pd = pytest.importorskip("pandas", reason="needs pandas")
pl = pytest.importorskip("polars", reason="needs polars")

integers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
some_pairs = st.one_of(
    st.lists(st.tuples(rows, cols), min_size=1, max_size=20)
    for rows in (integers, texts)
    for cols in (integers, texts)
)
MAKERS = [
    pd.DataFrame, pl.DataFrame, pa.table,
    lambda columns: pa.table(columns).to_batches()[0],
    lambda columns: pa.table(columns).to_reader(1),
    lambda columns: pd.DataFrame(columns).convert_dtypes(dtype_backend="pyarrow"),
]  # fmt: skip


class Stranger:
    """A frame of a library that nobody has heard of."""

    def __init__(self, columns):
        self.table = pa.table(columns)

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def assert_same(left: Pairings, right: Pairings) -> None:
    assert left.row_ids.tolist() == right.row_ids.tolist()
    assert left.col_ids.tolist() == right.col_ids.tolist()
    np.testing.assert_array_equal(left.matrix.toarray(), right.matrix.toarray())


@pytest.mark.parametrize("make", [*MAKERS, Stranger])
@settings(max_examples=15, deadline=None)
@given(pairs=some_pairs)
def test_a_frame_is_what_its_columns_are(make, pairs):
    rows, cols = [list(column) for column in zip(*pairs, strict=True)]
    frame = make({"pid": rows, "other": [None] * len(rows), "tid": cols})
    assert_same(Pairings.from_frame(frame), Pairings.from_arrays(rows, cols))


@pytest.mark.parametrize("make", MAKERS[:3])
def test_values_names_and_duplicates(make):
    frame = make({"a": [1, 1, 2], "b": ["x", "x", "y"], "v": [2, 2, 5]})
    found = Pairings.from_frame(frame, "a", "b", "v")
    assert found.matrix.toarray().tolist() == [[2, 0], [0, 5]]
    found = Pairings.from_frame(frame, row="b", col="a", duplicates="count")
    assert found.matrix.toarray().tolist() == [[2, 0], [0, 1]]
    with pytest.raises(InvalidInputError, match="row 1 and column 'x' occurs more than once"):
        Pairings.from_frame(frame, "a", "b", duplicates="error")


TEXTS = ["b", "ä", "b", "🎵"]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(TEXTS, dtype="category"), pd.Series(TEXTS, dtype="string"),
        pl.Series(TEXTS, dtype=pl.Categorical), pl.Series(TEXTS, dtype=pl.Enum(["🎵", "b", "ä"])),
        pa.array(TEXTS).dictionary_encode(), pa.array(TEXTS, pa.large_string()),
        pa.array(TEXTS, pa.string_view()),
        pa.chunked_array([pa.array(TEXTS[:2]).dictionary_encode(), [], TEXTS[2:]],
                         pa.dictionary(pa.int32(), pa.string())),
        pa.DictionaryArray.from_arrays([1, 2, 1, 3], ["unused", *TEXTS[:2], "🎵"]),
    ],
)  # fmt: skip
def test_every_kind_of_text(column):
    make = {"pandas": pd.DataFrame, "polars": pl.DataFrame}.get(type(column).__module__[:6])
    frame = (make or pa.table)({"pid": column, "tid": [1, 2, 3, 4]})
    assert_same(Pairings.from_frame(frame), Pairings.from_arrays(TEXTS, [1, 2, 3, 4]))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([3, 1, 2], kind) for kind in (
            pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.uint64(), pa.float32(),
            pa.float64(), pa.decimal128(5, 2), pa.decimal256(60, 3),
        )
    ] + [pa.array([3, 1, 2]).dictionary_encode(), pa.array([3.0, 1, 2]).dictionary_encode()],
)  # fmt: skip
def test_every_kind_of_whole_number(column):
    found = Pairings.from_frame(pa.table({"pid": column, "tid": ["a", "b", "c"]}))
    assert found.row_ids.dtype == np.int64
    assert found.row_ids.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("frame", "kept"),
    [
        (pd.DataFrame({"pid": [1, None, 3], "tid": ["a", "b", "c"]}), [(1, "a"), (3, "c")]),
        (pd.DataFrame({"pid": [1, 2, 3], "tid": ["a", np.nan, None]}), [(1, "a")]),
        (pd.DataFrame({"pid": pd.array([1, None], "Int64"), "tid": [1, 2]}), [(1, 1)]),
        (pl.DataFrame({"pid": [1.0, float("nan"), None], "tid": [5, 6, 7]}), [(1, 5)]),
        (pl.DataFrame({"pid": pl.Series(["x", None], dtype=pl.Categorical), "tid": [5, 6]}),
         [("x", 5)]),
        (pa.table({"pid": [1, 2], "tid": pa.array([2**63 - 1, None])}), [(1, 2**63 - 1)]),
        (pa.table({"pid": pa.array([None, decimal.Decimal(2)]), "tid": [1, 1]}), [(2, 1)]),
        (pa.table({"pid": pa.DictionaryArray.from_arrays([0, 1, None], ["x", None]),
                   "tid": [1, 2, 3]}), [("x", 1)]),
    ],
)  # fmt: skip
def test_missing_ids_are_refused_or_dropped_and_counted(frame, kept):
    with pytest.raises(InvalidInputError, match=r"column '[pt]id' holds NULL .*on_null=\"drop\""):
        Pairings.from_frame(frame)
    found = Pairings.from_frame(frame, on_null="drop")
    assert_same(found, Pairings.from_arrays(*zip(*kept, strict=True)))
    assert found.n_null_dropped == len(frame) - len(kept)


def test_nothing_but_nulls_and_nothing_at_all():
    frame = pa.table({"pid": pa.nulls(2), "tid": pa.array([None, None], pa.string())})
    with pytest.raises(InvalidInputError, match="column 'pid' holds NULL where tid is NULL"):
        Pairings.from_frame(frame)
    assert Pairings.from_frame(frame, on_null="drop").n_null_dropped == 2
    for empty in (frame.slice(0, 0), pa.table({"pid": pa.chunked_array([], "int8"), "tid": []})):
        assert Pairings.from_frame(empty).shape == (0, 0)
    values = frame.slice(0, 0).append_column("v", pa.array([], pa.string()).cast("float64"))
    assert Pairings.from_frame(values, value="v").n_pairs == 0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"pid": [1.5]}, "'pid' holds 1.5 where tid is 'a': ids must be 64-bit integers or text"),
        ({"pid": [float("inf")]}, "column 'pid' holds inf"),
        ({"pid": [2.0**60]}, "column 'pid' holds 1.15"),
        ({"pid": pa.array([2**63], pa.uint64())}, f"column 'pid' holds {2**63}"),
        ({"pid": [decimal.Decimal("1.5")]}, r"column 'pid' holds 1.5 where"),
        ({"pid": [True]}, "it holds bool; ids must be"),
        ({"pid": [b"x"]}, "it holds binary; ids must be"),
        ({"pid": [[1]]}, "it holds list"),
        ({"pid": pa.array([1], pa.timestamp("s"))}, "it holds timestamp"),
        ({"v": [float("nan")]}, "column 'v' holds nan where pid is 1 and tid is 'a'"),
        ({"v": [None]}, "column 'v' holds NULL where"),
        ({"v": ["1.5"]}, "it holds string; values must be finite numbers"),
        ({"tid": pa.StringArray.from_buffers(
            1, pa.py_buffer(np.array([0, 1], np.int32)), pa.py_buffer(b"\xff"))},
         r"column 'tid' holds b.* it holds text that is not UTF-8"),
    ],
)  # fmt: skip
def test_what_is_refused_in_a_column(columns, message):
    frame = pa.table({"pid": [1], "tid": ["a"], "v": [1.0]} | columns)
    with pytest.raises(InvalidInputError, match=message):
        Pairings.from_frame(frame, value="v")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"pid": [1, "a"], "tid": [1, 2]}), "cannot be read .*column pid"),
        (pd.DataFrame({"pid": [2**64, 1], "tid": [1, 2]}), "column 'pid'|cannot be read"),
        (pl.DataFrame({"pid": [1]}), "no column 'tid': its columns are 'pid'"),
        (pd.DataFrame([[1, 2, 3]], columns=["pid", "tid", "tid"]), "2 columns|Duplicate column"),
        (pl.LazyFrame({"pid": [1], "tid": [2]}), "frame is a LazyFrame: call its collect"),
        (pl.Series([1, 2]), "cannot be read|no column"),
        ({"pid": [1], "tid": [2]}, r"frame is a dict: .*Pairings.from_arrays"),
    ],
)
def test_what_is_refused_as_a_frame(frame, message):
    with pytest.raises(InvalidInputError, match=message):
        Pairings.from_frame(frame)


def test_only_the_columns_that_are_needed_have_to_fit_arrow():
    frame = pd.DataFrame({"pid": [1], "tid": [2], "mixed": [object()]})
    assert Pairings.from_frame(frame).n_pairs == 1


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_no_library_of_frames_is_imported_without_need():
    code = """
import sys, twofold
from twofold.io import read_sql, write_sql
write_sql(twofold.Pairings.from_arrays([1, 2], ["a", "b"]), "sqlite:///file:x?mode=memory&uri=true")
print(sorted({"pandas", "polars", "pyarrow", "narwhals"} & set(sys.modules)))
"""
    assert run(code) == "[]"


def test_without_pyarrow_the_error_says_what_to_install():
    code = """
import sys
sys.modules["pyarrow"] = None
from twofold import Pairings
from twofold.io import read_csv, read_parquet
class Frame:
    __arrow_c_stream__ = None
for read, given in ((Pairings.from_frame, Frame()), (read_csv, "x"), (read_parquet, "x")):
    try:
        read(given)
    except ValueError as error:
        print(type(error).__name__, error)
"""
    lines = run(code).splitlines()
    assert len(lines) == 3
    assert all(
        line.startswith("InvalidInputError ") and 'pip install "twofold[frames]"' in line
        for line in lines
    )


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_one_column_may_serve_twice(make):
    pairings = Pairings.from_frame(make({"pid": [3, 5]}), col="pid", value="pid")
    assert pairings.matrix.toarray().tolist() == [[3.0, 0.0], [0.0, 5.0]]


def test_empty_chunks_and_slices():
    empty = pa.LargeStringArray.from_buffers(0, pa.py_buffer(b""), pa.py_buffer(b""))
    table = pa.table({"pid": pa.chunked_array([empty, pa.array(["q"], empty.type)]), "tid": [1]})
    assert Pairings.from_frame(table).row_ids.tolist() == ["q"]
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        sliced = pa.array(["a", "b", "cc", "d"], kind).slice(1, 2)
        for part in (sliced, sliced.slice(1, 0)):
            frame = pa.table({"pid": part, "tid": np.arange(len(part))})
            assert Pairings.from_frame(frame).row_ids.tolist() == part.to_pylist()
