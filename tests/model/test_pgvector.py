"""Tables of vectors on a PostgreSQL server with pgvector."""

import re
from pathlib import Path

import numpy as np
import pytest
import servers
import sqlalchemy as sa

from twofold import FactorModel, Objective, Pairings
from twofold.exceptions import InvalidInputError
from twofold.io import write_sql
from twofold.model import write_factors
from twofold.solvers import ALS

PAGE = Path(__file__).parents[2] / "docs/howto/serve.md"
MAKE_INDEX, BEST = re.search(
    r"^```sql\n(CREATE INDEX.*?;)(.*?);\n```", PAGE.read_text("utf-8"), re.S | re.M
).groups()


@pytest.fixture(scope="module")
def engine():
    pytest.importorskip("psycopg")
    with servers.postgresql_with_vectors() as url:
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE EXTENSION vector")
        yield engine
        engine.dispose()


@pytest.fixture(scope="module", params=["integers", "texts"])
def model(request):
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, 50, 900), rng.integers(-20, 100, 900)
    if request.param == "texts":
        rows, cols = (np.array([f"it's {one}" for one in ids]) for ids in (rows, cols))
    objective = Objective(unobserved_weight=0.1, biases=True, mean=0.2)
    solver = ALS(n_factors=4, max_epochs=3, rng=0)
    return FactorModel(objective, solver).fit(Pairings.from_arrays(rows, cols))


def test_the_query_ranks_as_the_model(engine, model, monkeypatch):
    monkeypatch.setattr("twofold.model.export.BLOCK", 17)
    for side in ("row", "col"):
        write_factors(model, engine, side, vectors=True, if_exists="replace")
    ranking = model.recommend(model.row_ids[:5], 10)
    write_sql(model.pairings, engine, if_exists="replace")
    for row, best in ranking:
        query = sa.text(BEST.replace("pid = 7", "pid = :row"))
        with engine.connect() as connection:
            found = connection.execute(query, {"row": row}).all()
        assert [col for col, _ in found] == [col for col, _ in best]
        np.testing.assert_allclose([score for _, score in found], [s for _, s in best], rtol=1e-5)


def test_the_values_are_those_of_the_model_in_single_precision(engine, model):
    write_factors(model, engine, "col", vectors=True, if_exists="replace")
    with engine.connect() as connection:
        found = dict(
            connection.exec_driver_sql("SELECT tid, CAST(factors AS real[]) FROM col_factors").all()
        )
    for col, factors in zip(model.col_ids.tolist(), model.col_factors, strict=True):
        assert np.array(found.pop(col), np.float32).tobytes() == factors.tobytes()
    assert not found


def test_new_rows_and_a_table_that_exists(engine, model):
    new = model.fold_in(model.pairings.take_rows([3]))
    write_factors(new, engine, "row", table="new_rows", vectors=True, if_exists="replace")
    with pytest.raises(InvalidInputError, match="'new_rows' exists"):
        write_factors(new, engine, "row", table="new_rows", vectors=True)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM new_rows").scalar_one() == 1


def test_an_index_by_inner_product_can_be_made(engine, model):
    write_factors(model, engine, "col", vectors=True, if_exists="replace")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE INDEX ON col_factors USING hnsw (factors vector_ip_ops)")
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = connection.exec_driver_sql(
            "EXPLAIN SELECT tid FROM col_factors ORDER BY factors <#> '[1,0,0,0,1,1]' LIMIT 10"
        ).all()
    assert any("Index Scan using col_factors" in line for (line,) in plan)


def test_databases_without_vectors(tmp_path, model, engine):
    with pytest.raises(InvalidInputError, match="but the database is sqlite: leave it out"):
        write_factors(model, f"sqlite:///{tmp_path}/a.db", "col", vectors=True)
    with pytest.raises(InvalidInputError, match=r"m\.parquet' is a file: leave it out"):
        write_factors(model, tmp_path / "m.parquet", "col", vectors=True)
    assert list(tmp_path.iterdir()) == []
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP EXTENSION vector CASCADE")  # until the rollback
        with pytest.raises(InvalidInputError, match="and run CREATE EXTENSION vector"):
            write_factors(model, connection, "col", vectors=True)
        connection.rollback()
    with pytest.raises(InvalidInputError, match="'factors', 'factors'"):
        write_factors(model, engine, "col", id_column="factors", vectors=True)
