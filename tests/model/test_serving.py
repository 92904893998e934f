"""Models of files for serving: without training pairs and rows."""

import pickle
from mmap import mmap as mmap_type

import numpy as np
import pytest
from scipy import sparse

from twofold import L1, L2, FactorModel, HuberLoss, Objective, Pairings
from twofold.data.files import read_file, write_file
from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.model import write_factors, write_recommendations
from twofold.solvers import ALS, GD

N_ROWS, N_COLS, K = 40, 25, 3
centers = np.random.default_rng(5).normal(size=(N_ROWS, K))
OBJECTIVES = {
    "default": (None, ALS(n_factors=K, rng=0)),
    "biases": (
        Objective(
            regularizer=L2(0.1), data="targets", biases=True, unobserved_weight=0.1, mean=0.3
        ),
        ALS(n_factors=K, rng=0),
    ),
    "centers": (
        Objective(
            regularizer=L2(0.1, row_center=centers, col_center=centers[:N_COLS]),
            unobserved_weight=0.1,
        ),
        ALS(n_factors=K, rng=0),
    ),
    "huber": (
        Objective(HuberLoss(0.3), L1(0.01), data="targets"),
        GD(n_factors=K, max_epochs=3, rng=0),
    ),
}


def pairings_of(n_rows, seed):
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((n_rows, N_COLS)) < 0.2, rng.random((n_rows, N_COLS)), 0.0)
    values[:, 0] = 1.0
    names = np.array([f"trück {col}" for col in range(N_COLS)], dtype=object)
    return Pairings(sparse.csr_array(values), np.arange(n_rows) + 100 * seed, names)


@pytest.fixture(scope="module", params=OBJECTIVES)
def pair(request, tmp_path_factory):
    """A model, what serves it, and keywords for new rows."""
    objective, solver = OBJECTIVES[request.param]
    model = FactorModel(objective, solver).fit(pairings_of(N_ROWS, 0))
    path = tmp_path_factory.mktemp("served") / "m"
    model.save(path, serving=True)
    own = {"center": centers[:7]} if request.param == "centers" else {}
    return model, FactorModel.load(path, mmap=True), own


def test_new_rows_are_served_in_the_same_bits(pair):
    model, served, own = pair
    new = pairings_of(7, 1)
    folded, expected = served.fold_in(new, **own), model.fold_in(new, **own)
    assert folded.row_factors.tobytes() == expected.row_factors.tobytes()
    ranking, wanted = (one.recommend(new, 30, **own) for one in (served, model))
    assert ranking.positions.tobytes() == wanted.positions.tobytes()
    assert ranking.scores.tobytes() == wanted.scores.tobytes()
    assert served.value(new, **own) == model.value(new, **own)
    some = Pairings.from_arrays([100, 101, 7], ["trück 3", "new", "trück 4"])
    predicted, wanted = (one.predict(some, new, **own) for one in (served, model))
    assert predicted.tolist() == wanted.tolist()


def test_prepared_columns_are_in_the_file_and_shared(tmp_path, monkeypatch):
    model = FactorModel(solver=ALS(n_factors=K, rng=0)).fit(pairings_of(N_ROWS, 0))
    model.save(tmp_path / "m", serving=True)
    arrays, meta = read_file(tmp_path / "m", "model", 1)
    own = {name: array for name, array in arrays.items() if name.startswith("system.")}
    assert set(own) == {f"system.{name}" for name in ("gram", "spectrum", "vectors", "rotated")}
    new, expected = pairings_of(7, 1), list(model.recommend(pairings_of(7, 1), 5))
    older = {name: array for name, array in arrays.items() if name not in own}
    # A file with "text_row_ids" is readable without the prepared columns.
    write_file(tmp_path / "older", "model", 1, older, meta)
    assert list(FactorModel.load(tmp_path / "older").recommend(new, 5)) == expected
    monkeypatch.setattr("twofold.solvers.column_system.ColumnSystem.prepare", None)
    for mmap in (True, False):
        served = FactorModel.load(tmp_path / "m", mmap=mmap)
        assert list(served.recommend(new, 5)) == expected
        system = served._get_fitted().system.system
        if mmap:  # not a copy
            assert not system.rotated.flags.owndata
            assert isinstance(base_of(system.rotated), mmap_type)


