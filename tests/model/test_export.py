import csv
import gzip
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from twofold import L2, FactorModel, Objective, Pairings
from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.io import TrackName, read_csv, read_parquet, read_sql, write_sql
from twofold.model import write_factors, write_recommendations
from twofold.solvers import ALS

integers = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5, unique=True)
texts = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    min_size=1, max_size=5, unique=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def pairings() -> Pairings:
    rng = np.random.default_rng(0)
    cols = np.array([f"t{col}" for col in range(12)])
    return Pairings.from_arrays(rng.integers(0, 20, 150) * 3, cols[rng.integers(0, 12, 150)])


@pytest.fixture(scope="module")
def model(pairings) -> FactorModel:
    objective = Objective(regularizer=L2(0.1), unobserved_weight=0.1)
    return FactorModel(objective, ALS(n_factors=3, max_epochs=2, rng=0)).fit(pairings)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path) -> str:
    return url_of(request, tmp_path)


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def url_to_resume(request, tmp_path) -> str:
    return url_of(request, tmp_path)


def url_of(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'a.db'}"
    return str(request.getfixturevalue(request.param))


def rows_of(url: str, query: str) -> list[tuple[object, ...]]:
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]
    finally:
        engine.dispose()


@settings(max_examples=30, deadline=None)
@given(integers | texts, st.data())
def test_round_trip_of_factors(ids, data):
    kind = data.draw(st.sampled_from([np.float32, np.float64]))
    width = data.draw(st.integers(1, 4))
    numbers = st.floats(allow_nan=False, allow_infinity=False, width=np.dtype(kind).itemsize * 8)
    factors = data.draw(hnp.arrays(kind, (len(ids), width), elements=numbers))
    array = np.array(ids, dtype=object if isinstance(ids[0], str) else np.int64)
    model = SimpleNamespace(row_ids=array, row_factors=factors)
    engine = sa.create_engine("sqlite://")
    write_factors(model, engine, "row")
    with engine.connect() as connection:
        found = {row[0]: row[1:] for row in connection.exec_driver_sql("select * from row_factors")}
    engine.dispose()
    assert found == dict(zip(ids, map(tuple, factors.tolist()), strict=True))


def test_factors_join_their_tables(url, model, pairings):
    write_sql(pairings, url)
    write_factors(model, url, "row")
    write_factors(model, url, "col")
    joined = rows_of(
        url,
        "select p.pid, p.tid, r.f0 * c.f0 + r.f1 * c.f1 + r.f2 * c.f2 from pairings p "
        "join row_factors r on r.pid = p.pid join col_factors c on c.tid = p.tid",
    )
    assert len(joined) == pairings.n_pairs
    rows = pairings.row_index([row for row, _, _ in joined])
    cols = pairings.col_index([col for _, col, _ in joined])
    predicted = (model.row_factors[rows] * model.col_factors[cols]).sum(axis=1)
    np.testing.assert_allclose([value for _, _, value in joined], predicted, rtol=1e-5, atol=1e-6)


def test_if_exists_and_names(url, model, pairings):
    write_factors(model, url, "row", table="vectors", id_column="playlist")
    before = rows_of(url, "select * from vectors")
    with pytest.raises(InvalidInputError, match="table 'vectors' exists"):
        write_factors(model, url, "row", table="vectors", id_column="playlist")
    with pytest.raises(DatabaseReadError, match=r"(?i)unique"):
        write_factors(model, url, "row", table="vectors", id_column="playlist", if_exists="append")
    with pytest.raises(DatabaseReadError, match="no column 'pid'"):
        write_factors(model, url, "row", table="vectors", if_exists="append")
    assert rows_of(url, "select * from vectors") == before
    new = pairings.take_rows([0, 1])
    folded = model.fold_in(Pairings(new.matrix, [1000, 1001], new.col_ids))
    write_factors(folded, url, "row", table="vectors", id_column="playlist", if_exists="append")
    assert len(rows_of(url, "select * from vectors")) == len(before) + 2
    write_factors(folded, url, "row", table="vectors", if_exists="replace")
    assert rows_of(url, "select pid from vectors order by pid") == [(1000,), (1001,)]


