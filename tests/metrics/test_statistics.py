import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from twofold.exceptions import InvalidInputError
from twofold.metrics.statistics import bootstrap_interval, holm, paired_test

VALUES = np.random.default_rng(0).exponential(size=40)


@pytest.mark.parametrize("method", ["percentile", "BCa"])
def test_the_bootstrap_is_that_of_scipy(method):
    expected = stats.bootstrap(
        (VALUES,), np.mean, method=method, n_resamples=20_000, vectorized=True
    ).confidence_interval
    found = bootstrap_interval(VALUES, method=method.lower(), n_resamples=20_000)
    assert found.mean == VALUES.mean()
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.03 * width)
    assert found.high == pytest.approx(expected.high, abs=0.03 * width)
    # Values are skewed: the two methods differ by more than the tolerance.
    percentile = bootstrap_interval(VALUES, method="percentile", n_resamples=20_000)
    bca = bootstrap_interval(VALUES, method="bca", n_resamples=20_000)
    assert bca.high - percentile.high > 0.03 * width


def test_intervals_cover_the_mean_as_often_as_their_level_says():
    rng = np.random.default_rng(1)
    found = [
        bootstrap_interval(rng.normal(size=50), level=0.8, n_resamples=400) for _ in range(200)
    ]
    share = np.mean([low < 0 < high for _, low, high in found])
    assert 0.7 < share < 0.9


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_rows_without_a_value_are_left_out(method):
    padded = np.insert(VALUES, [0, 5, 40], np.nan)
    found = bootstrap_interval(padded, method=method)
    assert found == bootstrap_interval(VALUES, method=method)


def test_a_seed_gives_the_same_bits():
    assert bootstrap_interval(VALUES, rng=3) == bootstrap_interval(VALUES, rng=3)
    assert bootstrap_interval(VALUES, rng=3) != bootstrap_interval(VALUES, rng=4)
    noise = np.random.default_rng(2).normal(size=40)
    first = paired_test(VALUES, VALUES + noise, rng=3)
    assert first == paired_test(VALUES, VALUES + noise, rng=3)
    assert first != paired_test(VALUES, VALUES + noise, rng=4)


def test_equal_values_have_an_interval_of_width_0():
    assert bootstrap_interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)


def test_randomization_has_the_p_value_of_all_flips():
    differences = np.array([0.5, -0.25, 1.0, 0.75, -0.1, 0.3, 0.9, 0.2])
    signs = np.array(np.meshgrid(*[[1, -1]] * 8)).reshape(8, -1)
    exact = np.mean(np.abs(differences @ signs) >= differences.sum() - 1e-12)
    found = paired_test(differences, np.zeros(8), n_resamples=50_000)
    assert found.p_value == pytest.approx(exact, abs=0.005)
    assert found.statistic == found.difference == pytest.approx(differences.mean())


@pytest.mark.parametrize(("test", "reference"), [("t", "ttest_rel"), ("wilcoxon", "wilcoxon")])
def test_t_and_wilcoxon_are_those_of_scipy(test, reference):
    other = VALUES + np.random.default_rng(3).normal(0.2, 1, 40)
    expected = getattr(stats, reference)(VALUES, other)
    found = paired_test(VALUES, other, test=test)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.n_rows == 40


@pytest.mark.parametrize("test", ["randomization", "t", "wilcoxon"])
def test_rows_are_left_out_in_pairs(test):
    first, second = VALUES[:20], VALUES[20:]
    padded = [np.append(first, [np.nan, 1.0]), np.append(second, [1.0, np.nan])]
    found = paired_test(*padded, test=test)
    assert found == paired_test(first, second, test=test)
    assert found.n_rows == 20
    back = paired_test(*padded[::-1], test=test)
    assert back.p_value == pytest.approx(found.p_value, abs=1e-12)
    assert back.difference == pytest.approx(-found.difference)


@pytest.mark.parametrize("test", ["randomization", "t", "wilcoxon"])
def test_equal_models_do_not_differ(test):
    assert paired_test(VALUES, VALUES, test=test) == (0.0, 0.0, 1.0, 40)


def test_a_constant_difference_is_certain_for_t():
    found = paired_test([1.0, 2.0, 3.0], [0.5, 1.5, 2.5], test="t")
    assert (found.statistic, found.p_value) == (np.inf, 0.0)


def test_randomization_of_models_without_difference_has_uniform_p_values():
    rng = np.random.default_rng(5)
    p = [
        paired_test(rng.normal(size=30), rng.normal(size=30), n_resamples=199).p_value
        for _ in range(300)
    ]
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_holm_by_hand():
    # Ordered 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, then not below the one before.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).size == 0


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_sequential_procedure_rejects(p):
    adjusted, level = holm(p), 0.05
    rejected = set()
    for step, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if (len(p) - step) * p[i] > level:
            break
        rejected.add(i)
    assert {i for i, value in enumerate(adjusted) if value <= level} == rejected
    assert (adjusted >= p).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_interval([1.0, np.nan]), "values has 1 rows with a value"),
        (lambda: bootstrap_interval([[1.0, 2.0]]), "values has 2 dimensions"),
        (lambda: bootstrap_interval([1.0, np.inf]), "infinite value"),
        (lambda: bootstrap_interval([1.0, 2.0], level=1.0), "level is 1.0"),
        (lambda: bootstrap_interval([1.0, 2.0], method="t"), "method is 't'"),
        (lambda: paired_test([1.0], [1.0, 2.0]), "first has 1 rows but second has 2"),
        (lambda: paired_test([np.nan, 1.0], [1.0, np.nan]), "have 0 rows with a value"),
        (lambda: paired_test([1.0, 2.0], [1.0, 2.0], test="sign"), "test is 'sign'"),
        (lambda: paired_test([1.0, 2.0], [1.0, 2.0], n_resamples=0), "n_resamples is 0"),
        (lambda: holm([0.5, 1.5]), "not from 0 to 1"),
        (lambda: holm([np.nan]), "not from 0 to 1"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()
