import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold import Pairings
from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.io import read_csv, read_parquet

pa = pytest.importorskip("pyarrow", reason='needs pip install "twofold[frames]"')
from pyarrow import csv, parquet  # noqa: E402

integers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8) | st.just('q"u,o\nte')
numbers = st.floats(allow_nan=False, allow_infinity=False)


def is_whole(text: str) -> bool:
    try:
        return str(int(text)) == text and -(2**63) <= int(text) < 2**63
    except ValueError:
        return False


@st.composite
def tables(draw):
    rows, cols = draw(st.sampled_from([integers, texts])), draw(st.sampled_from([integers, texts]))
    pairs = draw(
        st.lists(st.tuples(rows, cols, numbers), min_size=1, unique_by=lambda pair: pair[:2])
    )
    return pa.table(dict(zip(["pid", "tid", "v"], zip(*pairs, strict=True), strict=True)))


def assert_same(left: Pairings, right: Pairings) -> None:
    assert left.row_ids.tolist() == right.row_ids.tolist()
    assert left.col_ids.tolist() == right.col_ids.tolist()
    np.testing.assert_array_equal(left.matrix.toarray(), right.matrix.toarray())


@settings(max_examples=60, deadline=None)
@given(tables())
def test_round_trip(tmp_path_factory, table):
    folder = tmp_path_factory.mktemp("tables")
    right = Pairings.from_frame(table, value="v")
    parquet.write_table(table, folder / "a.parquet")
    assert_same(read_parquet(folder / "a.parquet", value="v"), right)
    csv.write_csv(table, folder / "a.csv")
    found = read_csv(folder / "a.csv", value="v")
    for ids, same in ((found.row_ids, right.row_ids), (found.col_ids, right.col_ids)):
        if same.dtype == object and all(map(is_whole, same.tolist())):
            assert sorted(map(str, ids.tolist())) == same.tolist()
        else:
            assert ids.tolist() == same.tolist()
    assert sorted(found.matrix.data) == sorted(right.matrix.data)
    asked = read_csv(folder / "a.csv", value="v", ids="text")
    assert set(asked.row_ids.tolist()) == set(map(str, right.row_ids.tolist()))


def read_text(tmp_path, text, **options):
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    return read_csv(path, **options)


@pytest.mark.parametrize(
    ("ids", "mode", "expected"),
    [
        (["7", "12", "-3"], "infer", [-3, 7, 12]),
        (["7", "007", "12"], "infer", ["007", "12", "7"]),
        (["+7", "7"], "infer", ["+7", "7"]),
        (["-0", "0"], "infer", ["-0", "0"]),
        (["7.0", "7"], "infer", ["7", "7.0"]),
        (["1_0", "٣", " 4"], "infer", [" 4", "1_0", "٣"]),
        ([str(2**63 - 1), "0"], "infer", [0, 2**63 - 1]),
        ([str(2**63), "0"], "infer", ["0", str(2**63)]),
        (["NA", "null", "nan"], "infer", ["NA", "nan", "null"]),
        (["7", "12"], "text", ["12", "7"]),
        (["7", "12"], "integers", [7, 12]),
        (["007", "12"], "integers", [7, 12]),
    ],
)
def test_integers_stay_integers_and_text_stays_text(tmp_path, ids, mode, expected):
    text = "pid,tid\n" + "".join(f"{name},1\n" for name in ids)
    found = read_text(tmp_path, text, ids=mode)
    assert found.row_ids.tolist() == expected
    assert found.col_ids.tolist() == (["1"] if mode == "text" else [1])


def test_what_a_file_may_look_like(tmp_path):
    right = Pairings.from_arrays([1, 2], ["a", "b"], [0.5, 3.0])
    text = 'pid,name,tid,v\r\n1,x,a,0.5\r\n2,"y\nz",b,3\r\n'
    assert_same(read_text(tmp_path, text, value="v"), right)
    assert_same(read_text(tmp_path, "\ufeff" + text, value="v"), right)
    assert_same(read_text(tmp_path, text.replace(",", "\t"), value="v", delimiter="\t"), right)
    bare = "1,a,0.5\n2,b,3"
    assert_same(read_text(tmp_path, bare, value="v", names=["pid", "tid", "v"]), right)
    with gzip.open(tmp_path / "a.csv.gz", "wb") as file:
        file.write(text.encode())
    assert_same(read_csv(tmp_path / "a.csv.gz", value="v"), right)


