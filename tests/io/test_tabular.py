import bz2
import gzip
import lzma

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold import Pairings
from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.io import read_csv, read_lists, read_parquet

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
    found = read_csv(folder / "a.csv", value="v", newlines_in_fields=True)
    for ids, same in ((found.row_ids, right.row_ids), (found.col_ids, right.col_ids)):
        if same.dtype == object and all(map(is_whole, same.tolist())):
            assert sorted(map(str, ids.tolist())) == same.tolist()
        else:
            assert ids.tolist() == same.tolist()
    assert sorted(found.matrix.data) == sorted(right.matrix.data)
    asked = read_csv(folder / "a.csv", value="v", id_type="text", newlines_in_fields=True)
    assert set(asked.row_ids.tolist()) == set(map(str, right.row_ids.tolist()))


def read_text(tmp_path, text, **options):
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    return read_csv(path, **options)


@pytest.mark.parametrize(
    ("ids", "mode", "expected"),
    [
        (["7", "12", "-3"], None, [-3, 7, 12]),
        (["7", "007", "12"], None, ["007", "12", "7"]),
        (["+7", "7"], None, ["+7", "7"]),
        (["-0", "0"], None, ["-0", "0"]),
        (["7.0", "7"], None, ["7", "7.0"]),
        (["1_0", "٣", " 4"], None, [" 4", "1_0", "٣"]),
        ([str(2**63 - 1), "0"], None, [0, 2**63 - 1]),
        ([str(2**63), "0"], None, ["0", str(2**63)]),
        (["NA", "null", "nan"], None, ["NA", "nan", "null"]),
        (["7", "12"], "text", ["12", "7"]),
        (["7", "12"], "integer", [7, 12]),
        (["007", "12"], "integer", [7, 12]),
    ],
)
def test_integers_stay_integers_and_text_stays_text(tmp_path, ids, mode, expected):
    text = "pid,tid\n" + "".join(f"{name},1\n" for name in ids)
    found = read_text(tmp_path, text, id_type=mode)
    assert found.row_ids.tolist() == expected
    assert found.col_ids.tolist() == (["1"] if mode == "text" else [1])


def test_what_a_file_may_look_like(tmp_path):
    right = Pairings.from_arrays([1, 2], ["a", "b"], [0.5, 3.0])
    text = 'pid,name,tid,v\r\n1,x,a,0.5\r\n2,"y\nz",b,3\r\n'
    options = {"value": "v", "newlines_in_fields": True}
    assert_same(read_text(tmp_path, text, **options), right)
    assert_same(read_text(tmp_path, "\ufeff" + text, **options), right)
    for delimiter in ("\t", "::", "é", "; "):
        changed = text.replace(",", delimiter)
        assert_same(read_text(tmp_path, changed, **options, delimiter=delimiter), right)
    noted = "# one\n" + text.replace("1,x", "# two\n1,x")
    assert_same(read_text(tmp_path, noted, **options, comment="#"), right)
    for encoding in ("latin-1", "utf-16", "utf-8-sig"):
        (tmp_path / "a.csv").write_text(text.replace("a,", "ä,"), encoding=encoding)
        found = read_csv(tmp_path / "a.csv", **options, encoding=encoding)
        assert found.col_ids.tolist() == ["b", "ä"]
    bare = "1,a,0.5\n2,b,3"
    assert_same(read_text(tmp_path, bare, value="v", names=["pid", "tid", "v"]), right)
    for name, pack in (("a.csv.GZ", gzip), ("a.csv.xz", lzma), ("a.bz2", bz2), ("no ending", gzip)):
        (tmp_path / name).write_bytes(pack.compress(text.encode()))
        assert_same(read_csv(tmp_path / name, **options), right)
    with pa.output_stream(tmp_path / "a.csv.zst") as file:
        file.write(text.encode())
    assert_same(read_csv(tmp_path / "a.csv.zst", **options), right)


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
        ("pid,tid,v\n1,2,x\n", {"value": "v"}, FileFormatError, "cannot be read: .*value 'x'"),
        ("pid,tid,v\n1,2,\n", {"value": "v"}, InvalidInputError, "'v' holds NULL where pid is"),
        ("pid,tid\n1,x\n", {"id_type": "integer"}, InvalidInputError, "column 'tid' holds 'x'"),
        ("pid,tid\n1,x\n", {"id_type": "both"}, InvalidInputError, "id_type is 'both'"),
        ("1,x\n", {"names": "ab"}, InvalidInputError, "names is 'ab': give a list"),
        ("1,x\n", {"names": [1, 2]}, InvalidInputError, r"names is \[1, 2\]: give a list"),
        ("pid,tid\n1,x\n", {"delimiter": ""}, InvalidInputError, "delimiter is ''"),
        ('pid,tid\n1,"x\n3,4\n', {}, FileFormatError, "field that spans lines in column 'tid'"),
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
    with pytest.raises(FileFormatError, match=r"UTF8.*encoding"):
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
        with pytest.raises(FileFormatError, match=r"a\.parquet.* (damaged|not a Parquet file)"):
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
        ({"quoting": "no"}, "quoting is a str: it must be True or False"),
        ({"newlines_in_fields": 1}, "newlines_in_fields is a int"),
        ({"quoting": False, "newlines_in_fields": True}, "leave out quoting=False"),
        ({"names": []}, r"names is \[\]: give a list"),
        ({"delimiter": '"'}, "without line breaks and quote marks"),
        ({"delimiter": "\n"}, "without line breaks and quote marks"),
        ({"id_type": "integer"}, "column 'tid' holds '0x1F', which is not a 64-bit integer"),
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


