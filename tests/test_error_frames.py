"""The commonest wrong inputs: a sentence below at most three frames of twofold."""

import traceback
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import twofold
from twofold import L2, FactorModel, Objective, Pairings, evaluate, fold_in, split_rows
from twofold.exceptions import TwofoldError
from twofold.solvers import ALS

PAIRINGS = Pairings.from_arrays(np.repeat(np.arange(20), 4), np.tile(np.arange(8), 10))
ROW = sparse.csr_array(np.ones((1, 3)))
PACKAGE = Path(twofold.__file__).parent
MAX_FRAMES = 3


@pytest.fixture(scope="module")
def model():
    return FactorModel(solver=ALS(n_factors=2, rng=0)).fit(PAIRINGS)


WRONG = {
    "n": (lambda m: m.recommend([0], 0), "n is 0"),
    "huge n": (lambda m: m.recommend_new([0], 10**12), "n is 1000000000000"),
    "row id": (lambda m: m.recommend([99]), "row id 99 is unknown"),
    "column id": (lambda m: m.similar_cols([99]), "column id 99 is unknown"),
    "kind of ids": (lambda m: m.recommend_new(["x"]), "column ids are strings such as 'x'"),
    "n_factors": (lambda _: FactorModel(solver=ALS(n_factors=0)).fit(PAIRINGS), "n_factors is 0"),
    "pairings of fit": (lambda m: m.fit(PAIRINGS.matrix), "pairings is a csr_array"),
    "pairings of fold_in": (lambda m: m.fold_in(PAIRINGS.matrix), "pairings is a csr_array"),
    "pairings of predict": (lambda m: m.predict([[0, 1]]), "pairings is a list"),
    "penalty": (lambda _: L2(-1.0), "the regularizer's weight is -1.0"),
    "metric": (
        lambda m: evaluate(m, split_rows(PAIRINGS, rng=0), ["recal@20"]),
        "there is no metric 'recal@20'",
    ),
    "unfitted": (lambda _: FactorModel().recommend([0]), "the model is not fitted"),
    "unfitted factors": (lambda _: FactorModel().row_factors, "the model is not fitted"),
    "data": (lambda _: Objective(data="rating"), "data is 'rating'"),
    "value": (lambda _: Pairings.from_arrays([0], [1], [np.nan]), "array 'values' holds nan"),
    "shape": (lambda _: fold_in(Objective(), ROW, np.ones((4, 2))), "the matrix has 3 cols"),
    "dense matrix": (
        lambda _: fold_in(Objective(), ROW.toarray(), np.ones((3, 2))), "matrix is a ndarray"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "sentence"), WRONG.values(), ids=WRONG)
def test_few_frames_are_above_the_sentence(model, wrong, sentence):
    with pytest.raises(TwofoldError) as caught:
        wrong(model)
    assert str(caught.value).startswith(sentence)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    frames = [
        frame.name
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(PACKAGE)
    ]
    assert 1 <= len(frames) <= MAX_FRAMES, frames
