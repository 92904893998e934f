"""Arguments of requests."""

import pytest

from twofold import FactorModel, Pairings
from twofold.exceptions import InvalidInputError
from twofold.model import Popularity
from twofold.model.checks import check_n
from twofold.solvers import ALS

PAIRINGS = Pairings.from_arrays(["a", "a", "b", "b"], [1, 2, 2, 3])


@pytest.fixture(scope="module")
def model():
    return FactorModel(solver=ALS(n_factors=2, rng=0)).fit(PAIRINGS)


REQUESTS = {
    "recommend": lambda model, n: model.recommend(["a"], n),
    "recommend of new rows": lambda model, n: model.recommend(PAIRINGS, n, fallback="popular"),
    "recommend_new": lambda model, n: model.recommend_new([1], n),
    "recommend_rows": lambda model, n: model.recommend_rows([1], n),
    "similar_cols": lambda model, n: model.similar_cols([1], n),
    "similar_rows": lambda model, n: model.similar_rows(["a"], n),
    "popularity": lambda _, n: Popularity().fit(PAIRINGS).recommend(["a"], n),
}


@pytest.mark.parametrize("request_for", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("n", [10**12, 10**30, 0, 2.0, "3", None, True])
def test_an_n_that_is_no_length_of_a_list_is_refused(model, request_for, n):
    with pytest.raises(InvalidInputError, match=rf"^n is {n!r}"):
        request_for(model, n)


@pytest.mark.parametrize("request_for", REQUESTS.values(), ids=REQUESTS)
def test_lists_have_n_entries_though_there_are_fewer_columns(model, request_for):
    ranking = request_for(model, 7)
    assert ranking.positions.shape == ranking.scores.shape == ranking.mask.shape
    assert ranking.positions.shape[1] == 7


def test_all_columns_can_be_ranked_and_short_lists_padded():
    check_n(200_000, 200_000)
    check_n(100_000, 5)
    with pytest.raises(InvalidInputError, match=r"the model has 5 rows: give n=5 for all"):
        check_n(100_001, 5, "row")


def test_the_terms_of_a_prediction_are_at_most_those_that_there_are(model):
    assert len(model.explain("a", 3, n=10**12)) == 2
