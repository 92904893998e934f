"""Weights beside values in files and tables with a line for each pair."""

import numpy as np
import pytest
import sqlalchemy as sa

from twofold import Pairings
from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.io import read_csv, read_parquet, read_sql, write_sql

pa = pytest.importorskip("pyarrow")

LINES = "pid,tid,v,w\n2,b,-1,0.5\n1,b,2,0\n1,a,3,2.25\n"
WEIGHTS = {(1, "a"): 2.25, (1, "b"): 0.0, (2, "b"): 0.5}
VALUES = {(1, "a"): 3.0, (1, "b"): 2.0, (2, "b"): -1.0}


def cells(pairings: Pairings) -> tuple[dict[object, float], dict[object, float]]:
    """Values and weights by ids."""
    assert pairings.weights is not None
    rows = np.repeat(pairings.row_ids, np.diff(pairings.matrix.indptr)).tolist()
    keys = list(zip(rows, pairings.col_ids[pairings.matrix.indices].tolist(), strict=True))
    columns = pairings.matrix.data.tolist(), pairings.weights.tolist()
    values, weights = (dict(zip(keys, column, strict=True)) for column in columns)
    return values, weights


def test_csv(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(LINES)
    assert cells(read_csv(path, value="v", weight="w")) == (VALUES, WEIGHTS)
    assert cells(read_csv(path, weight="w")) == (dict.fromkeys(VALUES, 1.0), WEIGHTS)
    assert read_csv(path, value="v").weights is None
    with pytest.raises(InvalidInputError, match=r"holds -1.* where pid is '?2'? and tid is 'b'"):
        read_csv(path, weight="v")
    with pytest.raises(InvalidInputError, match="weight is 'tid', which is a column of ids"):
        read_csv(path, weight="tid")
    with pytest.raises(InvalidInputError, match="no column 'x'"):
        read_csv(path, weight="x")


def test_parquet(tmp_path):
    from pyarrow import csv, parquet

    (tmp_path / "a.csv").write_text(LINES)
    path = tmp_path / "a.parquet"
    parquet.write_table(csv.read_csv(tmp_path / "a.csv"), path)
    assert cells(read_parquet(path, value="v", weight="w")) == (VALUES, WEIGHTS)
    assert cells(read_parquet(path, weight="w")) == (dict.fromkeys(VALUES, 1.0), WEIGHTS)
    with pytest.raises(InvalidInputError, match="no column 'x'"):
        read_parquet(path, weight="x")


@pytest.mark.parametrize("backend", ["sqlite", "postgres", "mariadb"])
def test_sql_and_back(backend, request, tmp_path):
    url = (
        f"sqlite:///{tmp_path / 'a.db'}"
        if backend == "sqlite"
        else request.getfixturevalue(backend)
    )
    (tmp_path / "a.csv").write_text(LINES)
    pairings = read_csv(tmp_path / "a.csv", value="v", weight="w")
    write_sql(pairings, url, value="v", weight="w")
    assert cells(read_sql(url, value="v", weight="w")) == (VALUES, WEIGHTS)
    assert cells(read_sql(url, weight="w")) == (dict.fromkeys(VALUES, 1.0), WEIGHTS)
    part = read_sql(url, value="v", weight="w", where="pid < 2", max_rows=5)
    assert cells(part)[1] == {key: weight for key, weight in WEIGHTS.items() if key[0] == 1}
    with pytest.raises(InvalidInputError, match=r"holds -1.* where pid is '?2'? and tid is 'b'"):
        read_sql(url, weight="v")
    with pytest.raises(DatabaseReadError, match="no column 'x'"):
        read_sql(url, weight="x")
    write_sql(pairings, url, value="v", weight="w", if_exists="append")
    added = read_sql(url, value="v", weight="w", duplicates="count")
    assert cells(added)[1] == {key: 2 * weight for key, weight in WEIGHTS.items()}


def test_columns_without_a_declared_type(make_db):
    url = make_db(
        "CREATE TABLE pairings (pid, tid, v, w)",
        "INSERT INTO pairings VALUES (1, 2, -1.5, 1), (3, 4, 2.5, 0.5)",
    )
    found = read_sql(url, value="v", weight="w")
    assert cells(found) == ({(1, 2): -1.5, (3, 4): 2.5}, {(1, 2): 1.0, (3, 4): 0.5})


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("NULL", "column 'w' holds NULL where pid is 3 and tid is 4: weights must be finite"),
        ("'much'", "column 'w' holds 'much' where pid is 3"),
        (
            "-0.5",
            "holds -0.5 where pid is 3 and tid is 4: weights must be finite and >= 0",
        ),
    ],
)
@pytest.mark.parametrize("value", ["v", None])
def test_what_is_no_weight(make_db, item, message, value):
    url = make_db(
        "CREATE TABLE pairings (pid, tid, v, w)",
        f"INSERT INTO pairings VALUES (1, 2, 1, 1), (3, 4, 1, {item})",
    )
    for duplicates in ("keep-one", "count"):
        with pytest.raises(InvalidInputError, match=message):
            read_sql(url, value=value, weight="w", duplicates=duplicates)


def test_null_ids_take_their_weights_along(make_db):
    url = make_db(
        "CREATE TABLE pairings (pid, tid, v, w)",
        "INSERT INTO pairings VALUES (1, 2, 1, 7), (NULL, 4, 1, NULL), (3, 4, 1, 8)",
    )
    for value in ("v", None):
        found = read_sql(url, value=value, weight="w", on_null="drop")
        assert cells(found)[1] == {(1, 2): 7.0, (3, 4): 8.0}
        assert found.n_null_dropped == 1


def test_write_sql_says_what_is_wrong(tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    plain = Pairings.from_arrays([1, 2], [1, 2])
    with pytest.raises(InvalidInputError, match="weight is 'w', but the pairings have no weights"):
        write_sql(plain, url, weight="w")
    weighted = Pairings.from_arrays([1, 2], [1, 2], weights=[1, 2])
    with pytest.raises(InvalidInputError, match="give each another name"):
        write_sql(weighted, url, value="w", weight="W")
    write_sql(weighted, url)
    engine = sa.create_engine(url)
    assert [column["name"] for column in sa.inspect(engine).get_columns("pairings")] == [
        "pid",
        "tid",
    ]
    engine.dispose()
