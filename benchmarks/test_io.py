"""Reading and writing pairs, compared with the notebook's loop, ConnectorX and pandas."""

import importlib.util
import json
import random
import string
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa

from twofold import Pairings
from twofold.io import import_mpd, read_mpd, read_npz, read_sql, write_sql

LOOP_ROWS = 500_000  # for the notebook's loop; its speed does not depend on the number of rows
TEXT = "SELECT pid, tid FROM pairings"
READ = {"read_npz": read_npz, "open": Pairings.open}


def notebook_loop(url):
    """Read like the notebook's make_R_list_sql, with one fetchone for each row."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        n = connection.execute(sa.text("SELECT COUNT(*) FROM pairings")).scalar_one()
        result = connection.execute(sa.text(TEXT))
        found = np.empty((min(n, LOOP_ROWS), 2))
        for place in range(len(found)):
            if place % np.round(n * 5.0 / 100) == 0:  # The notebook shows its progress here.
                pass
            row = result.fetchone()
            if isinstance(row[0], int):  # Texts are only fetched, not converted to floats.
                found[place, 0] = int(row[0])
                found[place, 1] = int(row[1])
    engine.dispose()
    return found


def connectorx_alone(url):
    """Return two Arrow columns."""
    connectorx = pytest.importorskip("connectorx", reason="connectorx is not installed")
    url = url.replace("sqlite:///", "sqlite://").replace("postgresql+psycopg", "postgresql")
    return connectorx.read_sql(url, TEXT, return_type="arrow")


def pandas_alone(url):
    """Return a DataFrame."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    engine = sa.create_engine(url)
    frame = pandas.read_sql(TEXT, engine)
    engine.dispose()
    return frame


WAYS = {
    "notebook": notebook_loop,
    "pandas": pandas_alone,
    "read_sql": read_sql,
    "ConnectorX alone": connectorx_alone,
    "read_sql connectorx": lambda url: read_sql(url, engine="connectorx"),
}


def measure_reading(measure, pairings, way, url):
    n = min(pairings.n_pairs, LOOP_ROWS) if way == "notebook" else pairings.n_pairs
    rounds = 1 if way == "notebook" else 3
    found = measure(WAYS[way], url, rounds=rounds, work={"M pairs": n / 1e6})
    if way.startswith("read_sql"):
        assert found.n_pairs == pairings.n_pairs
    else:
        assert len(found) == n


@pytest.fixture(scope="module", params=["integer", "text"])
def written(request, pairings, tmp_path_factory):
    """Return pairings with integer or text ids, and the URL of an SQLite file of them."""
    if request.param == "text":
        n_rows, n_cols = pairings.shape
        pairings = replace(
            pairings,
            row_ids=np.array([f"playlist {row}" for row in range(n_rows)]),
            col_ids=np.array(
                [f"spotify:track:{col * 2654435761 % 2**62:022d}" for col in range(n_cols)]
            ),
        )
    url = f"sqlite:///{tmp_path_factory.mktemp('sql') / 'lists.db'}"
    write_sql(pairings, url)
    return pairings, url


@pytest.mark.benchmark(group="SQLite")
@pytest.mark.parametrize("way", WAYS)
def test_read_sqlite(measure, written, way):
    pairings, url = written
    measure_reading(measure, pairings, way, url)


@pytest.fixture(scope="module")
def postgres(request, pairings):
    url = request.config.getoption("--postgres")
    if url is None:
        pytest.skip("--postgres is not given")
    write_sql(pairings, url)
    yield url
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE pairings"))
    engine.dispose()


@pytest.mark.benchmark(group="PostgreSQL")
@pytest.mark.parametrize("way", WAYS)
def test_read_postgres(measure, pairings, postgres, way):
    measure_reading(measure, pairings, way, postgres)


@pytest.mark.benchmark(group="SQLite, writing")
def test_write_sql(measure, pairings, tmp_path):
    url = f"sqlite:///{tmp_path / 'lists.db'}"
    measure(lambda: write_sql(pairings, url, if_exists="replace"), rounds=2,
            work={"M pairs": pairings.n_pairs / 1e6})  # fmt: skip


@pytest.mark.benchmark(group="files")
def test_save(measure, pairings, tmp_path):
    measure(pairings.save, tmp_path / "lists.npz", rounds=3)


@pytest.mark.benchmark(group="files")
@pytest.mark.parametrize("way", READ)
def test_read_file(measure, pairings, tmp_path, way):
    path = tmp_path / "lists.npz"
    pairings.save(path)
    found = measure(READ[way], path, rounds=5, MB=path.stat().st_size / 1e6)
    assert found.n_pairs == pairings.n_pairs


@pytest.mark.benchmark(group="files")
@pytest.mark.parametrize("options", [{"verify": True}, {"mmap": False}], ids=str)
def test_open(measure, pairings, tmp_path, options):
    pairings.save(tmp_path / "lists.npz")
    measure(lambda: Pairings.open(tmp_path / "lists.npz", **options), rounds=5)


def slice_of(first, n_playlists, rng):
    """Return a slice in the format of the Million Playlist Dataset, with few popular tracks."""
    letters = string.ascii_letters + string.digits

    def track(position):
        random.seed(int(100_000 * rng.random() ** 2))
        key, name, artist, album = ("".join(random.choices(letters, k=k)) for k in (22, 20, 12, 20))
        return {
            "pos": position, "artist_name": artist, "track_uri": f"spotify:track:{key}",
            "artist_uri": f"spotify:artist:{key}", "track_name": name,
            "album_uri": f"spotify:album:{key}", "duration_ms": 200_000, "album_name": album,
        }  # fmt: skip

    playlists = [
        {
            "name": f"list {pid}", "collaborative": "false", "pid": pid,
            "modified_at": 1493424000, "num_tracks": 66, "num_albums": 47, "num_followers": 1,
            "tracks": [track(position) for position in range(66)], "num_edits": 6,
            "duration_ms": 11532414, "num_artists": 37,
        }
        for pid in range(first, first + n_playlists)
    ]  # fmt: skip
    return json.dumps({"info": {"version": "v1"}, "playlists": playlists}, indent=4)


@pytest.fixture(scope="module")
def slices(size, tmp_path_factory):
    """Write three slices; from the size "large" on, each has 1,000 playlists (33 MB)."""
    folder, rng = tmp_path_factory.mktemp("mpd"), random.Random(0)
    n = 1000 if size in ("large", "mpd") else 20
    for first in range(0, 3 * n, n):
        path = folder / f"mpd.slice.{first}-{first + n - 1}.json"
        path.write_text(slice_of(first, n, rng), encoding="utf-8")
    return folder


@pytest.mark.benchmark(group="slices of the Million Playlist Dataset")
@pytest.mark.parametrize("what", ["read_mpd", "import_mpd"])
def test_slices(measure, slices, tmp_path, what):
    """Read with orjson if it is installed."""
    url = f"sqlite:///{tmp_path / 'mpd.db'}"
    ways = {
        "read_mpd": lambda: read_mpd(slices),
        "import_mpd": lambda: import_mpd(slices, url, if_exists="replace"),
    }
    found = importlib.util.find_spec("orjson")
    megabytes = sum(path.stat().st_size for path in slices.iterdir()) / 1e6
    measure(ways[what], rounds=3, work={"MB": megabytes}, parser="orjson" if found else "json")