def test_both_sides_or_none(tmp_path, model):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'a.db'}")

    def write(cols):
        with engine.begin() as connection:
            write_factors(model, connection, "row")
            write_factors(cols, connection, "col")

    with pytest.raises(InvalidInputError, match="no col_factors"):
        write(SimpleNamespace())
    assert sa.inspect(engine).get_table_names() == []
    write(model)
    assert len(sa.inspect(engine).get_table_names()) == 2
    engine.dispose()


def lines_of(ranking):
    return [
        (row, place, col, score)
        for row, found in ranking
        for place, (col, score) in enumerate(found, 1)
    ]


def test_recommendations(url, model, pairings, monkeypatch):
    ranking = model.recommend(pairings.row_ids[:4], n=12)
    assert not ranking.mask.all()
    write_recommendations(ranking, url)
    query = "select * from recommendations order by pid, place"
    assert rows_of(url, query) == lines_of(ranking)
    monkeypatch.setattr("twofold.model.export.BLOCK", 7)
    write_recommendations(model, url, n=3, if_exists="replace")
    assert rows_of(url, query) == lines_of(model.recommend(pairings.row_ids, n=3))
    similar = model.similar_cols(["t1"], n=2)
    write_recommendations(similar, url, "near", "tid", "other", place="nth", score="cosine")
    assert rows_of(url, "select tid, nth, other, cosine from near") == lines_of(similar)
    assert read_sql(url, "near", "tid", "other", "cosine").n_pairs == 2
    rows_of_track = model.recommend_rows(["t1"], n=2)
    write_recommendations(rows_of_track, url, "of_track", row="tid", col="pid")
    assert rows_of(url, "select tid, place, pid, score from of_track") == lines_of(rows_of_track)
    nothing = model.recommend([], n=2)
    write_recommendations(nothing, url, if_exists="replace")
    assert rows_of(url, query) == []


def test_a_failure_half_way_leaves_what_was_there(tmp_path, model, pairings, monkeypatch):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    write_recommendations(model, url, n=2)
    before = rows_of(url, "select * from recommendations")

    class Failing(FactorModel):
        def recommend(self, rows, n=10, **options):
            if 30 in rows:
                raise KeyboardInterrupt
            return model.recommend(rows, n)

    failing = Failing.load(_saved(model, tmp_path))
    monkeypatch.setattr("twofold.model.export.BLOCK", 4)
    others = (tmp_path / "b.csv", tmp_path / "b.csv.gz", tmp_path / "b.parquet")
    for target in (url, f"sqlite:///{tmp_path / 'b.db'}", *others):
        if target == others[-1]:
            pytest.importorskip("pyarrow")
        with pytest.raises(KeyboardInterrupt):
            write_recommendations(failing, target, n=2, if_exists="replace")
    assert rows_of(url, "select * from recommendations") == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.db", "a.twofold"]


def _saved(model: FactorModel, folder: Path) -> Path:
    model.save(folder / "a.twofold")
    return folder / "a.twofold"


