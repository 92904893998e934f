"""Warnings of many requests are counted, not repeated."""

import pickle
import warnings
from dataclasses import dataclass

import pytest

from twofold import FactorModel, LogisticLoss, Objective, Pairings, Regularizer
from twofold.exceptions import ConvergenceWarning
from twofold.solvers import GD


@dataclass(frozen=True)
class Flat(Regularizer):
    """No penalty, so that separable rows have no best factors."""

    def value(self, x):
        return 0.0 * x

    def derivative(self, x):
        return 0.0 * x


def warned(call, n):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(n):
            call()
    assert {one.category for one in caught} <= {ConvergenceWarning}
    assert {one.filename for one in caught} <= {__file__}
    return [str(one.message) for one in caught]


@pytest.fixture
def model():
    pairings = Pairings.from_arrays([0, 0, 1, 1], [0, 1, 0, 1])
    solver = GD(n_factors=2, max_epochs=1, rng=0, learning_rate=1e-6)
    return FactorModel(Objective(LogisticLoss(), Flat()), solver).fit(pairings)


def test_a_model_warns_at_its_calls_1_10_100(model):
    first = warned(lambda: model.fold_in(model.pairings), 9)
    assert len(first) == 1
    assert first[0].startswith("row 0 and 1 others did not converge")
    new = Pairings.from_arrays([7], [1])
    (tenth,) = warned(lambda: model.recommend(new), 50)
    assert tenth.startswith("row 0 and 0 others did not converge")
    assert tenth.endswith("(this is call 10 of this model with such rows)")
    (hundredth,) = warned(lambda: model.predict(new, seen=new), 60)
    assert "call 100 of" in hundredth


def test_each_fit_and_each_copy_counts_anew(model):
    call = lambda each: warned(lambda: each.fold_in(each.pairings), 2)  # noqa: E731
    assert [len(call(model)), len(call(model))] == [1, 0]
    assert len(call(pickle.loads(pickle.dumps(model)))) == 1
    assert len(call(model.fit(model.pairings))) == 1
