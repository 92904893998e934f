"""The quick way out of PostgreSQL."""

import pytest
import sqlalchemy as sa

from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.io import read_sql

pytest.importorskip("connectorx")
pytest.importorskip("pyarrow")


def test_what_takes_which_path(postgres, path_of, monkeypatch):
    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE pairings (pid integer, tid bigint, name varchar(9), v double precision, "
            "w real, x uuid)",
            "INSERT INTO pairings VALUES (1, 2, 'a', 1.5, 0.1), (3, 4, 'b', 2.5, 0.2)",
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()
    assert path_of(postgres)[0] == "connectorx"
    assert path_of(postgres, col="name", value="v", max_rows=1)[0] == "connectorx"
    assert path_of(postgres, value="tid", weight="v")[0] == "connectorx"
    assert path_of(postgres, weight="w")[0] == "sqlalchemy"
    monkeypatch.setenv("PGOPTIONS", "-c search_path=public")
    assert "PGOPTIONS" in path_of(postgres)[1]
    monkeypatch.delenv("PGOPTIONS")
    short = sa.URL.create("postgresql+psycopg", "music", host="127.0.0.1",
                          port=sa.make_url(postgres).port)  # fmt: skip
    with pytest.raises(DatabaseReadError, match='database "music" does not exist'):
        read_sql(short)
    monkeypatch.setenv("PGDATABASE", "postgres")
    assert path_of(short)[0] == "sqlalchemy"
    monkeypatch.delenv("PGDATABASE")
    assert path_of(postgres, value="w")[0] == "sqlalchemy"  # 0.1 in four bytes is not 0.1
    with pytest.raises(InvalidInputError, match="column 'x' holds NULL"):
        read_sql(postgres, col="x")
    with pytest.raises(DatabaseReadError):
        read_sql(postgres, where="true); DROP TABLE pairings; --")
    assert read_sql(postgres).n_pairs == 2