def test_parquet(tmp_path, model, pairings, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet", reason='needs pip install "twofold[frames]"')
    monkeypatch.setattr("twofold.model.export.BLOCK", 7)
    write_factors(model, tmp_path / "rows.parquet", "row")
    write_factors(model, str(tmp_path / "cols.parquet"), "col", id_column="track")
    for name, key, ids, factors in (
        ("rows", "pid", model.row_ids, model.row_factors),
        ("cols", "track", model.col_ids, model.col_factors),
    ):
        found = parquet.read_table(tmp_path / f"{name}.parquet").to_pydict()
        assert found == {key: ids.tolist(), "factors": factors.tolist()}
    write_recommendations(model, tmp_path / "a.parquet", n=2)
    found = parquet.read_table(tmp_path / "a.parquet").to_pydict()
    assert list(found) == ["pid", "place", "tid", "score"]
    ranking = model.recommend(pairings.row_ids, n=2)
    assert list(zip(*found.values(), strict=True)) == lines_of(ranking)
    assert read_parquet(tmp_path / "a.parquet", value="score").n_pairs == ranking.mask.sum()
    with pytest.raises(InvalidInputError, match=r"a\.parquet' exists"):
        write_recommendations(ranking, tmp_path / "a.parquet")
    with pytest.raises(InvalidInputError, match="cannot be added to"):
        write_recommendations(ranking, tmp_path / "a.parquet", if_exists="append")
    write_recommendations(ranking, tmp_path / "a.parquet", row="x", if_exists="replace")
    assert parquet.read_schema(tmp_path / "a.parquet").names[0] == "x"
    with pytest.raises(InvalidInputError, match="cannot write"):
        write_factors(model, tmp_path / "none" / "a.parquet", "row")
    odd = SimpleNamespace(row_ids=np.array(["\udcff"], object), row_factors=np.ones((1, 2)))
    for target in (tmp_path / "odd.parquet", f"sqlite:///{tmp_path / 'odd.db'}"):
        with pytest.raises(InvalidInputError, match="cannot be encoded as UTF-8"):
            write_factors(odd, target, "row")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "a.parquet", "cols.parquet", "rows.parquet",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a.csv", "a.CSV.GZ"])
def test_csv(tmp_path, model, pairings, monkeypatch, name):
    monkeypatch.setattr("twofold.model.export.BLOCK", 7)
    path, opener = tmp_path / name, open if name == "a.csv" else gzip.open
    write_recommendations(model, path, n=2)
    before = path.read_bytes()
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    assert header == ["pid", "place", "tid", "score"]
    found = [(int(pid), int(place), tid, float(score)) for pid, place, tid, score in lines]
    ranking = model.recommend(pairings.row_ids, n=2)
    assert found == lines_of(ranking)
    if opener is gzip.open:  # no name and no time, so that equal content has equal bytes
        assert before[3:8] == bytes(5)
    with pytest.raises(InvalidInputError, match=rf"{name}' exists"):
        write_recommendations(ranking, path)
    with pytest.raises(InvalidInputError, match="cannot be added to"):
        write_recommendations(ranking, path, if_exists="append")
    write_recommendations(ranking, str(path), if_exists="replace")
    assert path.read_bytes() == before
    assert read_csv(path, value="score").n_pairs == ranking.mask.sum()
    write_recommendations(model.recommend([], n=2), path, if_exists="replace")
    with opener(path, "rt", encoding="utf-8") as file:
        assert file.read() == "pid,place,tid,score\n"


def test_csv_is_whole_or_absent(tmp_path, model, pairings):
    ranking = model.recommend(pairings.row_ids[:1], n=2)
    odd = replace(ranking, row_ids=np.array(["\udcff"], object))
    for name in ("odd.csv", "odd.csv.gz"):
        with pytest.raises(InvalidInputError, match="cannot be encoded as UTF-8"):
            write_recommendations(odd, tmp_path / name)
    with pytest.raises(InvalidInputError, match="cannot write"):
        write_recommendations(ranking, tmp_path / "none" / "a.csv")
    assert not [*tmp_path.iterdir()]


def test_names_beside_ids(tmp_path, url, model, pairings):
    ranking = model.recommend(pairings.row_ids[:4], n=5)
    names = {f"t{col}": TrackName(f'a "{col}",\nb', f"by {col}") for col in range(8)}
    names["t8"] = TrackName("alone")
    expected = [
        (*line, *names.get(line[2], TrackName(None))) for line in lines_of(ranking)
    ]  # place in the ranking, and NULL where there is no name
    assert {line[4:] for line in expected} >= {("alone", None), (None, None)}
    write_recommendations(ranking, url, names=names)
    assert rows_of(url, "select * from recommendations order by pid, place") == expected
    write_recommendations(ranking, tmp_path / "a.csv", names=names)
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    assert header == ["pid", "place", "tid", "score", "name", "artist"]
    assert [tuple(line[2:3] + line[4:]) for line in lines] == [
        (line[2], line[4] or "", line[5] or "") for line in expected
    ]
    parquet = pytest.importorskip("pyarrow.parquet", reason='needs pip install "twofold[frames]"')
    write_recommendations(ranking, tmp_path / "a.parquet", names=names)
    found = parquet.read_table(tmp_path / "a.parquet").to_pydict()
    assert list(zip(*found.values(), strict=True)) == expected
    with pytest.raises(InvalidInputError, match="columns are named"):
        write_recommendations(ranking, url, score="Artist", names={})


def test_what_is_refused(tmp_path, model, pairings):
    url = "sqlite://"
    with pytest.raises(InvalidInputError, match="not fitted"):
        write_factors(FactorModel(), url, "row")
    with pytest.raises(InvalidInputError, match="not fitted"):
        write_recommendations(FactorModel(), url)
    with pytest.raises(InvalidInputError, match=r"side is 'user': .* \"row\", \"col\""):
        write_factors(model, url, "user")
    with pytest.raises(InvalidInputError, match="FoldedRows, which has no col_factors"):
        write_factors(model.fold_in(pairings), url, "col")
    with pytest.raises(InvalidInputError, match="recommendations is a Pairings"):
        write_recommendations(pairings, url)
    with pytest.raises(InvalidInputError, match="n is 0"):
        write_recommendations(model, url, n=0)
    with pytest.raises(InvalidInputError, match="columns are named"):
        write_recommendations(model, url, row="tid")
    with pytest.raises(InvalidInputError, match="columns are named"):
        write_factors(model, url, "row", id_column="F1")
    with pytest.raises(InvalidInputError, match=r"neither a file \*\.parquet nor a database"):
        write_factors(model, tmp_path / "a.csv", "row")
    with pytest.raises(
        InvalidInputError, match=r"neither a file \*\.csv, \*\.csv\.gz, \*\.parquet"
    ):
        write_recommendations(model, tmp_path / "a.tsv")
    for write, side in ((write_factors, "row"), (write_recommendations, "recommendations")):
        with pytest.raises(DatabaseReadError, match="database URL"):
            write(model, "a.tsv", side)


def test_sqlalchemy_is_imported_only_to_write():
    code = (
        "import sys, twofold.model as model; print('sqlalchemy' in sys.modules); "
        "print(set(model.__all__) <= set(dir(model)), hasattr(model, 'nothing')); "
        "model.write_factors; print('sqlalchemy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False", "True"]


class Interrupted:
    """A model that is interrupted before a block, and counts the blocks."""

    def __init__(self, model: FactorModel, after: int) -> None:
        self.model, self.n_left = model, after

    def __getattr__(self, name: str) -> object:
        return getattr(self.model, name)

    def recommend(self, rows, n=10):
        if not self.n_left:
            raise KeyboardInterrupt
        self.n_left -= 1
        return self.model.recommend(rows, n)


def test_a_run_continues_where_it_was_interrupted(url_to_resume, model, pairings, monkeypatch):
    url = url_to_resume
    monkeypatch.setattr("twofold.model.export.BLOCK", 2)
    n_blocks = -(-len(model.row_ids) // 2)
    assert n_blocks > 1
    query = "SELECT * FROM recommendations ORDER BY pid, place"
    write_recommendations(model, url, n=3)
    expected = rows_of(url, query)
    with pytest.raises(InvalidInputError, match="'recommendations' exists"):
        write_recommendations(model, url, n=3, if_exists="resume")  # it did not write this one
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE recommendations")
    engine.dispose()
    with pytest.raises(KeyboardInterrupt):
        write_recommendations(Interrupted(model, 1), url, n=3, if_exists="resume")
    assert rows_of(url, query) == [row for row in expected if row[0] in model.row_ids[:2]]
    rest = Interrupted(model, n_blocks - 1)
    write_recommendations(rest, url, n=3, if_exists="resume")
    assert (rest.n_left, rows_of(url, query)) == (0, expected)
    write_recommendations(Interrupted(model, 0), url, n=3, if_exists="resume")  # is complete
    other = FactorModel(solver=ALS(n_factors=2, max_epochs=1, rng=5)).fit(pairings)
    write_recommendations(other, url, n=3, if_exists="resume")  # begins again
    again = rows_of(url, query)
    write_recommendations(other, url, n=3, if_exists="replace")
    assert again == rows_of(url, query)


def test_a_run_begins_again_if_its_tables_were_not_all_made(url_to_resume, model):
    """As after a crash while MySQL made them, which it does not take back."""
    url, query = url_to_resume, "SELECT * FROM recommendations ORDER BY pid, place"
    write_recommendations(model, url, n=3, if_exists="resume")
    whole, engine = rows_of(url, query), sa.create_engine(url)
    for statement in ("DELETE FROM recommendations_progress", "DROP TABLE recommendations"):
        with engine.begin() as connection:
            connection.execute(sa.text(statement))
        write_recommendations(model, url, n=3, if_exists="resume")
        assert rows_of(url, query) == whole
    engine.dispose()


def test_what_cannot_be_resumed(tmp_path, model):
    with pytest.raises(InvalidInputError, match="is a file, which cannot be added to"):
        write_recommendations(model, tmp_path / "a.csv", if_exists="resume")
    url = f"sqlite:///{tmp_path}/a.db"
    with pytest.raises(InvalidInputError, match="is for a model"):
        write_recommendations(model.recommend(model.row_ids), url, if_exists="resume")
    with pytest.raises(InvalidInputError, match="in memory"):
        write_recommendations(model, "sqlite://", if_exists="resume")


@pytest.fixture
def resumed(tmp_path):
    """Return a model and the URL of a database to which it was written whole."""
    pairings = Pairings.from_arrays(np.repeat(np.arange(9), 2), np.arange(18) % 5)
    model = FactorModel(solver=ALS(n_factors=2, max_epochs=2, rng=0)).fit(pairings)
    url = f"sqlite:///{tmp_path / 'lists.db'}"
    write_recommendations(model, url, n=2, if_exists="resume")
    return model, url


def test_a_model_with_other_ids_is_another_run(resumed):
    model, url = resumed
    own = model.pairings
    other = FactorModel(solver=model.solver).fit(
        Pairings(own.matrix, own.row_ids + 1000, own.col_ids)
    )
    write_recommendations(other, url, n=2, if_exists="resume")
    assert rows_of(url, "SELECT * FROM recommendations ORDER BY pid, place")[0][0] == 1000


def test_another_write_ends_a_run(resumed):
    model, url = resumed
    write_recommendations(model.recommend([0], 2), url, if_exists="replace")
    with pytest.raises(InvalidInputError, match="exists"):
        write_recommendations(model, url, n=2, if_exists="resume")


@pytest.mark.parametrize("if_exists", ["replace", "resume", "error", "append"])
def test_a_table_of_something_else_named_progress_stays(url_to_resume, model, if_exists):
    url, engine = url_to_resume, sa.create_engine(url_to_resume)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE lists_progress (run INTEGER, lesson INTEGER)"))
        connection.execute(sa.text("INSERT INTO lists_progress VALUES (1, 2)"))
    engine.dispose()
    if if_exists in ("replace", "resume"):
        for _ in range(2):
            with pytest.raises(InvalidInputError, match="'lists_progress' exists, but is not of"):
                write_recommendations(model, url, "lists", if_exists=if_exists)
            with pytest.raises(DatabaseReadError):
                read_sql(url, "lists")
    else:
        write_recommendations(model, url, "lists", if_exists=if_exists)
    assert rows_of(url, "SELECT * FROM lists_progress") == [(1, 2)]


@pytest.mark.parametrize("if_exists", ["replace", "append"])
def test_the_progress_of_a_run_is_dropped_with_another_write(resumed, if_exists):
    model, url = resumed
    write_recommendations(model.recommend([0], 2), url, if_exists=if_exists)
    with pytest.raises(DatabaseReadError):
        read_sql(url, "recommendations_progress", "run", "n_rows")


def test_a_run_with_gaps_is_completed_by_blocks_of_another_size(resumed, monkeypatch):
    """As after workers of a cluster, which finish blocks in any order, and another version."""
    model, url = resumed
    query = "SELECT * FROM recommendations ORDER BY pid, place"
    whole, engine = rows_of(url, query), sa.create_engine(url)
    monkeypatch.setattr("twofold.model.export.BLOCK", 2)
    write_recommendations(model, url, n=2, if_exists="replace")
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE recommendations"))
    write_recommendations(model, url, n=2, if_exists="resume")
    with engine.begin() as connection:
        for first in (2, 4, 8):
            gone = f"DELETE FROM recommendations_progress WHERE first_row = {first}"
            lines = f"DELETE FROM recommendations WHERE pid IN ({first}, {first + 1})"
            connection.execute(sa.text(gone))
            connection.execute(sa.text(lines))
    engine.dispose()
    monkeypatch.setattr("twofold.model.export.BLOCK", 3)
    write_recommendations(model, url, n=2, if_exists="resume")
    assert rows_of(url, query) == whole
    done = rows_of(url, "SELECT first_row, n_rows FROM recommendations_progress ORDER BY 1")
    assert done == [(0, 2), (2, 3), (5, 1), (6, 2), (8, 1)]


def test_a_run_without_its_table_starts_again(resumed):
    model, url = resumed
    query = "SELECT * FROM recommendations ORDER BY pid, place"
    whole, engine = rows_of(url, query), sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE recommendations"))
    engine.dispose()
    write_recommendations(model, url, n=2, if_exists="resume")
    assert rows_of(url, query) == whole