QUOTED = 'a\tb\tn\nu1\t"one\t1\nu2\ttwo\t2\nu3\tthree"\t3\nu4\t"four"\t4\nu5\tfi"ve\t5\n'


def test_quote_marks_in_text(tmp_path):
    """Arrow takes the lines from the first quote mark to the second as one field."""
    options = {"row": "a", "col": "b", "value": "n", "delimiter": "\t"}
    with pytest.raises(FileFormatError, match=r"spans lines in column 'b': .*quoting=False"):
        read_text(tmp_path, QUOTED, **options)
    found = read_text(tmp_path, QUOTED, **options, quoting=False)
    assert found.col_ids.tolist() == ['"four"', '"one', 'fi"ve', 'three"', "two"]
    assert found.matrix.sum() == 15
    for text in ('pid,t,tid\n1,"x,2\n3,y",4\n', 'pid,tid,t\n1,2,"x\n3,4,y"\n'):
        with pytest.raises(FileFormatError, match="spans lines in column 't'"):  # not one of ours
            read_text(tmp_path, text)
    with pytest.raises(FileFormatError, match="not closed"):
        read_text(tmp_path, 'pid,tid\n1,a\n2,"b')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Empty CSV"),
        (b"pid,tid,n\xe4me\n1,2,3\n", r"give its encoding, for instance encoding=\"latin-1\""),
        (b"SQLite format 3\0", "is an SQLite database, not a file of lines"),
        (b"PK\3\4", "is a zip archive, .* unpack it first"),
        (b"pid,tid\n1," + b"x" * (1 << 25), "more than 16777216 bytes"),
    ],
)
def test_messages_say_what_the_file_is(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        read_csv(tmp_path / "a.csv")


def test_long_lines(tmp_path):
    found = read_text(tmp_path, "pid,tid\n1," + "x" * 5_000_000 + "\n")
    assert len(found.col_ids[0]) == 5_000_000
    with pytest.raises(InvalidInputError, match="is a folder"):
        read_csv(tmp_path)
    with pytest.raises(FileFormatError, match="unknown encoding: utf-9"):
        read_csv(tmp_path / "a.csv", encoding="utf-9")
    for name in ("encoding", "comment"):
        with pytest.raises(InvalidInputError, match=f"{name} is a bytes: give a text"):
            read_csv(tmp_path / "a.csv", **{name: b"#"})


def test_lists_of_columns(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("# notes\n7 1 2 3\n8\n\n9  3\t1\n", encoding="utf-8")
    found = read_lists(path, comment="#")
    assert found.row_ids.tolist() == [7, 8, 9]
    assert found.matrix.toarray().tolist() == [[1, 1, 1], [0, 0, 0], [1, 0, 1]]
    assert found.report.reader == "lists"
    path.write_bytes(gzip.compress("é::x::y\nb::x\n".encode("latin-1")))
    found = read_lists(path, delimiter="::", encoding="latin-1")
    assert (found.row_ids.tolist(), found.n_pairs) == (["b", "é"], 3)
    assert read_lists(path, delimiter="::", encoding="latin-1", id_type="text").n_pairs == 3
    path.write_text("1\n2\n")
    with pytest.raises(InvalidInputError, match="has no pairs"):
        read_lists(path)


@pytest.mark.parametrize("kind", ["list", "large_list", "fixed"])
def test_a_column_of_lists_is_one_row_for_each_line(tmp_path, kind):
    tracks = [["b", "a"], ["c", "a"]] if kind == "fixed" else [["b", "a", "c"], [], None, ["a"]]
    types = {"fixed": pa.list_(pa.string(), 2), "list": pa.list_(pa.string())}
    column = pa.array(tracks, types.get(kind, pa.large_list(pa.string())))
    table = pa.table({"pid": range(len(tracks)), "tid": column, "v": [1.5] * len(tracks)})
    parquet.write_table(table, tmp_path / "a.parquet")
    for found in (read_parquet(tmp_path / "a.parquet", value="v"), Pairings.from_frame(table)):
        entries = found.matrix.tocoo()
        rows, cols = found.row_ids[entries.row].tolist(), found.col_ids[entries.col].tolist()
        expected = {(row, col) for row, cols in enumerate(tracks) for col in cols or []}
        assert set(zip(rows, cols, strict=True)) == expected


def test_folders_of_hive(tmp_path):
    for year in (2024, 2025):
        folder = tmp_path / f"year={year}"
        folder.mkdir()
        parquet.write_table(pa.table({"pid": [year - 2000], "tid": ["a"]}), folder / "0.parquet")
    (tmp_path / "_SUCCESS").touch()
    assert read_parquet(tmp_path).row_ids.tolist() == [24, 25]
    assert read_parquet(tmp_path, value="year").matrix.data.tolist() == [2024, 2025]
    assert read_parquet(tmp_path, row="year").row_ids.tolist() == [2024, 2025]


def test_files_of_a_folder_with_other_types(tmp_path):
    def write(name, **columns):
        parquet.write_table(pa.table(columns), tmp_path / name)

    write("0.parquet", pid=pa.array([1, 2], "int32"), tid=[1, 2])
    write("1.parquet", pid=[2**40], tid=pa.array([1], "uint8"))
    assert read_parquet(tmp_path).row_ids.tolist() == [1, 2, 2**40]
    write("2.parquet", pid=[3], tid=["01"])
    with pytest.raises(InvalidInputError, match=r"2\.parquet.* holds '01' .*another id is 1"):
        read_parquet(tmp_path)
    assert read_parquet(tmp_path, id_type="text").col_ids.tolist() == ["01", "1", "2"]
    write("2.parquet", pid=[3], x=[1])
    with pytest.raises(InvalidInputError, match=r"2\.parquet' has no column 'tid'"):
        read_parquet(tmp_path, on_null="drop")


@pytest.mark.parametrize("odd", ["007", "x", str(2**63), "-0", "+1"])
def test_one_text_after_many_integers_makes_all_of_them_text(tmp_path, monkeypatch, odd):
    """Integers are stored as such until then, in chunks."""
    monkeypatch.setattr("twofold.data.builder._GATHERED", 50)
    monkeypatch.setattr("twofold.io.tabular._LONGEST", 1 << 10)
    ids = [str(number) for number in range(-500, 500)]
    lines = "".join(f"{name},{number % 7}\n" for number, name in enumerate([*ids, odd, *ids]))
    found = read_text(tmp_path, "pid,tid\n" + lines, duplicates="count")
    assert found.row_ids.tolist() == sorted([*ids, odd])
    assert found.col_ids.tolist() == list(range(7))
    assert found.matrix.sum() == 2001
    whole = read_text(tmp_path, "pid,tid\n" + lines.replace(f"{odd},", "12,"))
    assert whole.row_ids.tolist() == list(range(-500, 500))


@pytest.mark.parametrize("delimiter", ["", "\n", '"', 5])
def test_delimiters_that_lists_cannot_have(tmp_path, delimiter):
    (tmp_path / "lists.txt").write_text("ann 7 9\n")
    with pytest.raises(InvalidInputError, match=r"delimiter is .*: it must be a text without"):
        read_lists(tmp_path / "lists.txt", delimiter=delimiter)
