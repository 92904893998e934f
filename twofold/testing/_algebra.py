"""Algebraic requirements for every solver; see `twofold.testing.checks`.

They hold for each solver that reads its entries from the `Problem`, including random solvers.
Properties of deterministic methods, such as equivariance under permutations, are not required.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold.objective import L2, Objective
from twofold.solvers import Solution
from twofold.testing import reference
from twofold.testing._formula_checks import require
from twofold.testing._subject import RANK, SHAPE, Subject, equal, random_init, random_matrix

__all__ = ["ALGEBRA_CHECKS", "layouts_of"]

_ROWS, _COLS = [0, 7, SHAPE[0] - 1], [0, 4, SHAPE[1] - 1]  # without entries in some checks


def layouts_of(matrix: sparse.csr_array) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a CSR array in other layouts, without summing repeated entries.

    Parameters
    ----------
    matrix : csr_array
        Sorted by column in each row; entries of the same cell have equal values.

    Yields
    ------
    tuple of str and sparse matrix or array
        A description in the plural, and the matrix.
    """
    shape = matrix.shape
    rows = np.repeat(np.arange(shape[0]), np.diff(matrix.indptr))
    cols, values = matrix.indices.copy(), matrix.data.copy()

    def csr(order: NDArray[Any]) -> sparse.csr_array:
        return sparse.csr_array((values[order], cols[order], matrix.indptr.copy()), shape=shape)

    identity = np.arange(values.size)
    yield "CSR arrays, copied,", csr(identity)
    yield "objects of the older class csr_matrix", sparse.csr_matrix(csr(identity))
    wide = csr(identity)
    wide.indices, wide.indptr = (a.astype(np.int64) for a in (wide.indices, wide.indptr))
    yield "int64 indices", wide
    mixed = csr(identity)
    mixed.indptr = mixed.indptr.astype(np.int64)
    yield "int32 indices with an int64 index pointer", mixed
    read_only = csr(identity)
    for array in (read_only.data, read_only.indices, read_only.indptr):
        array.flags.writeable = False
    yield "read-only arrays", read_only
    yield "rows with columns in descending order", csr(np.lexsort((-cols, rows)))
    shuffled = np.random.default_rng(3).permutation(values.size)
    yield "rows with columns in random order", csr(shuffled[np.argsort(rows[shuffled])])
    by_column = np.lexsort((rows, cols))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(cols, minlength=shape[1]))])
    csc = sparse.csc_array((values[by_column], rows[by_column], indptr), shape=shape)
    yield "CSC arrays", csc
    for name, order in (("sorted", identity), ("permuted", shuffled)):
        at = rows[order], cols[order]
        yield f"COO arrays of {name} entries", sparse.coo_array((values[order], at), shape=shape)
    coo = sparse.coo_array((values[shuffled], (rows[shuffled], cols[shuffled])), shape=shape)
    coo.coords = tuple(axis.astype(np.int64) for axis in coo.coords)
    for array in (coo.data, *coo.coords):
        array.flags.writeable = False
    yield "read-only COO arrays with int64 indices", coo


def _check_layouts(s: Subject) -> None:
    """Require bitwise equal results for all formats, index types, orders and read-only arrays."""
    for objective in s.objectives:
        once = random_matrix(objective)
        times = 1 + (np.arange(once.nnz) % 3 == 0)
        ends = np.concatenate([[0], np.cumsum(times)])
        matrix = sparse.csr_array(
            (once.data.repeat(times), once.indices.repeat(times), ends[once.indptr]), shape=SHAPE
        )
        expected = s.solve(objective, matrix, max_epochs=2)
        for name, variant in layouts_of(matrix):
            s.require(
                equal(s.solve(objective, variant, max_epochs=2), expected),
                f"{name} result in other factors than a sorted CSR array ({objective})",
            )


