"""The objectives of docs/howto/migrate.md have the row equations of the packages."""

import re
from pathlib import Path

import numpy as np
import pytest

from twofold import L2, Objective, fold_in

PAGE = Path(__file__).parents[1] / "docs/howto/migrate.md"
BLOCK = re.search(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)[1]


@pytest.fixture(scope="module")
def page():
    names = {}
    exec(compile(BLOCK, str(PAGE), "exec"), names)
    names["R"] = names["R"].toarray()
    names["Q"] = np.random.default_rng(0).normal(size=(names["R"].shape[1], 2))
    return names


def weighted(Q, curvatures, right):
    """Return sum_k c_k q_k q_k' and sum_k b_k q_k."""
    return (Q.T * curvatures) @ Q, Q.T @ right


def implicit_row(r, Q, lam, alpha, a0, nu):
    c = alpha * r  # alpha * user_items
    A, b = weighted(Q, np.where(c != 0, np.abs(c) - 1, 0.0), np.maximum(c, 0.0))
    return A + Q.T @ Q + lam * np.identity(2), b


def irspack_row(r, Q, lam, alpha, a0, nu):
    x = 1.0 * (r != 0)
    A, b = weighted(Q, x, x)
    return A + a0 * Q.T @ Q + lam * (x.sum() + a0 * r.size) ** nu * np.identity(2), b


def lenskit_row(r, Q, lam, alpha, a0, nu):
    x = 1.0 * (r != 0)
    A, b = weighted(Q, alpha * x, (1 + alpha) * x)
    return A + Q.T @ Q + lam * np.identity(2), b


def cmfrec_implicit_row(r, Q, lam, alpha, a0, nu):
    A, b = weighted(Q, alpha * r, np.where(r != 0, 1 + alpha * r, 0.0))
    return A + Q.T @ Q + lam * np.identity(2), b


def spark_row(r, Q, lam, alpha, a0, nu):
    A, b = weighted(Q, 1.0 * (r != 0), r)
    return A + lam * np.count_nonzero(r) * np.identity(2), b


@pytest.mark.parametrize(
    ("name", "equations"),
    [
        ("implicit", implicit_row),
        ("irspack", irspack_row),
        ("lenskit", lenskit_row),
        ("cmfrec_implicit", cmfrec_implicit_row),
        ("spark", spark_row),
    ],
)
def test_rows_without_biases(page, name, equations):
    objective, matrix = page[name]
    Q = page["Q"]
    parameters = [page[name] for name in ("lam", "alpha", "a0", "nu")]
    expected = [np.linalg.solve(*equations(r, Q, *parameters)) for r in page["R"]]
    np.testing.assert_allclose(fold_in(objective, matrix, Q), expected, rtol=1e-7)


def test_dislikes_of_implicit(page):
    objective, matrix = page["implicit"]
    disliked = matrix.copy()
    disliked.data[0] *= -1.0
    expected = np.linalg.solve(
        *implicit_row(disliked.toarray()[0] / page["alpha"], page["Q"], page["lam"],
                      page["alpha"], page["a0"], page["nu"])
    )  # fmt: skip
    np.testing.assert_allclose(fold_in(objective, disliked, page["Q"])[0], expected, rtol=1e-7)


@pytest.mark.parametrize(
    ("name", "is_scaled"), [("cmfrec", False), ("cmfrec_scaled", True), ("surprise", True)]
)
def test_rows_with_biases(page, name, is_scaled):
    objective, matrix = page[name]
    R, Q, lam = page["R"], page["Q"], page["lam"]
    mean = R[R != 0].mean()
    of_items = np.random.default_rng(1).normal(size=R.shape[1])
    expected = []
    for r in R:
        stored = r != 0
        design = np.column_stack([Q[stored], np.ones(stored.sum())])  # [q, 1] of [p, b_u]
        ridge = lam * (stored.sum() if is_scaled else 1.0) * np.identity(3)
        left = r[stored] - mean - of_items[stored]
        expected.append(np.linalg.solve(design.T @ design + ridge, design.T @ left))
    of_twofold = np.column_stack([Q, np.ones(len(Q)), mean + of_items])
    found = fold_in(objective.for_data(matrix), matrix, of_twofold)
    np.testing.assert_allclose(found[:, :3], expected, rtol=1e-7)


def test_steps_of_surprise(page):
    # Updates of an epoch from the same point: lr (e q - lam p) for each pair.
    R, Q, lam = page["R"], page["Q"], page["lam"]
    P = np.random.default_rng(2).normal(size=(len(R), 2))
    objective = Objective(regularizer=L2(lam, exponent=1.0), data="targets")
    stored = R != 0
    errors = np.where(stored, R - P @ Q.T, 0.0)
    updates = errors @ Q - lam * stored.sum(axis=1, keepdims=True) * P
    gradient, _ = objective.gradient(page["surprise"][1], P, Q)
    np.testing.assert_allclose(updates, -0.5 * gradient, rtol=1e-10)


def test_dividing_by_the_confidence(page):
    confidence, lam, Q = 4.0, page["lam"], page["Q"]
    ones = page["R"] != 0
    matrix = page["implicit"][1].sign()
    divided = Objective(
        regularizer=L2(lam / confidence), unobserved_weight=1.0 / confidence, unobserved="missing"
    )
    expected = [
        np.linalg.solve(*implicit_row(1.0 * row, Q, lam, confidence, 0.0, 0.0)) for row in ones
    ]
    np.testing.assert_allclose(fold_in(divided, matrix, Q), expected, rtol=1e-7)


def test_two_lambdas_are_one(page):
    of_rows, of_cols = 0.3, 0.05
    R, Q = page["spark"][1], page["Q"]
    P = np.random.default_rng(2).normal(size=(R.shape[0], 2))
    t = (of_rows / of_cols) ** 0.25
    one = Objective(regularizer=L2((of_rows * of_cols) ** 0.5), data="targets")
    value = one.value(R, t * P, Q / t)
    np.testing.assert_allclose(value.penalty, of_rows * np.sum(P**2) + of_cols * np.sum(Q**2))
    np.testing.assert_allclose(value.loss, one.value(R, P, Q).loss)
