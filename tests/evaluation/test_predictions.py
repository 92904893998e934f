"""`evaluate` with errors of predicted values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold import L2, FactorModel, Objective, Pairings, evaluate, split_pairs
from twofold.evaluation import MEAN, Counts
from twofold.exceptions import InvalidInputError, LeakWarning
from twofold.metrics import mae, rmse
from twofold.model import Popularity
from twofold.solvers import ALS
from twofold.splits import PairSplit


class Table:
    """A predictor with a value for each pair of ids, and 0 for others."""

    def __init__(self, pairings, values):
        self.pairings, self.values = pairings, values

    def predict(self, pairings, seen=None):
        rows = np.repeat(pairings.row_ids, np.diff(pairings.matrix.indptr)).tolist()
        cols = pairings.col_ids[pairings.matrix.indices].tolist()
        return np.array([self.values.get(pair, 0.0) for pair in zip(rows, cols, strict=True)])


TRAINED = Pairings.from_arrays([1, 1, 2], ["a", "b", "b"], [5.0, 3.0, 1.0], row_ids=[1, 2, 3])
SPLIT = PairSplit(
    Pairings.from_arrays([7, 8], ["a", "zz"], [1.0, 2.0], row_ids=[6, 7, 8]),
    Pairings.from_arrays(
        [7, 7, 7, 8], ["b", "d", "new", "a"], [4.0, 5.0, 3.0, 2.0], row_ids=[6, 7, 8]
    ),
)
TRAINED = TRAINED.align(["a", "b", "d"])
MODEL = Table(TRAINED, {(7, "b"): 5.0, (7, "d"): 5.0})  # errors: 1, 0, -3 and -2


def ratings(seed=0, n_rows=40, n_cols=25, first=0):
    """Return a third of the cells of a sum of biases with noise."""
    rng = np.random.default_rng(seed)
    X = 3.0 + rng.normal(size=(n_rows, 1)) + np.linspace(-1, 1, n_cols)
    rows, cols = np.nonzero(rng.random(X.shape) < 0.35)
    values = X[rows, cols] + 0.3 * rng.normal(size=rows.size)
    return Pairings.from_arrays(first + rows, cols, values)


def fitted(pairings, **options):
    objective = Objective(regularizer=L2(0.5), **{"data": "targets"} | options)
    return FactorModel(objective, ALS(n_factors=2, rng=0, dtype="float64")).fit(pairings)


def test_errors_worked_out_by_hand():
    judged = evaluate(MODEL, SPLIT, ["rmse", " MAE "])
    assert judged.scores["model"] == {"rmse": pytest.approx((14 / 4) ** 0.5), "mae": 6 / 4}
    assert judged.row_ids.tolist() == [7, 8]
    np.testing.assert_allclose(judged.per_row["model"]["rmse"], [10 / 3, 4])
    np.testing.assert_allclose(judged.per_row["model"]["mae"], [4 / 3, 2])
    # Row 8 has no known column, and "new" is unknown: they count.
    assert judged.counts["model"] == Counts(2, 2, 0, 1, 4, 1, 1)
    # The mean of the training values is 3.
    assert judged.scores[MEAN] == {"rmse": pytest.approx((6 / 4) ** 0.5), "mae": 1.0}
    last = str(judged).splitlines()[-1]
    assert "1 pairs with unknown columns and 1 rows without a known column have" in last
    assert judged.interval("mae").mean == pytest.approx((4 / 3 + 2) / 2)
    assert judged.compare("mae", "model", MEAN).difference == pytest.approx(5 / 3 - 1)


def test_unknown_pairs_and_rows_can_be_left_out():
    judged = evaluate(MODEL, SPLIT, ["rmse", "mae"], unknown="leave-out")
    assert judged.scores["model"] == {"rmse": pytest.approx(0.5**0.5), "mae": 0.5}
    np.testing.assert_array_equal(judged.per_row["model"]["mae"], [0.5, np.nan])
    assert judged.counts["model"] == Counts(2, 1, 0, 1, 4, 1, 1)
    assert judged[MEAN, "mae"] == 1.5
    assert "1 rows without a known column are left out" in str(judged)
    with pytest.raises(InvalidInputError, match="no row is scored for 'model'"):
        evaluate(MODEL, PairSplit(*(part.take_rows([2]) for part in SPLIT)), ["mae"],
                 unknown="leave-out")  # fmt: skip


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("unknown", ["miss", "leave-out"])
@pytest.mark.parametrize("rows", ["fold-in", "trained"])
def test_errors_are_those_of_predict(rows, unknown, biases):
    train = ratings()
    new = ratings(1, n_cols=28, first=20)  # columns 25 to 27 are unknown
    new = new.take_rows(np.arange(30))  # rows 40 to 49 are unknown, if rows are trained ones
    split = split_pairs(new, fraction=0.3, rng=0)
    model = fitted(train, biases=biases)
    if rows == "trained":
        known_pair = np.isin(split.heldout.row_ids, train.row_ids)
        with pytest.warns(LeakWarning, match="'model', so that its errors are too small"):
            judged = evaluate(model, split, ["rmse", "mae"], rows=rows, unknown=unknown)
    else:
        known_pair = np.diff(split.seen.align(train).matrix.indptr) > 0
        judged = evaluate(model, split, ["rmse", "mae"], rows=rows, unknown=unknown)
    heldout = split.heldout
    predicted = model.predict(heldout, split.seen if rows == "fold-in" else None)
    R = heldout.matrix.tocoo()
    counted = known_pair[R.row] & np.isin(heldout.col_ids[R.col], train.col_ids)
    assert 0 < counted.sum() < counted.size
    if unknown == "miss":
        counted[:] = True
    assert judged["rmse"] == pytest.approx(rmse(predicted[counted], R.data[counted]))
    assert judged["mae"] == pytest.approx(mae(predicted[counted], R.data[counted]))
    is_mean = np.full(counted.sum(), train.matrix.data.mean())
    assert judged[MEAN, "rmse"] == pytest.approx(rmse(is_mean, R.data[counted]))
    errors = np.abs(predicted - R.data)
    of_row = [
        errors[counted & (R.row == row)].mean() if counted[R.row == row].any() else np.nan
        for row in np.flatnonzero(np.diff(heldout.matrix.indptr))
    ]
    np.testing.assert_allclose(judged.per_row["model"]["mae"], of_row)


def test_a_model_of_ratings_is_better_than_the_mean():
    split = split_pairs(ratings(), fraction=0.2, rng=0)
    judged = evaluate(fitted(split.train, biases=True), split, ["rmse"], rows="trained")
    assert judged["rmse"] < 0.6 * judged[MEAN, "rmse"]


@pytest.mark.parametrize(
    ("data", "targets"),
    [("ones", [1.0, 1.0]), ("weights", [1.0, 1.0]), ("targets", [2.0, -3.0]), ("signed", [1, 0])],
)
def test_targets_are_read_as_the_objective_reads_them(data, targets):
    train = Pairings.from_arrays([0, 0, 1], [0, 1, 1], [1.0, 2.0, 1.0])
    model = fitted(train, data=data)
    values = np.array([2.0, 3.0 if data == "weights" else -3.0])
    seen, heldout = Pairings.from_arrays([5], [0]), Pairings.from_arrays([5, 5], [1, 2], values)
    split = PairSplit(seen, heldout)
    predicted = model.predict(split.heldout, split.seen)
    assert evaluate(model, split, ["mae"])["mae"] == pytest.approx(mae(predicted, targets))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
def test_scores_are_over_pairs_and_values_of_rows_agree_with_them(lengths, seed):
    rng = np.random.default_rng(seed)
    lengths[0] += 1
    rows = np.repeat(np.arange(len(lengths)), lengths)
    cols = np.concatenate([np.arange(n) for n in lengths])
    heldout = Pairings.from_arrays(rows, cols, rng.normal(size=rows.size))
    seen = Pairings.from_arrays([], [], row_ids=heldout.row_ids)
    judged = evaluate(Table(heldout, {}), PairSplit(seen, heldout), ["rmse", "mae"], baseline=False)
    n = np.diff(heldout.matrix.indptr)
    squared, absolute = (judged.per_row["model"][name] for name in ("rmse", "mae"))
    assert judged["rmse"] ** 2 == pytest.approx(np.average(squared, weights=n))
    assert judged["mae"] == pytest.approx(np.average(absolute, weights=n))


def test_models_beside_each_other_have_the_same_targets():
    both = evaluate({"one": MODEL, "two": Table(TRAINED, {})}, SPLIT, ["mae"], baseline=False)
    assert both.scores == {"one": {"mae": 1.5}, "two": {"mae": 3.5}}
    with pytest.raises(InvalidInputError, match="'ones' as data=\"ones\", 'one' as data=\"targets"):
        evaluate({"ones": fitted(ratings(), data="ones"), "one": MODEL}, SPLIT, ["mae"])
    with pytest.raises(InvalidInputError, match="name of the baseline, 'mean value'"):
        evaluate({MEAN: MODEL}, SPLIT, ["mae"])


def test_errors_are_not_mixed_with_other_metrics():
    with pytest.raises(InvalidInputError, match=r'"mae" is .* "recall@20" .* in two calls'):
        evaluate(MODEL, SPLIT, ["recall", "mae"])
    with pytest.raises(InvalidInputError, match='write it without "@20"'):
        evaluate(MODEL, SPLIT, ["rmse@20"])


def test_models_without_predictions_are_refused():
    pairings = ratings()
    split = split_pairs(pairings, rng=0)
    for model in (Popularity().fit(split.seen), fitted(split.seen).solution):
        with pytest.raises(InvalidInputError, match="predicts no values: rmse and mae need"):
            evaluate(model, split, ["rmse"], rows="trained")


def test_pairs_that_are_given_warn():
    seen = Pairings.from_arrays([7], ["a"], [1.0])
    split = PairSplit(seen, Pairings.from_arrays([7, 7], ["a", "b"], [1.0, 2.0]))
    with pytest.warns(LeakWarning, match=r"1 held-out .* too small; leave them out of split.seen"):
        evaluate(MODEL, split, ["rmse"])