def _check_zero_weights(s: Subject) -> None:
    """Entries of weight 0 do not change the factors, the history or U.

    With ``unobserved="missing"``, U contains the cell of an entry of weight 0.
    """
    for objective in s.objectives:
        if objective.data != "weights":
            continue
        without = random_matrix(objective)
        with_zeros = _with_zeros(without)
        actual, expected = (
            s.solve(objective, matrix, random_init(objective), dtype="float64")
            for matrix in (with_zeros, without)
        )
        expected_value = reference.value(objective, without, *random_init(objective))["total"]
        total = actual.history[0].total
        s.require(
            abs(total - expected_value) <= 1e-9 * expected_value,
            f"with stored weights of 0 the objective is {total}, but without these entries it is "
            f"{expected_value} ({objective})",
        )
        s.require(
            equal(actual, expected)
            and [r.total for r in actual.history] == [r.total for r in expected.history],
            f"stored weights of 0 change the factors or the history ({objective})",
        )


def _check_empty_rows_are_zero(s: Subject) -> None:
    """Factors of rows and columns without entries, or with weights of 0 only, are their centers.

    These are exactly zero without centers. This is required for random initial factors only, not
    for given ones. Biases are 0 and mu, which is no solution with a0 > 0, nor are centers.
    """
    for objective in s.objectives:
        if (objective.biases or objective.has_centers) and objective.unobserved_weight:
            continue
        centers = (
            np.zeros((n, RANK)) if own is None else own.values
            for n, own in zip(SHAPE, objective.regularizer.centers, strict=True)
        )
        row_center, col_center = (own.astype(np.float32) for own in centers)
        full = random_matrix(objective).toarray()
        full[_ROWS, :] = 0.0
        full[:, _COLS] = 0.0
        matrices = {"without entries": sparse.csr_array(full)}
        if objective.data == "weights":
            matrices["whose weights are all 0"] = _with_zeros(matrices["without entries"])
        for name, matrix in matrices.items():
            solution = s.solve(objective, matrix)
            parts = objective.parts(solution.row_factors, solution.col_factors)
            mean = np.float32(reference.mean(objective, matrix)) if objective.biases else 0.0
            s.require(
                not parts.row_biases[_ROWS].any() and (parts.col_biases[_COLS] == mean).all(),
                f"the biases of rows and columns {name} are not 0 and mu ({objective})",
            )
            for axis, factors, empty, center in (
                ("rows", parts.row_factors, _ROWS, row_center),
                ("columns", parts.col_factors, _COLS, col_center),
            ):
                error = np.abs(factors[empty] - center[empty]).max()
                s.require(
                    error == 0.0,
                    f"the factors of {axis} {name} are not zero, or their center ({objective}): "
                    f"the largest difference is {error}",
                )
                filled = np.delete(factors, empty, axis=0)
                s.require(
                    filled.any(axis=1).all() or not objective.regularizer.smooth,
                    f"the factors of {axis} with entries are zero ({objective})",
                )


def _check_symmetries(s: Subject) -> None:
    """Require the symmetries of the objective.

    F(PO, QO) = F(P, Q) for orthogonal O and L2. F does not depend on the order of rows and columns.
    Objectives with centers are left out, as these would have to be changed too.
    Weights and a0 times c, with lam times c^(1 - exponent), result in c F.
    """
    rng = np.random.default_rng(4)
    O, _ = np.linalg.qr(rng.normal(size=(RANK, RANK)))  # noqa: E741 - the orthogonal matrix
    by_row, by_col = (rng.permutation(n) for n in SHAPE)
    for objective in s.objectives:
        if objective.has_centers:
            continue
        matrix, (P, Q) = random_matrix(objective), random_init(objective)

        def initial_total(matrix: Any, *init: Any, of: Objective = objective) -> float:
            start = s.solve(of, matrix, init, max_epochs=0, dtype="float64")
            return start.history[0].total

        expected_value = initial_total(matrix, P, Q)
        permuted = initial_total(matrix[by_row][:, by_col], P[by_row], Q[by_col])
        cases = {"permuted rows and columns": (permuted, expected_value)}
        if isinstance(objective.regularizer, L2):
            rotated = P.copy(), Q.copy()
            for factors in rotated:
                factors[:, :RANK] = factors[:, :RANK] @ O
            cases["rotated factors"] = initial_total(matrix, *rotated), expected_value
        if objective.data == "weights":
            c, lam, exponent = 7.0, objective.regularizer.weight, objective.regularizer.exponent
            scaled = replace(
                objective,
                regularizer=replace(objective.regularizer, weight=lam * c ** (1.0 - exponent)),
                unobserved_weight=c * objective.unobserved_weight,
            )
            cases["weights and penalty times 7"] = (
                initial_total(c * matrix, P, Q, of=scaled),
                c * expected_value,
            )
        for name, (total, expected) in cases.items():
            s.require(
                abs(total - expected) <= 1e-9 * abs(expected),
                f"with {name} the objective is {total} instead of {expected} ({objective})",
            )


