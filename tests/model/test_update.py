"""`FactorModel.partial_fit`, and `fit` from another model: exactness, ids, objectives, errors."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from twofold import L2, FactorModel, HuberLoss, Objective, Pairings, fold_in
from twofold.data.united import united
from twofold.exceptions import InvalidInputError, NotFittedError
from twofold.objective import Balanced
from twofold.solvers import ALS, GD, SGD

WEIGHTED = Objective(regularizer=L2(0.5, exponent=0.5), unobserved_weight=0.1)
RATED = Objective(regularizer=L2(0.5, exponent=1.0), data="targets", biases=True)
OBJECTIVES = {
    "all cells": WEIGHTED,
    "missing cells": replace(WEIGHTED, unobserved="missing"),
    "biases": RATED,
    "biases, all cells": replace(WEIGHTED, biases=True),
    "nonnegative": replace(WEIGHTED, nonnegative=True),
}
EXACT = ALS(
    n_factors=4, max_epochs=3, rng=0, dtype="float64", row_solver="direct", acceleration=None
)


def parts(seed=0, as_text=False):
    """Return pairs of yesterday, pairs of today and all: known and new rows and columns."""
    rng = np.random.default_rng(seed)
    rows, cols = np.nonzero(rng.random((40, 30)) < 0.3)
    values, weights = rng.integers(1, 6, rows.size) * 1.0, rng.integers(1, 4, rows.size) * 1.0
    later = (rows >= 34) | (cols % 7 == 3) | (rng.random(rows.size) < 0.02)
    ids = np.array([f"id {number}" for number in range(40)]) if as_text else np.arange(40) * 5

    def of(chosen):
        return Pairings.from_arrays(
            ids[rows[chosen]], ids[cols[chosen]], values[chosen], weights=weights[chosen]
        )

    return of(~later), of(later), of(slice(None))


def fitted(objective, solver=EXACT, **options):
    return FactorModel(objective, solver).fit(parts(**options)[0])


def total(model, objective=None):
    pairings, solution = model.pairings, model.solution
    return (
        (objective or model.objective)
        .value(
            pairings.matrix, solution.row_factors, solution.col_factors, weights=pairings.weights
        )
        .total
    )


@pytest.mark.filterwarnings("ignore::twofold.exceptions.IgnoredValuesWarning")
@pytest.mark.parametrize("name", OBJECTIVES)
class TestLimits:
    def test_an_update_of_all_pairs_is_an_epoch(self, name):
        model = fitted(OBJECTIVES[name])
        old, solution = model.pairings, model.solution
        expected = replace(EXACT, max_epochs=2).solve(
            model.objective, old.matrix, (solution.row_factors, solution.col_factors),
            weights=old.weights,
        )  # fmt: skip
        got = model.partial_fit(old, max_epochs=2).solution
        np.testing.assert_allclose(got.row_factors, expected.row_factors, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(got.col_factors, expected.col_factors, rtol=1e-7, atol=1e-9)
        totals = [record.total for record in expected.history]
        np.testing.assert_allclose([record.total for record in got.history], totals)

    def test_new_rows_are_folded_in(self, name):
        model, new = fitted(OBJECTIVES[name]), parts()[1]
        rows = np.flatnonzero(new.row_ids >= 34 * 5)
        new = new.take_rows(rows).align(model.pairings)
        later = model.partial_fit(new, max_epochs=0)
        n = model.row_ids.size
        np.testing.assert_array_equal(later.row_ids[n:], new.row_ids)
        np.testing.assert_allclose(
            later.solution.row_factors[n:], model.fold_in(new).row_factors, rtol=1e-9
        )
        np.testing.assert_array_equal(later.solution.row_factors[:n], model.solution.row_factors)
        np.testing.assert_array_equal(later.col_factors, model.col_factors)

    def test_new_columns_are_solved_for_all_rows(self, name):
        model, new = fitted(OBJECTIVES[name]), parts()[1]
        later = model.partial_fit(new, max_epochs=0)
        n, pairings = model.col_ids.size, later.pairings
        by_col, weights = (
            sparse.csr_array((data, pairings.matrix.indices, pairings.matrix.indptr),
                             shape=pairings.shape).T.tocsr()[n:]
            for data in (pairings.matrix.data, pairings.weights)
        )  # fmt: skip
        P = later.solution.row_factors
        expected = fold_in(model.objective, by_col, P, weights=weights, axis="col")
        assert later.changes.n_new_cols == len(expected) > 0
        np.testing.assert_allclose(later.col_factors[n:], expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(later.col_factors[:n], model.col_factors)

    def test_no_epoch_increases_the_objective(self, name):
        model, new = fitted(OBJECTIVES[name]), parts()[1]
        later = model.partial_fit(new, max_epochs=3)
        totals = [record.total for record in later.solution.history]
        assert (np.diff(totals) < 0).all()
        assert total(later) == pytest.approx(totals[-1])
        assert later.objective == model.objective

    def test_values_and_weights_are_those_of_all_pairs(self, name):
        _, new, together = parts()
        later = fitted(OBJECTIVES[name]).partial_fit(new)
        assert later.pairings.n_pairs == together.n_pairs
        rows, cols = together.row_index(later.row_ids), together.col_index(later.col_ids)
        for got, expected in (
            (later.pairings.matrix.data, together.matrix.data),
            (later.pairings.weights, together.weights),
        ):
            dense = sparse.csr_array((expected, together.matrix.indices, together.matrix.indptr))
            own = sparse.csr_array(
                (got, later.pairings.matrix.indices, later.pairings.matrix.indptr)
            )
            np.testing.assert_array_equal(own.toarray(), dense.toarray()[np.ix_(rows, cols)])


@pytest.mark.filterwarnings("ignore::twofold.exceptions.IgnoredValuesWarning")
@pytest.mark.parametrize("as_text", [False, True])
def test_the_order_of_the_pairs_has_no_effect(as_text):
    model, (_, new, _) = fitted(WEIGHTED, as_text=as_text), parts(as_text=as_text)
    order = np.random.default_rng(1).permutation(new.shape[0])
    shuffled = new.take_rows(order).align(new.col_ids[::-1])
    one, other = model.partial_fit(new), model.partial_fit(shuffled)
    np.testing.assert_array_equal(one.row_ids, other.row_ids)
    np.testing.assert_array_equal(one.col_ids, other.col_ids)
    np.testing.assert_array_equal(one.solution.row_factors, other.solution.row_factors)
    np.testing.assert_array_equal(one.col_factors, other.col_factors)
    assert one.changes == other.changes


@pytest.mark.filterwarnings("ignore::twofold.exceptions.IgnoredValuesWarning")
def test_changes_are_counted():
    old, new, _ = parts()
    replaced = united(new, Pairings.from_arrays([0], [5], [3.0])).pairings
    assert (0, 5) in as_pairs(old)
    later = fitted(WEIGHTED).partial_fit(replaced)
    rows, cols = ({pair[axis] for pair in as_pairs(replaced)} for axis in (0, 1))
    known_rows, known_cols = set(old.row_ids.tolist()), set(old.col_ids.tolist())
    changes = later.changes
    assert changes.n_new_rows == len(rows - known_rows)
    assert changes.n_changed_rows == len(rows & known_rows)
    assert changes.n_new_cols == len(cols - known_cols)
    assert changes.n_changed_cols == len(cols & known_cols)
    assert (changes.n_new_pairs, changes.n_replaced_pairs) == (new.n_pairs, 1)
    assert fitted(WEIGHTED).changes is None


def as_pairs(pairings):
    rows = np.repeat(pairings.row_ids, np.diff(pairings.matrix.indptr)).tolist()
    return set(zip(rows, pairings.col_ids[pairings.matrix.indices].tolist(), strict=True))


@pytest.mark.filterwarnings("ignore::twofold.exceptions.IgnoredValuesWarning")
def test_rows_and_columns_without_new_pairs_stay():
    model = fitted(WEIGHTED)
    new = Pairings.from_arrays([0, 500], [0, 5])
    later = model.partial_fit(new, max_epochs=2)
    changed_rows, changed_cols = model.pairings.row_index([0]), model.pairings.col_index([0, 5])
    for name, changed in (("row_factors", changed_rows), ("col_factors", changed_cols)):
        before, after = (getattr(each.solution, name) for each in (model, later))
        is_same = (before == after[: len(before)]).all(axis=1)
        np.testing.assert_array_equal(np.flatnonzero(~is_same), changed)


@pytest.mark.filterwarnings("ignore::twofold.exceptions.IgnoredValuesWarning")
def test_the_model_itself_does_not_change(tmp_path):
    old, new, _ = parts()
    model = FactorModel(Balanced(), EXACT).fit(old)
    objective, P, Q = model.objective, model.solution.row_factors, model.col_factors
    copies = P.copy(), Q.copy()
    later = model.partial_fit(new)
    assert model.pairings is old
    assert model.objective is objective
    np.testing.assert_array_equal(model.solution.row_factors, copies[0])
    np.testing.assert_array_equal(model.col_factors, copies[1])
    # The rule of Balanced applies to the next fit; an update keeps the weights of the model, so
    # that one that was saved and loaded has the same result.
    assert later.objective == objective
    assert later.get_params()["objective"] == Balanced()
    model.save(tmp_path / "model.twofold")
    loaded = FactorModel.load(tmp_path / "model.twofold").partial_fit(new)
    np.testing.assert_array_equal(loaded.col_factors, later.col_factors)
    np.testing.assert_array_equal(loaded.row_factors, later.row_factors)
    later.save(tmp_path / "later.twofold")
    again = FactorModel.load(tmp_path / "later.twofold")
    np.testing.assert_array_equal(again.col_factors, later.col_factors)
    assert again.solution.history == later.solution.history


@pytest.mark.filterwarnings("ignore::twofold.exceptions.IgnoredValuesWarning")
def test_an_empty_update():
    model = fitted(WEIGHTED)
    later = model.partial_fit(Pairings.from_arrays([], []))
    np.testing.assert_array_equal(later.row_ids, model.row_ids)
    np.testing.assert_array_equal(later.solution.row_factors, model.solution.row_factors)
    np.testing.assert_array_equal(later.col_factors, model.col_factors)
    assert total(later) == total(model)


def test_rows_and_columns_with_pairs_only_with_each_other():
    model = fitted(RATED)
    later = model.partial_fit(Pairings.from_arrays([900], [901], [4.0]))
    free = later.objective.parts(later.solution.row_factors[-1:], later.col_factors[-1:])
    assert not free.row_factors.any()
    assert not free.col_factors.any()
    assert free.col_biases[0] > later.objective.mean  # by the part of 4 that the row leaves


@pytest.mark.parametrize(("objective", "solver"), [
    (Objective(loss=HuberLoss(1.0), regularizer=L2(1.0), data="targets"),
     GD(n_factors=4, max_epochs=20, rng=0, dtype="float64")),
    (Objective(regularizer=L2(1.0)), SGD(n_factors=4, max_epochs=5, rng=0)),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore::twofold.exceptions.IgnoredValuesWarning")
def test_other_losses_and_solvers(objective, solver):
    model = fitted(objective, solver)
    later = model.partial_fit(parts()[1], max_epochs=3)
    totals = [record.total for record in later.solution.history]
    assert (np.diff(totals) < 0).all()
    new = later.pairings.take_rows(np.arange(model.row_ids.size, later.row_ids.size))
    one = model.partial_fit(new.align(model.pairings), max_epochs=0)
    folded = model.fold_in(new).row_factors
    np.testing.assert_allclose(one.solution.row_factors[-len(folded) :], folded, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::twofold.exceptions.IgnoredValuesWarning")
class TestCenters:
    def model(self):
        old = parts()[0]
        centers = np.random.default_rng(0).standard_normal((old.shape[1], 4))
        ridge = L2(0.5, col_center=centers)
        return FactorModel(replace(WEIGHTED, regularizer=ridge), EXACT).fit(old)

    def test_of_known_columns_are_used(self):
        model = self.model()
        new = parts()[1].align(model.pairings)
        later = model.partial_fit(new, max_epochs=2)
        totals = [record.total for record in later.solution.history]
        assert (np.diff(totals) < 0).all()
        assert later.changes.n_new_rows

    def test_of_new_columns_are_missing(self):
        model = self.model()
        with pytest.raises(InvalidInputError, match="the objective has col_center, and the update"):
            model.partial_fit(parts()[1])

    def test_of_all_columns_for_a_fit_from_the_model(self):
        model, together = self.model(), parts()[2]
        centers = np.ones((together.shape[1], 4))
        wide = replace(WEIGHTED, regularizer=L2(0.5, col_center=centers))
        start = FactorModel(wide, replace(EXACT, max_epochs=0)).fit(together, init=model)
        at = together.col_index(model.col_ids)
        np.testing.assert_array_equal(start.col_factors[at], model.col_factors)


@pytest.mark.filterwarnings("ignore::twofold.exceptions.IgnoredValuesWarning")
class TestFitFromAModel:
    @pytest.mark.parametrize("as_text", [False, True])
    @pytest.mark.parametrize("name", OBJECTIVES)
    def test_factors_are_taken_by_id(self, name, as_text):
        model, together = fitted(OBJECTIVES[name], as_text=as_text), parts(as_text=as_text)[2]
        order = np.random.default_rng(1).permutation(together.shape[0])[5:]
        mixed = together.take_rows(order).align(together.col_ids[::-1])
        objective = model.objective
        solver = replace(EXACT, max_epochs=0)
        start = FactorModel(objective, solver).fit(mixed, init=model).solution
        rows, cols = (set(ids.tolist()) for ids in (model.row_ids, model.col_ids))
        is_known = np.array([row in rows for row in mixed.row_ids.tolist()])
        at = model.pairings.row_index(mixed.row_ids[is_known])
        np.testing.assert_array_equal(start.row_factors[is_known], model.solution.row_factors[at])
        is_known = np.array([col in cols for col in mixed.col_ids.tolist()])
        at = model.pairings.col_index(mixed.col_ids[is_known])
        np.testing.assert_array_equal(start.col_factors[is_known], model.col_factors[at])
        by_col, weights = (
            sparse.csr_array((data, mixed.matrix.indices, mixed.matrix.indptr),
                             shape=mixed.shape).T.tocsr()[~is_known]
            for data in (mixed.matrix.data, mixed.weights)
        )  # fmt: skip
        expected = fold_in(objective, by_col, start.row_factors, weights=weights, axis="col")
        np.testing.assert_allclose(start.col_factors[~is_known], expected, rtol=1e-9, atol=1e-12)

    def test_it_starts_near_the_minimum(self):
        model, together = fitted(WEIGHTED), parts()[2]
        solver = replace(EXACT, max_epochs=1, init="random")
        from_model = FactorModel(WEIGHTED, solver).fit(together, init=model).solution
        alone = FactorModel(WEIGHTED, solver).fit(together).solution
        assert from_model.history[0].total < 0.5 * alone.history[0].total
        assert from_model.objective_value < alone.objective_value

    def test_of_other_biases_or_rank(self):
        model, together = fitted(WEIGHTED), parts()[2]
        with pytest.raises(InvalidInputError, match="a model with biases=False"):
            FactorModel(RATED, EXACT).fit(together, init=model)
        with pytest.raises(InvalidInputError, match="rank 4, but n_factors is 5"):
            FactorModel(WEIGHTED, replace(EXACT, n_factors=5)).fit(together, init=model)


@pytest.mark.filterwarnings("ignore::twofold.exceptions.IgnoredValuesWarning")
def test_errors(tmp_path):
    model, new = fitted(WEIGHTED), parts()[1]
    with pytest.raises(NotFittedError):
        FactorModel().partial_fit(new)
    with pytest.raises(NotFittedError):
        FactorModel().fit(new, init=FactorModel())
    with pytest.raises(InvalidInputError, match="pairings is a csr_array"):
        model.partial_fit(new.matrix)
    with pytest.raises(InvalidInputError, match="max_epochs"):
        model.partial_fit(new, max_epochs=-1)
    with pytest.raises(InvalidInputError, match="row ids are strings"):
        model.partial_fit(parts(as_text=True)[1])
    model.save(tmp_path / "serving.twofold", serving=True)
    serving = FactorModel.load(tmp_path / "serving.twofold")
    for use in (serving.partial_fit, lambda new: FactorModel(WEIGHTED, EXACT).fit(new, serving)):
        with pytest.raises(InvalidInputError, match="serving=True"):
            use(new)
