"""Rankings and folded rows as data frames."""

import numpy as np
import pytest

from twofold import FactorModel, Pairings
from twofold.exceptions import InvalidInputError
from twofold.solvers import ALS


@pytest.fixture
def model():
    pairings = Pairings.from_arrays(["a", "a", "b", "b"], [1, 2, 2, 3])
    return FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)


@pytest.mark.parametrize("backend", ["pandas", "polars"])
def test_a_ranking_has_a_line_for_each_recommendation_without_the_padding(model, backend):
    ranking = model.recommend(["b", "a"], n=2)
    frame = ranking.to_frame(backend)
    assert list(frame["row"]) == ["b", "a"]
    assert list(frame["rank"]) == [1, 1]
    assert list(frame["col"]) == [1, 3]
    np.testing.assert_array_equal(frame["score"], ranking.scores[:, 0])


def test_folded_rows_have_a_column_for_each_factor(model):
    folded = model.fold_in(Pairings.from_arrays(["c", "d"], [1, 9]))
    frame = folded.to_frame("pandas")
    assert list(frame.columns) == ["row", "factor_0", "factor_1"]
    np.testing.assert_array_equal(frame[["factor_0", "factor_1"]], folded.row_factors)


def test_an_unknown_library_is_named(model):
    with pytest.raises(InvalidInputError, match='"pandas", "polars", "pyarrow"'):
        model.recommend(["a"]).to_frame("spark")
