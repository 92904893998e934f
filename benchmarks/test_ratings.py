"""The folds and the search of the table of MovieLens 100k, on generated ratings."""

import numpy as np
import pytest

from benchmarks.published import ratings
from twofold.exceptions import InvalidInputError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    rows, cols = np.nonzero(rng.random((60, 40)) < 0.4)
    stars = 3.0 + rng.normal(size=60)[rows] + rng.normal(size=40)[cols]
    arrays = {"rows": rows, "cols": cols, "ratings": np.clip(np.round(stars), 1, 5)}
    np.savez(tmp_path / "ml100k.npz", **arrays)
    return tmp_path


def test_folds_hold_each_rating_once():
    parts = list(ratings.folds(103, 5, 0))
    assert np.array_equal(np.sort(np.concatenate([test for _, test in parts])), np.arange(103))
    for train, test in parts:
        assert np.array_equal(np.union1d(train, test), np.arange(103))
        assert not np.intersect1d(train, test).size


def test_both_files_are_read(folder):
    read = ratings.read_ratings(folder)
    times = np.zeros(read.rows.size, int)
    lines = np.stack([read.rows, read.cols, read.values.astype(int), times], axis=1)
    (folder / "ml100k.npz").unlink()
    with pytest.raises(InvalidInputError, match="there is no file of ratings"):
        ratings.read_ratings(folder)
    np.savetxt(folder / "u.data", lines, fmt="%d", delimiter="\t")
    assert all(map(np.array_equal, ratings.read_ratings(folder), read))


def test_predictions_are_better_than_the_mean(folder, capsys):
    data = ratings.read_ratings(folder)
    ratings.cross_validate(data, n_trials=3, n_epochs=5, seed=0)
    last = capsys.readouterr().out.splitlines()[-2].split()
    assert float(last[-2]) < 0.8 * data.values.std()
