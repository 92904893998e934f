"""The files, folds and search of the tables of MovieLens, on generated ratings."""

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
    data = ratings.DATA_SETS["ml-100k"]
    read = data.read(folder)
    times = np.zeros(read.rows.size, int)
    lines = np.stack([read.rows, read.cols, read.values.astype(int), times], axis=1)
    (folder / "ml100k.npz").unlink()
    with pytest.raises(InvalidInputError, match=r"no file of ratings .* u\.data"):
        data.read(folder)
    np.savetxt(folder / "u.data", lines, fmt="%d", delimiter="\t")
    assert all(map(np.array_equal, data.read(folder), read))


def test_both_files_of_the_larger_set_are_read(tmp_path):
    data = ratings.DATA_SETS["ml-10m"]
    with pytest.raises(InvalidInputError, match=r"no file of ratings .* ratings\.dat"):
        data.read(tmp_path)
    lines = [(1, 122, 5, 838985046), (1, 185, 4.5, 838983525), (71567, 65133, 0.5, 1)]
    names, expected = "userId,movieId,rating,timestamp", list(zip(*lines, strict=True))[:3]
    for file, head, mark in (("ratings.csv", [names], ","), ("ratings.dat", [], "::")):
        texts = [*head, *(mark.join(map(str, line)) for line in lines)]
        (tmp_path / file).write_text("\n".join(texts) + "\n")
        read = data.read(tmp_path)
        assert [part.tolist() for part in read] == [list(part) for part in expected]
        assert (read.rows.dtype, read.values.dtype) == (np.int64, np.float64)
        (tmp_path / file).unlink()


@pytest.mark.parametrize(("name", "n_tested", "n_lines"), [("ml-100k", 5, 5), ("ml-10m", None, 1)])
def test_predictions_are_better_than_the_mean(name, n_tested, n_lines, folder, capsys):
    data, read = ratings.DATA_SETS[name], ratings.DATA_SETS["ml-100k"].read(folder)
    ratings.cross_validate(data, read, n_trials=3, n_epochs=5, seed=0, n_tested=n_tested)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("  fold ") for line in lines) == n_lines
    assert sum(line.startswith("    rmse ") for line in lines) == 3 * n_lines
    last = lines[-2].split()
    assert float(last[-2]) < 0.8 * read.values.std()
    assert float(last[-1]) < float(last[-2])


def test_the_number_of_tested_folds_is_checked(folder):
    data = ratings.DATA_SETS["ml-100k"]
    for n_tested in (0, 6):
        with pytest.raises(InvalidInputError, match="from 1 to 5"):
            ratings.cross_validate(
                data, data.read(folder), n_trials=1, n_epochs=1, seed=0, n_tested=n_tested
            )