def _check_separate_weights(s: Subject) -> None:
    """``solve(..., weights=W)`` accepts arrays and matrices; 1 is neutral, 0 removes an entry."""
    for objective in s.objectives:
        if objective.data != "targets":
            continue
        matrix, init = random_matrix(objective), random_init(objective)
        weights = np.random.default_rng(5).uniform(0.5, 3.0, matrix.nnz)
        weights[::5] = 0.0
        weight_matrix = sparse.csr_array((weights, matrix.indices, matrix.indptr), shape=SHAPE)

        def solve(
            weights: Any, matrix: Any = matrix, init: Any = init, objective: Objective = objective
        ) -> Solution:
            solver: Any = s.make(dtype="float64")
            with _requires_weights_argument(s):
                solution: Solution = solver.solve(objective, matrix, init, weights=weights)
            return solution

        weighted = solve(weights)
        expected_value = reference.value(objective, matrix, *init, weights=weights)["total"]
        total = weighted.history[0].total
        s.require(
            abs(total - expected_value) <= 1e-9 * expected_value,
            f"with weights the initial objective is {total} instead of {expected_value} "
            f"({objective})",
        )
        s.require(
            equal(weighted, solve(weight_matrix)),
            f"weights as a matrix result in other factors than as an array ({objective})",
        )
        nonzero = weights > 0.0
        at = (
            np.repeat(np.arange(SHAPE[0]), np.diff(matrix.indptr))[nonzero],
            matrix.indices[nonzero],
        )
        kept_matrix = sparse.coo_array((matrix.data[nonzero], at), shape=SHAPE).tocsr()
        s.require(
            equal(weighted, solve(weights[nonzero], kept_matrix)),
            f"entries of weight 0 change the factors ({objective})",
        )
        plain = s.solve(objective, matrix, init, dtype="float64")
        s.require(
            equal(plain, solve(np.ones(matrix.nnz))),
            f"weights of 1 result in other factors than no weights ({objective})",
        )


@contextmanager
def _requires_weights_argument(s: Subject) -> Iterator[None]:
    try:
        yield
    except TypeError as error:
        require("weights" not in str(error), f"{s.name}: solve must accept weights=: {error}")
        raise


def _with_zeros(matrix: sparse.csr_array) -> sparse.csr_array:
    """Return the matrix with a weight of 0 stored in a third of the other cells."""
    dense = matrix.toarray()
    zeros = (dense == 0.0) & (np.arange(dense.size).reshape(dense.shape) % 3 == 0)
    rows, cols = np.nonzero((dense != 0.0) | zeros)
    ends = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=dense.shape[0]))])
    return sparse.csr_array((dense[rows, cols], cols, ends), shape=dense.shape)


ALGEBRA_CHECKS: tuple[Callable[[Subject], None], ...] = (
    _check_layouts,
    _check_zero_weights,
    _check_empty_rows_are_zero,
    _check_symmetries,
    _check_separate_weights,
)
