"""`evaluate`: what is counted, by which protocol, and how results are read."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import sparse

from twofold import FactorModel, Pairings, evaluate, metrics, split_pairs, split_rows
from twofold.evaluation import POPULAR, Counts
from twofold.exceptions import InvalidInputError, LeakWarning, UnknownIdError
from twofold.model import Popularity, Ranking
from twofold.solvers import ALS
from twofold.splits import PairSplit


class Fixed:
    """A recommender with given lists of column ids."""

    def __init__(self, pairings, lists):
        self.pairings, self.lists = pairings, lists

    def recommend(self, rows, n=10, *, exclude_known=True):
        ids = rows.row_ids if isinstance(rows, Pairings) else np.asarray(rows)
        positions = np.full((ids.size, n), -1)
        for line, row in zip(positions, ids.tolist(), strict=True):
            found = self.pairings.col_index(self.lists.get(row, []))[:n]
            line[: found.size] = found
        return Ranking.of(ids, self.pairings.col_ids, positions, np.where(positions < 0, np.nan, 1))


TRAINED = Pairings.from_arrays([1, 1, 2, 2, 3], ["a", "b", "b", "c", "d"])
SPLIT = PairSplit(
    Pairings.from_arrays([7, 8, 9], ["a", "a", "zz"], row_ids=[5, 6, 7, 8, 9]),
    Pairings.from_arrays(
        [7, 7, 8, 8, 9], ["b", "new", "new", "newer", "a"], row_ids=[5, 6, 7, 8, 9]
    ),
)
MODEL = Fixed(TRAINED, {7: ["b", "c"], 8: ["c", "b"]})


def test_unknown_columns_and_rows_are_misses():
    judged = evaluate(MODEL, SPLIT, ["recall@2", "precision@2", "r-precision"], baseline=False)
    assert judged.row_ids.tolist() == [7, 8, 9]  # 5 and 6 have nothing to find
    assert judged.per_row["model"]["recall@2"].tolist() == [0.5, 0.0, 0.0]
    assert judged["recall@2"] == pytest.approx(0.5 / 3)
    assert judged["precision@2"] == pytest.approx(0.5 / 3)
    assert judged["r-precision"] == pytest.approx(0.5 / 3)
    assert judged.counts["model"] == Counts(3, 3, 1, 1, 5, 3, 2)


def test_unknown_columns_and_rows_can_be_left_out():
    judged = evaluate(MODEL, SPLIT, ["recall@2"], unknown="leave-out", baseline=False)
    # Of row 7 only "b" is known; row 8 has no known column to find, row 9 no answer.
    np.testing.assert_array_equal(judged.per_row["model"]["recall@2"], [1.0, np.nan, np.nan])
    assert judged["recall@2"] == 1.0
    assert judged.counts["model"] == Counts(3, 1, 1, 1, 5, 3, 2)
    assert "left out" in str(judged)


def test_models_beside_each_other_and_the_baseline():
    judged = evaluate({"one": MODEL, "two": Fixed(TRAINED, {9: ["a"]})}, SPLIT, k=1)
    assert list(judged.scores) == ["one", "two", POPULAR]
    assert list(judged.scores["one"]) == ["recall@1", "ndcg@1", "precision@1", "hit-rate@1"]
    assert judged["two", "recall@1"] == pytest.approx(1 / 3)
    assert judged[POPULAR, "hit-rate@1"] == pytest.approx(1 / 3)  # "b" for row 7
    assert judged.counts[POPULAR].n_unanswered_rows == 0
    table = str(judged).splitlines()
    assert table[0].split() == ["recall@1", "ndcg@1", "precision@1", "hit-rate@1"]
    assert table[3].startswith("most popular")
    assert "3 of 3 rows scored" in table[4]
    test = judged.compare("recall@1", "one", "two")
    assert test.difference == pytest.approx(0.5 / 3 - 1 / 3)
    interval = judged.interval("recall@1", "two")
    assert interval.low <= interval.mean == pytest.approx(1 / 3)
    assert interval.high >= interval.mean


@pytest.mark.parametrize("backend", ["pandas", "polars", "pyarrow"])
def test_frames(backend):
    frame = evaluate(MODEL, SPLIT, ["recall@2"]).to_frame(backend)
    names = frame.column_names if backend == "pyarrow" else list(frame.columns)
    assert names[:3] == ["model", "recall@2", "n_rows"]
    assert len(frame) == 2


def test_batches_do_not_change_anything(playlists, monkeypatch):
    parts = split_rows(playlists.pairings, validation=0.0, test=0.3, rng=0)
    split = split_pairs(parts.test, rng=0)
    model = FactorModel(solver=ALS(n_factors=4, max_epochs=3, rng=0)).fit(parts.train)
    names = ["recall@5", "map@5", "coverage@5", "novelty@5", "gini@5", "r-precision"]
    whole = evaluate(model, split, names)
    monkeypatch.setattr("twofold.evaluation.recommendations._PLACES", 40)
    assert evaluate(model, split, names).scores == whole.scores


def test_a_row_with_many_held_out_pairs_does_not_lengthen_all_lists(monkeypatch):
    seen = Pairings.from_arrays([1, 2, 3], ["a", "a", "a"])
    heldout = Pairings.from_arrays([1, 2, 2, 2, 3], ["b", "b", "c", "d", "c"])
    lengths = {}

    class Noted(Fixed):
        def recommend(self, rows, n=10, *, exclude_known=True):
            lengths.update(dict.fromkeys(rows.row_ids.tolist(), n))
            return super().recommend(rows, n)

    monkeypatch.setattr("twofold.evaluation.recommendations._PLACES", 4)
    model = Noted(TRAINED, {1: ["b"], 2: ["d", "c", "a"], 3: ["b"]})
    judged = evaluate(model, PairSplit(seen, heldout), ["r-precision"], baseline=False)
    assert lengths == {1: 1, 2: 3, 3: 1}
    want = [1, 2 / 3, 0]  # in the order of the rows
    np.testing.assert_allclose(judged.per_row["model"]["r-precision"], want)


def test_trained_rows_and_solutions(playlists):
    split = split_pairs(playlists.pairings, rng=0)
    model = FactorModel(solver=ALS(n_factors=4, max_epochs=3, rng=0)).fit(split.seen)
    solution = replace(model.solution, row_factors=model.row_factors)
    judged = evaluate({"model": model, "solution": solution}, split, rows="trained")
    assert judged.scores["model"] == judged.scores["solution"]
    ranking = model.recommend(split.seen.row_ids, 20)
    want = metrics.recall_at_k(ranking.positions, split.heldout.matrix, 20)
    assert judged["recall@20"] == pytest.approx(want)
    with pytest.raises(InvalidInputError, match='rows="trained"'):
        evaluate(model.solution, split)
    with pytest.raises(InvalidInputError, match="belongs to the pairs"):
        evaluate(model.solution, SPLIT, rows="trained")
    other = (Pairings(part.matrix, part.row_ids + 1000, part.col_ids) for part in split)
    with pytest.raises(UnknownIdError):
        evaluate(model, PairSplit(*other), rows="trained")


@given(st.integers(0, 2**32 - 1), st.sampled_from(["miss", "leave-out"]), st.booleans())
def test_scores_are_those_of_a_loop_over_ids(seed, unknown, by_id):
    """Models with other columns, in another order, than the split."""
    rng = np.random.default_rng(seed)
    rows, cols = rng.permutation(100)[:6], rng.permutation(50)[:8]
    cells = rng.random((6, 8))
    parts = [
        Pairings(sparse.csr_array((low <= cells) & (cells < low + 0.3)), rows, cols)
        for low in (0.0, 0.3)
    ]
    seen, wanted = (
        {row: set(part.col_ids[part.matrix[[i]].indices].tolist()) for i, row in enumerate(rows)}
        for part in parts
    )
    own = rng.permutation(np.concatenate([cols[:6], [60, 61]]))
    order = rng.permutation(6)
    given_rows = [[float(col in seen[row]) for col in own] for row in rows[order]]
    trained = Pairings(sparse.csr_array(np.array(given_rows)), rows[order], own)
    lists = {row: [c for c in own.tolist() if c not in seen[row]][:3] for row in rows.tolist()}
    want = {}
    for row in rows[[bool(wanted[row]) for row in rows]].tolist():
        H = wanted[row] if unknown == "miss" else wanted[row] & set(own.tolist())
        is_out = unknown != "miss" and not seen[row] & set(own.tolist())
        want[row] = np.nan if is_out or not H else len(H & set(lists[row])) / len(H)
    assume(not np.isnan([*want.values()]).all())
    judged = evaluate(
        {"first": Fixed(trained, lists), "other": Fixed(trained, {})}, PairSplit(*parts),
        ["recall@3", "r-precision"], rows="trained" if by_id else "fold-in", unknown=unknown,
        baseline=False,
    )  # fmt: skip
    assert judged.row_ids.tolist() == [*want]
    np.testing.assert_allclose(judged.per_row["first"]["recall@3"], [*want.values()])
    assert judged["recall@3"] == pytest.approx(np.nanmean([*want.values()]))
    np.testing.assert_array_equal(
        np.isnan(judged.per_row["other"]["r-precision"]), np.isnan([*want.values()])
    )


def test_what_a_metric_needs_is_given():
    artists = metrics.get("mpd-r-precision").given(artists=["x", "y", "y", "z"])
    judged = evaluate(MODEL, SPLIT, [artists, "novelty@1"], baseline=False)
    assert judged["mpd-r-precision"] > 0
    assert judged["novelty@1"] > 0
    assert "mpd-r-precision" in judged.per_row["model"]
    assert "novelty@1" not in judged.per_row["model"]


def test_names_of_metrics_may_have_spaces_around():
    assert list(evaluate(MODEL, SPLIT, [" Recall "], k=2).scores["model"]) == ["recall@2"]


def test_wrong_arguments():
    with pytest.raises(InvalidInputError, match='did you mean "recall"'):
        evaluate(MODEL, SPLIT, ["recal"])
    with pytest.raises(InvalidInputError, match="at least one, such as"):
        evaluate(MODEL, SPLIT, [])
    with pytest.raises(InvalidInputError, match="metrics is 'recall@20': give a list"):
        evaluate(MODEL, SPLIT, "recall@20")
    with pytest.raises(InvalidInputError, match="models are"):
        evaluate({}, SPLIT)
    with pytest.raises(InvalidInputError, match="name of the baseline"):
        evaluate({POPULAR: MODEL}, SPLIT)
    for no_split in (SPLIT.seen, (SPLIT.seen, SPLIT.seen, SPLIT.seen), (1, 2)):
        with pytest.raises(InvalidInputError, match="give a PairSplit"):
            evaluate(MODEL, no_split)
    with pytest.raises(InvalidInputError, match="unknown is"):
        evaluate(MODEL, SPLIT, unknown="drop")
    seen, heldout = SPLIT
    with pytest.raises(InvalidInputError, match="different rows"):
        evaluate(MODEL, PairSplit(seen, heldout.take_rows([2, 3])))
    with pytest.raises(InvalidInputError, match="no row has a held-out pair"):
        evaluate(MODEL, PairSplit(seen, Pairings.from_arrays([], [], row_ids=seen.row_ids)))
    numbers = Pairings.from_arrays([7], [1])
    with pytest.raises(InvalidInputError, match="integers"):
        evaluate(MODEL, PairSplit(numbers, numbers))
    with pytest.raises(InvalidInputError, match="there is no score"):
        evaluate(MODEL, SPLIT, ["recall@2"])["recall@3"]
    with pytest.raises(InvalidInputError, match="values of 'coverage@2'"):
        evaluate(MODEL, SPLIT, ["coverage@2"]).interval("coverage@2")


def test_rows_without_a_known_column_are_left_out_for_every_model():
    seen = Pairings.from_arrays([1, 2, 3], ["a", "zz", "b"])
    split = PairSplit(seen, Pairings.from_arrays([1, 2, 3], ["b", "b", "c"]))
    model = Fixed(TRAINED, {1: ["b"]})  # declines to answer row 3, whose column it knows
    judged = evaluate(model, split, ["recall@1"], unknown="leave-out")
    np.testing.assert_array_equal(judged.per_row["model"]["recall@1"], [1, np.nan, 0])
    # Popularity recommends "b" to row 2, too, but is judged on the same rows.
    np.testing.assert_array_equal(judged.per_row[POPULAR]["recall@1"], [1, np.nan, 0])
    assert judged.counts["model"] == Counts(3, 2, 2, 1, 3, 0, 0)
    assert "1 rows without a known column are left out" in str(judged)
    assert "2 rows without a recommendation are misses" in str(evaluate(model, split, k=1))
    with pytest.raises(InvalidInputError, match="no row is scored for 'model'"):
        evaluate(model, PairSplit(*(part.take_rows([1]) for part in split)), unknown="leave-out")


def test_a_pair_stored_twice_is_one_pair_to_find():
    def twice(row):
        matrix = sparse.csr_array((np.ones(3), [1, 1, 2], [0, 3]), shape=(1, 3))
        return Pairings(matrix, [row], ["a", "b", "c"])

    seen = Pairings.from_arrays([7], ["a"])
    judged = evaluate(Fixed(twice(0), {7: ["b", "c"]}), PairSplit(seen, twice(7)),
                      ["recall@2", "novelty@2"], baseline=False)  # fmt: skip
    assert judged["recall@2"] == 1.0
    assert judged["novelty@2"] == 0.0  # the only training row has both
    assert judged.counts["model"].n_heldout_pairs == 2


def test_heldout_pairs_that_are_given_warn():
    seen = Pairings.from_arrays([1, 1, 2], ["a", "b", "b"])
    heldout = Pairings.from_arrays([1, 2, 2], ["b", "c", "d"])
    model = Popularity().fit(TRAINED)
    with pytest.warns(LeakWarning, match=r"1 held-out pairs .* 'model'.* split\.seen") as caught:
        evaluate(model, PairSplit(seen, heldout))
    assert [warning.filename for warning in caught] == [__file__]  # once, not for the baseline
    with pytest.warns(LeakWarning, match="2 held-out pairs .* of the training pairs"):
        evaluate(model, PairSplit(seen, heldout), rows="trained", baseline=False)


def test_a_solution_recommends_nothing_to_rows_without_pairs_as_its_model():
    seen = Pairings.from_arrays([1, 1, 2], ["a", "b", "c"], row_ids=[1, 2, 3])
    split = PairSplit(seen, Pairings.from_arrays([3, 3, 3], ["a", "b", "c"], row_ids=[1, 2, 3]))
    model = FactorModel(solver=ALS(n_factors=2, max_epochs=1, rng=0)).fit(seen)
    models = {"model": model, "solution": model.solution}
    judged = evaluate(models, split, ["recall@1"], rows="trained", baseline=False)
    assert judged.scores["model"] == judged.scores["solution"] == {"recall@1": 0.0}
    assert judged.counts["solution"].n_unanswered_rows == 1


def test_popularity_is_a_recommender():
    judged = evaluate(Popularity().fit(TRAINED), SPLIT, ["recall@2"])
    assert judged["recall@2"] == judged[POPULAR, "recall@2"]
