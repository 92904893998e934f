"""Reading and writing pairs, beside the notebook's loop."""

import numpy as np
import pytest
import sqlalchemy

from twofold.io import read_npz, read_sql, write_sql


@pytest.fixture
def url(tmp_path, pairings):
    found = f"sqlite:///{tmp_path / 'lists.db'}"
    write_sql(pairings, found)
    return found


def same(found, pairings):
    np.testing.assert_array_equal(found.matrix.indptr, pairings.matrix.indptr)
    np.testing.assert_array_equal(
        found.col_ids[found.matrix.indices], pairings.col_ids[pairings.matrix.indices]
    )


def test_read_sql(benchmark, note, pairings, url):
    same(benchmark.pedantic(read_sql, (url,), rounds=3), pairings)
    note(pairings)


def test_read_sql_by_the_notebook(benchmark, note, pairings, url):
    """One fetchone for each row, into floats."""
    engine = sqlalchemy.create_engine(url)

    def loop():
        with engine.connect() as connection:
            (n,) = connection.execute(sqlalchemy.text("SELECT COUNT(*) FROM pairings")).one()
            result = connection.execute(sqlalchemy.text("SELECT pid, tid FROM pairings"))
            found = np.empty((n, 2))
            for place in range(n):
                row = result.fetchone()
                found[place] = int(row[0]), int(row[1])
        return found

    found = benchmark.pedantic(loop, rounds=1)
    engine.dispose()
    assert len(found) == pairings.n_pairs
    note(pairings)


def test_write_sql(benchmark, note, pairings, tmp_path):
    target = f"sqlite:///{tmp_path / 'out.db'}"
    benchmark.pedantic(write_sql, (pairings, target), {"if_exists": "replace"}, rounds=2)
    same(read_sql(target), pairings)
    note(pairings)


def test_npz(benchmark, note, pairings, tmp_path):
    def round_trip():
        pairings.save(tmp_path / "p.npz")
        return read_npz(tmp_path / "p.npz")

    same(benchmark.pedantic(round_trip, rounds=3), pairings)
    note(pairings)