def base_of(array):
    """Return the object whose memory an array uses."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array


def test_columns_and_popular_ones_are_served(pair):
    model, served, own = pair
    assert served.col_ids.tolist() == model.col_ids.tolist()
    assert served.col_factors.tobytes() == model.col_factors.tobytes()
    names = model.col_ids[[3, 8]]
    assert list(served.similar_cols(names)) == list(model.similar_cols(names))
    unknown = Pairings.from_arrays([1], ["new"])
    own = {key: np.zeros((1, K)) for key in own}
    popular, wanted = (
        one.recommend(unknown, 30, fallback="popular", **own) for one in (served, model)
    )
    assert list(popular) == list(wanted)


def test_it_is_smaller_and_is_saved_again_in_the_same_bytes(pair, tmp_path):
    model, served, _ = pair
    model.save(tmp_path / "whole")
    model.save(tmp_path / "served", serving=True)
    served.save(tmp_path / "again", serving=True)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "served").read_bytes()
    assert (tmp_path / "served").stat().st_size < (tmp_path / "whole").stat().st_size
    arrays, _ = read_file(tmp_path / "served", "model", 1)
    sizes = {name: len(array) for name, array in arrays.items()}
    assert {name for name, size in sizes.items() if size == N_ROWS} == set()


def test_what_it_cannot_do_says_the_way_out(pair, tmp_path):
    _, served, _ = pair
    new = pairings_of(7, 1)
    for refused in (
        lambda: served.pairings,
        lambda: served.row_ids,
        lambda: served.row_factors,
        lambda: served.recommend([0]),
        lambda: served.predict(new),
        lambda: served.save(tmp_path / "m"),
        lambda: write_recommendations(served, tmp_path / "m.csv"),
        lambda: write_factors(served, tmp_path / "m.parquet", "row"),
    ):
        with pytest.raises(InvalidInputError, match=r"serving=True\), which has no trained .*load"):
            refused()
    assert list(tmp_path.iterdir()) == []


def test_new_rows_are_explained_and_trained_ones_refused(tmp_path):
    model = FactorModel(solver=ALS(n_factors=K, rng=0)).fit(pairings_of(N_ROWS, 0))
    model.save(tmp_path / "m", serving=True)
    served = FactorModel.load(tmp_path / "m")
    row = model.pairings.take_rows([5])
    assert served.explain(row, "trück 1", 3) == model.explain(model.row_ids[5], "trück 1", 3)
    with pytest.raises(InvalidInputError, match="which has no trained rows, but serves new rows"):
        served.explain(model.row_ids[5], "trück 1")


def test_it_survives_pickling(pair):
    model, served, own = pair
    new = pairings_of(7, 1)
    again = pickle.loads(pickle.dumps(served))
    assert list(again.recommend(new, **own)) == list(model.recommend(new, **own))


@pytest.mark.parametrize(
    "name",
    ["col_ids", "col_counts", "of_unknown", "col_factors", "system.gram", "system.rotated",
     "system.spectrum", "system.vectors"],
)  # fmt: skip
def test_arrays_that_do_not_fit_together(name, tmp_path):
    model = FactorModel(solver=ALS(n_factors=K, rng=0)).fit(pairings_of(N_ROWS, 0))
    model.save(tmp_path / "m", serving=True)
    arrays, meta = read_file(tmp_path / "m", "model", 1)
    for changed in ({name: arrays[name][:1]}, {}):
        rest = {key: array for key, array in arrays.items() if key != name}
        write_file(tmp_path / "m", "model", 1, rest | changed, meta)
        with pytest.raises(FileFormatError, match="is not a whole model"):
            FactorModel.load(tmp_path / "m")


@pytest.mark.parametrize(("rows", "no_id"), [(["mon", "tue"], None), ([3, 4], -1)])
def test_a_row_without_an_id_is_marked_as_by_the_whole_model(rows, no_id, tmp_path):
    model = FactorModel(solver=ALS(n_factors=1, rng=0)).fit(Pairings.from_arrays(rows, [7, 8]))
    for _ in range(2):  # a file of a model from a file too
        model.save(tmp_path / "m", serving=True)
        assert model.recommend_new([7], n=1).row_ids.tolist() == [no_id]
        model = FactorModel.load(tmp_path / "m")
    assert model.recommend_new([7], n=1).row_ids.tolist() == [no_id]