def test_empty_fields_are_null_but_not_quoted_ones(tmp_path):
    assert read_text(tmp_path, 'pid,tid\n1,5" disk\n').col_ids.tolist() == ['5" disk']
    text = 'pid,tid\n1,a\n,b\n3,\n4,""\n'
    with pytest.raises(InvalidInputError, match="column 'pid' holds NULL where tid is 'b'"):
        read_text(tmp_path, text)
    found = read_text(tmp_path, text, on_null="drop")
    assert found.row_ids.tolist() == [1, 4]
    assert found.col_ids.tolist() == ["", "a"]
    assert found.n_null_dropped == 2


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("pid,x\n1,2\n", {}, InvalidInputError, "no column 'tid': its columns are 'pid', 'x'"),
        ("pid,tid,tid\n1,2,3\n", {}, InvalidInputError, "several columns 'tid'"),
        ("pid,tid\n", {}, InvalidInputError, r"a\.csv' has no pairs"),
        ("", {}, FileFormatError, "Empty CSV"),
        ("pid,tid\n1,2,3\n", {}, FileFormatError, "Expected 2 columns, got 3"),
        ("pid,tid,v\n1,2,x\n", {"value": "v"}, FileFormatError, "not CSV .*invalid value 'x'"),
        ("pid,tid,v\n1,2,\n", {"value": "v"}, InvalidInputError, "column 'v' holds NULL or nan"),
        ("pid,tid\n1,x\n", {"ids": "integers"}, InvalidInputError, "column 'tid': .*'x'"),
        ("pid,tid\n1,x\n", {"ids": "both"}, InvalidInputError, "ids is 'both'"),
        ("1,x\n", {"names": "ab"}, InvalidInputError, "names is 'ab': give a list"),
        ("1,x\n", {"names": [1, 2]}, InvalidInputError, r"names is \[1, 2\]: give a list"),
        ("pid,tid\n1,x\n", {"delimiter": ", "}, InvalidInputError, "one ASCII character"),
        ('pid,tid\n1,"x\n3,4\n', {}, FileFormatError, "quote that is not closed.* in line 3"),
        ('pid,tid\n"1,x\n', {}, FileFormatError, "Expected 2 columns"),
        ("pid,tid\n1,x\n1,x\n", {"duplicates": "error"}, InvalidInputError, "more than once"),
    ],
)  # fmt: skip
def test_what_csv_is_refused(tmp_path, text, options, error, message):
    with pytest.raises(error, match=message):
        read_text(tmp_path, text, **options)


def test_damaged_and_missing_files(tmp_path):
    for read in (read_csv, read_parquet):
        with pytest.raises(InvalidInputError, match=r"cannot read .*missing"):
            read(tmp_path / "missing")
    (tmp_path / "a.csv").write_bytes(b"pid,tid\n1,\xff\n")
    with pytest.raises(FileFormatError, match="UTF8"):
        read_csv(tmp_path / "a.csv")
    whole = gzip.compress(b"pid,tid\n" + b"1,2\n" * 9)
    (tmp_path / "a.csv.gz").write_bytes(whole[:20])
    with pytest.raises(FileFormatError, match=r"a\.csv\.gz"):
        read_csv(tmp_path / "a.csv.gz")
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"pid": range(999), "tid": range(999)}), path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-9], whole[: len(whole) // 2], b"pid,tid\n1,2\n"):
        path.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=r"a\.parquet.* not Parquet"):
            read_parquet(path)


def test_parquet_folders_and_columns(tmp_path):
    for part in (1, 2):
        parquet.write_table(pa.table({"pid": [part], "tid": ["a"]}), tmp_path / f"{part}.parquet")
    assert read_parquet(tmp_path).row_ids.tolist() == [1, 2]
    with pytest.raises(InvalidInputError, match="no column 'x': its columns are 'pid', 'tid'"):
        read_parquet(tmp_path, value="x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"value": "tid"}, "value is 'tid', which is a column of ids"),
        ({"delimiter": "é"}, "must be one ASCII character"),
        ({"delimiter": "\n"}, "cannot be a line break or a quote"),
        ({"ids": "integers"}, "column 'tid': '0x1F' is no integer"),
    ],
)
def test_options_that_csv_cannot_have(tmp_path, options, message):
    path = tmp_path / "pairs.csv"
    path.write_text("pid,tid\n1,0x1F\n1,31\n")
    with pytest.raises(InvalidInputError, match=message):
        read_csv(path, **options)


def test_reports(tmp_path):
    text = "pid,tid\n1,2\n1,2\n,2\n3,4\n"
    report = read_text(tmp_path, text, on_null="drop").report
    assert (report.reader, report.n_read, report.n_null_dropped) == ("csv", 4, 1)
    assert (report.n_duplicates, report.n_pairs, report.n_rows) == (1, 2, 2)
    parquet.write_table(pa.table({"pid": [1, 2], "tid": ["a", "b"]}), tmp_path / "a.parquet")
    assert "2 pairs read by parquet" in str(read_parquet(tmp_path / "a.parquet").report)


def test_damaged_pages_with_checksums(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({"pid": range(20_000), "tid": range(20_000)})
    parquet.write_table(table, path, write_page_checksum=True, compression="none")
    assert read_parquet(path).n_pairs == 20_000
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 4] ^= 1
    path.write_bytes(whole)
    with pytest.raises(FileFormatError, match=r"a\.parquet"):
        read_parquet(path)
