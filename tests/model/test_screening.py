"""Rankings of a few rows by bounds in 8 bits: the bits are those without a screen."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from twofold import FactorModel, Pairings
from twofold._kernels.vectors.scores import STRIP
from twofold.model import ranking, screening
from twofold.model.ranking import Rules, best_columns, scores_of_pairs
from twofold.model.screening import prepare_screen, screen_pays
from twofold.solvers import ALS

KINDS = ["normal", "ties", "one long", "tiny", "zeros", "subnormal", "huge", "not finite"]
DTYPES = st.sampled_from([np.float32, np.float64])


def factors(rng, n, k, kind, dtype):
    """Return n vectors, some of which are difficult for bounds or for float32."""
    Q = rng.normal(size=(n, k)) * rng.lognormal(size=(n, 1))
    some = rng.random(n) < 0.2
    if kind == "ties":
        Q = rng.integers(-1, 2, (n, k)).astype(float)
    elif kind == "one long":
        Q[rng.integers(n)] *= 1e6
    elif kind in ("tiny", "subnormal"):
        Q *= 1e-37 if kind == "tiny" else 1e-43
    elif kind == "zeros":
        Q[some] = 0.0
        Q[:, rng.random(k) < 0.5] = 0.0
    elif kind == "huge":
        Q[some] *= 1e37
    elif kind == "not finite":
        Q[some, rng.integers(k)] = rng.choice([np.nan, np.inf, -np.inf])
    with np.errstate(over="ignore", under="ignore"):
        return Q.astype(dtype)


def bits(found):
    return [part.tobytes() for part in found]


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 130),
    n_cols=st.sampled_from([1, 7, 24, 25, 300, 1000]),
    n=st.sampled_from([1, 3, 10, 60, 400]),
    of_rows=st.sampled_from(KINDS),
    of_cols=st.sampled_from(KINDS),
    dtype=DTYPES,
    rule=st.sampled_from([None, "blocked", "blocked for each row", "allowed"]),
)
def test_the_bits_are_those_without_a_screen(seed, k, n_cols, n, of_rows, of_cols, dtype, rule):
    rng = np.random.default_rng(seed)
    P, Q = factors(rng, 4, k, of_rows, dtype), factors(rng, n_cols, k, of_cols, dtype)
    rules, pairs = Rules(), sparse.csr_array(rng.random((4, n_cols)) < 0.3)
    if rule in ("blocked", "allowed"):
        rules = Rules(**{rule: np.flatnonzero(rng.random(n_cols) < 0.5)})
    elif rule is not None:
        rules = Rules(blocked=sparse.csr_array(rng.random((4, n_cols)) < 0.3))
    excluded = pairs if rng.random() < 0.7 else None
    unranked = np.array([False, True, False, False])
    options = {"rules": rules, "unranked": unranked}
    expected = best_columns(P, Q, n, excluded, **options)
    screen = prepare_screen(Q)
    for n_threads in (1, 2):
        options |= {"screen": screen, "n_threads": n_threads}
        assert bits(best_columns(P, Q, n, excluded, **options)) == bits(expected)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    k=st.sampled_from([1, 2, 3, 8, 64, 129, 600, 5000]),
    of_rows=st.sampled_from(KINDS[:-1]),
    of_cols=st.sampled_from(KINDS[:-2]),
    dtype=DTYPES,
)
def test_scores_are_within_their_bounds(seed, k, of_rows, of_cols, dtype):
    """The inequality of `twofold._kernels.screen`, in float64."""
    rng = np.random.default_rng(seed)
    P, Q = factors(rng, 1, k, of_rows, dtype), factors(rng, 50, k, of_cols, dtype)
    screen, p = prepare_screen(Q), P[0].astype(np.float64)
    length, largest = np.linalg.norm(p), min(32767, (2**31 - 1) // (127 * k))
    if not 0.0 < length < 1e30:
        return
    unit = abs(p).max() / largest
    y = np.rint(p / unit)
    pairs = screen.codes.reshape(len(screen.codes), -1, STRIP, 2).transpose(0, 2, 1, 3)
    z = pairs.reshape(len(screen.codes) * STRIP, -1)[:50, :k].astype(np.float64)
    steps, radii = (a.ravel()[:50].astype(np.float64) for a in (screen.steps, screen.radii))
    assert abs(z @ y).max() < 2**31
    scores = scores_of_pairs(P, Q, np.zeros(50, np.int64), np.arange(50)).astype(np.float64)
    margin = 2.0**-148 * (1 + k / min(length, 1.0))
    assert (abs(scores / length - unit / length * steps * (z @ y)) < radii + margin).all()
    errors = np.linalg.norm(Q - steps[:, np.newaxis] * z, axis=1)
    assert (radii >= errors).all()
    lengths = np.linalg.norm(Q.astype(np.float64), axis=1)
    assert (radii <= 1.02 * errors + (0.01 + np.sqrt(k) / largest) * lengths + 1e-44).all()


def test_scores_that_overflow_are_equal():
    """Infinite scores are ranked by position, however large the products are."""
    rng = np.random.default_rng(0)
    P, Q = (rng.normal(size=(n, 8)).astype(np.float32) * np.float32(1e19) for n in (3, 1000))
    expected = best_columns(P, Q, 5)
    assert np.isinf(expected[1]).all()
    assert bits(best_columns(P, Q, 5, screen=prepare_screen(Q))) == bits(expected)


def test_few_columns_are_scored(monkeypatch):
    """About as many as there are recommendations, whatever the order of the columns."""
    n_scored = []

    def record(kernel, n_tasks, n_threads, *arguments):
        run(kernel, n_tasks, n_threads, *arguments)
        n_scored.append(arguments[-1].tolist())

    run, rng = ranking.run, np.random.default_rng(0)
    P, Q = (rng.normal(size=(n, 64)).astype(np.float32) for n in (1, 20_000))
    ascending = np.argsort(Q @ P[0])
    monkeypatch.setattr(ranking, "run", record)
    for order in (np.arange(len(Q)), ascending, ascending[::-1]):
        best_columns(P, Q[order], 10, screen=prepare_screen(Q[order]))
    assert n_scored[0] == n_scored[1] == n_scored[2]
    assert 10 <= n_scored[0][0] <= 30


def test_a_screen_does_not_depend_on_the_threads():
    Q = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    one, two = (prepare_screen(Q, n_threads) for n_threads in (1, 2))
    for part, other in zip(one, two, strict=True):
        np.testing.assert_array_equal(part, other)


def test_when_a_screen_pays():
    Q = np.empty((1 << 14, 16), np.float32)
    assert screen_pays(1, 10, Q)
    assert not screen_pays(0, 10, Q)
    assert not screen_pays(1, 10, Q[:-1])
    assert not screen_pays(1, 2000, Q)
    assert screen_pays(4, 10, Q, 1)
    assert not screen_pays(5, 10, Q, 1)


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    pairings = Pairings.from_arrays(rng.integers(0, 300, 6000), rng.integers(0, 400, 6000))
    return FactorModel(solver=ALS(n_factors=8, max_epochs=2, rng=0)).fit(pairings)


def test_requests_of_a_model(model, monkeypatch):
    new = model.col_ids[[3, 5, 8]]
    expected = model.recommend_new(new), model.recommend([5, 9])
    assert "screen" not in vars(model._fitted)
    monkeypatch.setattr(screening, "_MIN_BYTES", 0)
    model.recommend_new(new, candidates=new)
    assert "screen" not in vars(model._fitted)
    found = model.recommend_new(new), model.recommend([5, 9])
    assert "screen" in vars(model._fitted)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.scores, other.scores)
    assert "screen" not in vars(pickle.loads(pickle.dumps(model))._fitted)
