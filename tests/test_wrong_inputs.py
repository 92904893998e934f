"""Arguments of wrong types: one sentence of an error of twofold, from every public call."""

import numpy as np
import pytest
from scipy import sparse

import twofold
from twofold import (
    FactorModel,
    Objective,
    Pairings,
    evaluate,
    fold_in,
    plot,
    split_challenge,
    split_rows,
)
from twofold.exceptions import InvalidInputError, TwofoldError
from twofold.model import Popularity
from twofold.solvers import ALS, GD, SGD

PAIRINGS = Pairings.from_arrays(np.repeat(np.arange(20), 4), np.tile(np.arange(8), 10))
SPLIT = split_rows(PAIRINGS, rng=0)
SOLVER = ALS(n_factors=2, max_epochs=1, rng=0)
OBJECTIVE = Objective()


@pytest.fixture(scope="module")
def model():
    return FactorModel(OBJECTIVE, SOLVER).fit(PAIRINGS)


@pytest.fixture
def folder(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model.save("model")
    PAIRINGS.save("pairings.npz")
    (tmp_path / "lines.txt").write_text("pid,tid\n1,2\n")


class Frame:
    """Has no truth value, as a data frame and a sparse matrix."""

    def __bool__(self):
        raise ValueError("the truth value is ambiguous")

    def __eq__(self, other):
        return self

    __hash__ = None


# By function and argument: a call, and the values that the argument can have.
CALLS = {
    "fit pairings": lambda m, x: FactorModel(OBJECTIVE, SOLVER).fit(x),
    "fit callback": lambda m, x: FactorModel(OBJECTIVE, SOLVER).fit(PAIRINGS, callback=x),
    "solve callback": lambda m, x: SOLVER.solve(OBJECTIVE, PAIRINGS.matrix, callback=x),
    "solve progress": lambda m, x: ALS(progress=x).solve(OBJECTIVE, PAIRINGS.matrix),
    "solve momentum": lambda m, x: GD(momentum=x).solve(OBJECTIVE, PAIRINGS.matrix),
    "fit on_interrupt": lambda m, x: FactorModel(OBJECTIVE, SOLVER).fit(PAIRINGS, on_interrupt=x),
    "fit objective": lambda m, x: FactorModel(x, SOLVER).fit(PAIRINGS),
    "fit solver": lambda m, x: FactorModel(OBJECTIVE, x).fit(PAIRINGS),
    "partial_fit": lambda m, x: m.partial_fit(x),
    "partial_fit epochs": lambda m, x: m.partial_fit(PAIRINGS, x),
    "fold_in": lambda m, x: m.fold_in(x),
    "predict": lambda m, x: m.predict(x),
    "value": lambda m, x: m.value(x),
    "recommend rows": lambda m, x: m.recommend(x),
    "recommend n": lambda m, x: m.recommend([1], x),
    "recommend exclude_known": lambda m, x: m.recommend([1], exclude_known=x),
    "recommend_new": lambda m, x: m.recommend_new(x, unknown="error"),
    "recommend_new unknown": lambda m, x: m.recommend_new([1], unknown=x),
    "recommend_new exclude_known": lambda m, x: m.recommend_new([1], exclude_known=x),
    "recommend_rows": lambda m, x: m.recommend_rows(x),
    "recommend_rows exclude_known": lambda m, x: m.recommend_rows([1], exclude_known=x),
    "score": lambda m, x: m.score(x, [1]),
    "similar_cols": lambda m, x: m.similar_cols(x),
    "similar_rows": lambda m, x: m.similar_rows(x),
    "explain row": lambda m, x: m.explain(x, 1),
    "explain column": lambda m, x: m.explain(1, x),
    "explain n": lambda m, x: m.explain(1, 1, x),
    "save": lambda m, x: m.save(x) if not isinstance(x, str) else m.save("none/" + x),
    "save serving": lambda m, x: m.save("m", serving=x),
    "from_solution solution": lambda m, x: m.from_solution(x, PAIRINGS, OBJECTIVE, SOLVER),
    "from_solution pairings": lambda m, x: m.from_solution(m.solution, x, OBJECTIVE, SOLVER),
    "from_solution objective": lambda m, x: m.from_solution(m.solution, PAIRINGS, x, SOLVER),
    "from_solution solver": lambda m, x: m.from_solution(m.solution, PAIRINGS, OBJECTIVE, x),
    "load": lambda m, x: m.load(x),
    "load classes": lambda m, x: m.load("model", classes=x),
    "load mmap": lambda m, x: m.load("model", mmap=x),
    "open mmap": lambda m, x: Pairings.open("pairings.npz", mmap=x),
    "to_frame": lambda m, x: m.recommend([1]).to_frame(x),
    "popularity": lambda m, x: Popularity().fit(x),
    "popularity rows": lambda m, x: Popularity().fit(PAIRINGS).recommend(x),
    "fold_in objective": lambda m, x: fold_in(x, PAIRINGS.matrix, m.col_factors),
    "fold_in matrix": lambda m, x: fold_in(OBJECTIVE, x, m.col_factors),
    "Objective data": lambda m, x: Objective(data=x),
    "evaluate metrics": lambda m, x: evaluate(m, SPLIT, x),
    "split_challenge tasks": lambda m, x: split_challenge(PAIRINGS, 2, tasks=x, order=None),
    "read_csv path": lambda m, x: twofold.io.read_csv(x),
    "read_csv encoding": lambda m, x: twofold.io.read_csv("lines.txt", encoding=x),
    "read_csv names": lambda m, x: twofold.io.read_csv("lines.txt", names=x),
    "read_csv duplicates": lambda m, x: twofold.io.read_csv("lines.txt", duplicates=x),
    "read_lists comment": lambda m, x: twofold.io.read_lists("none.txt", comment=x),
    "read_sql query": lambda m, x: twofold.io.read_sql("sqlite://", query=x),
    "plot convergence": lambda m, x: plot.convergence(x),
    "plot convergence ax": lambda m, x: plot.convergence(m.solution, x, gap=False),
    "plot grid": lambda m, x: plot.grid(x),
    "plot fold_in": lambda m, x: plot.fold_in(x),
    "plot col_map": lambda m, x: plot.col_map(x),
    "plot col_map n_labels": lambda m, x: plot.col_map(m, n_labels=x),
    "plot recommendations": lambda m, x: plot.recommendations(x),
    "plot recommendations row": lambda m, x: plot.recommendations(m.recommend([1]), x),
    "plot row_lengths": lambda m, x: plot.row_lengths(x),
    "plot popularity": lambda m, x: plot.popularity(x),
    "write_names": lambda m, x: twofold.io.write_names(x, "sqlite://"),
}
WRONG = {
    "text": "text",
    "dicts": [{"a": 1}],
    "negative": -1,
    "float": 2.5,
    "frame": Frame(),
    "object": object(),
    "array": np.ones((2, 2)),
    "matrix": sparse.csr_array(np.ones((2, 2), complex)),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_argument_of_a_wrong_type_is_refused_by_a_sentence(model, call, wrong):
    with pytest.raises(TwofoldError) as caught:
        call(model, wrong)
    assert len(str(caught.value)) > 15


NULL = "a\0b"
PATHS = {
    "save": lambda m: m.save(NULL),
    "load": lambda m: m.load(NULL),
    "Pairings.save": lambda m: PAIRINGS.save(NULL),
    "Pairings.open": lambda m: Pairings.open(NULL),
    "read_npz": lambda m: twofold.io.read_npz(NULL),
    "read_csv": lambda m: twofold.io.read_csv(NULL),
    "read_lists": lambda m: twofold.io.read_lists(NULL),
    "read_parquet": lambda m: twofold.io.read_parquet(NULL),
    "read_mtx": lambda m: twofold.io.read_mtx(NULL),
}


@pytest.mark.parametrize("call", PATHS.values(), ids=PATHS)
def test_a_path_with_a_null_character_is_refused(model, call):
    with pytest.raises(InvalidInputError, match="no file has a null character"):
        call(model)


def test_a_missing_parquet_file():
    with pytest.raises(InvalidInputError, match=r"cannot read 'none\.parquet': No such file"):
        twofold.io.read_parquet("none.parquet")


@pytest.mark.parametrize("n", [np.int8(100), np.uint8(200)])
def test_small_integers_of_numpy_are_numbers_of_columns(model, n):
    for ranking in (
        model.recommend([1], n),
        model.recommend_new([1], n),
        model.recommend_rows([1], n),
        model.similar_cols([1], n),
        model.similar_rows([1], n),
        Popularity().fit(PAIRINGS).recommend([1], n),
    ):
        assert ranking.positions.shape == (1, n)


@pytest.mark.parametrize("solver", [ALS, SGD, GD])
@pytest.mark.parametrize("n_factors", [np.int8(100), np.int16(300)])
def test_small_integers_of_numpy_are_numbers_of_factors(solver, n_factors):
    solution = solver(n_factors=n_factors, max_epochs=1, rng=0).solve(OBJECTIVE, PAIRINGS.matrix)
    assert solution.col_factors.shape == (8, n_factors)
