"""Promises of every solver about the algebra of its problem; see `twofold.testing.checks`.

They hold for each solver that reads its entries from the `Problem`, random solvers included. What
needs a deterministic method, such as equivariance under permutations, is not demanded here.
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

__all__ = ["ALGEBRA_PROMISES", "layouts_of"]

_ROWS, _COLS = [0, 7, SHAPE[0] - 1], [0, 4, SHAPE[1] - 1]  # of the tests of empty rows


def layouts_of(matrix: sparse.csr_array) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a CSR array in other layouts, repeated entries kept apart.

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

    sorted_ = np.arange(values.size)
    yield "CSR arrays, copied,", csr(sorted_)
    yield "objects of the older class csr_matrix", sparse.csr_matrix(csr(sorted_))
    wide = csr(sorted_)
    wide.indices, wide.indptr = (a.astype(np.int64) for a in (wide.indices, wide.indptr))
    yield "int64 indices", wide
    mixed = csr(sorted_)
    mixed.indptr = mixed.indptr.astype(np.int64)
    yield "int32 indices with an int64 index pointer", mixed
    fixed = csr(sorted_)
    for array in (fixed.data, fixed.indices, fixed.indptr):
        array.flags.writeable = False
    yield "read-only arrays", fixed
    yield "rows with columns in descending order", csr(np.lexsort((-cols, rows)))
    shuffled = np.random.default_rng(3).permutation(values.size)
    yield "rows with columns in random order", csr(shuffled[np.argsort(rows[shuffled])])
    by_column = np.lexsort((rows, cols))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(cols, minlength=shape[1]))])
    csc = sparse.csc_array((values[by_column], rows[by_column], indptr), shape=shape)
    yield "CSC arrays", csc
    for name, order in (("sorted", sorted_), ("permuted", shuffled)):
        at = rows[order], cols[order]
        yield f"COO arrays of {name} entries", sparse.coo_array((values[order], at), shape=shape)
    coo = sparse.coo_array((values[shuffled], (rows[shuffled], cols[shuffled])), shape=shape)
    coo.coords = tuple(axis.astype(np.int64) for axis in coo.coords)
    for array in (coo.data, *coo.coords):
        array.flags.writeable = False
    yield "read-only COO arrays with int64 indices", coo


def _layout_does_not_matter(s: Subject) -> None:
    """Format, index type, order of the entries and read-only arrays do not change a bit."""
    for objective in s.objectives:
        once = random_matrix(objective)
        times = 1 + (np.arange(once.nnz) % 3 == 0)
        ends = np.concatenate([[0], np.cumsum(times)])
        matrix = sparse.csr_array(
            (once.data.repeat(times), once.indices.repeat(times), ends[once.indptr]), shape=SHAPE
        )
        expected = s.solve(objective, matrix)
        for what, same in layouts_of(matrix):
            s.require(
                equal(s.solve(objective, same), expected),
                f"{what} give other factors than a sorted CSR array ({objective})",
            )


def _weight_of_zero_is_no_pair(s: Subject) -> None:
    """Weights of 0 are pairs left out, in factors, history and U.

    With ``unobserved="missing"`` U is every cell without a pair, so the cell of a weight of 0 is in
    U, as if nothing were stored there.
    """
    for objective in s.objectives:
        if objective.data != "weights":
            continue
        without = random_matrix(objective)
        with_zeros = _with_zeros(without)
        found, expected = (
            s.solve(objective, matrix, random_init(), dtype="float64")
            for matrix in (with_zeros, without)
        )
        right = reference.value(objective, without, *random_init())["total"]
        total = found.history[0].total
        s.require(
            abs(total - right) <= 1e-9 * right,
            f"with stored weights of 0 the objective is {total}, and {right} is that without these "
            f"entries ({objective})",
        )
        s.require(
            equal(found, expected)
            and [r.total for r in found.history] == [r.total for r in expected.history],
            f"stored weights of 0 change the factors or the history ({objective})",
        )


def _empty_rows_are_zero(s: Subject) -> None:
    """Rows and columns without entries, or with weights of 0 only, end as exact zeros.

    From a start that is drawn: given factors are the solver's to keep or to change.
    """
    for objective in s.objectives:
        full = random_matrix(objective).toarray()
        full[_ROWS, :] = 0.0
        full[:, _COLS] = 0.0
        matrices = {"without entries": sparse.csr_array(full)}
        if objective.data == "weights":
            matrices["whose weights are all 0"] = _with_zeros(matrices["without entries"])
        for what, matrix in matrices.items():
            solution = s.solve(objective, matrix)
            for axis, factors, empty in (
                ("rows", solution.row_factors, _ROWS),
                ("columns", solution.col_factors, _COLS),
            ):
                s.require(
                    not factors[empty].any(),
                    f"{axis} {what} do not end as zeros ({objective}): the largest factor "
                    f"there is {np.abs(factors[empty]).max()}",
                )
                filled = np.delete(factors, empty, axis=0)
                s.require(
                    filled.any(axis=1).all() or not objective.regularizer.smooth,
                    f"{axis} with entries end as zeros ({objective})",
                )


def _objective_has_its_symmetries(s: Subject) -> None:
    """Rotated factors, permuted rows and scaled weights give the objective that they should.

    F(PO, QO) = F(P, Q) for orthogonal O and L2; an order of rows and columns is none of its
    arguments; c times the weights and a0, and c^(1 - exponent) times lam, give c F.
    """
    P, Q = random_init()
    rng = np.random.default_rng(4)
    O, _ = np.linalg.qr(rng.normal(size=(RANK, RANK)))  # noqa: E741 - the orthogonal matrix
    by_row, by_col = (rng.permutation(n) for n in SHAPE)
    for objective in s.objectives:
        matrix = random_matrix(objective)

        def first(matrix: Any, *init: Any, of: Objective = objective) -> float:
            start = s.solve(of, matrix, init, max_epochs=0, dtype="float64")
            return start.history[0].total

        right = first(matrix, P, Q)
        permuted = first(matrix[by_row][:, by_col], P[by_row], Q[by_col])
        cases = {"permuted rows and columns": (permuted, right)}
        if isinstance(objective.regularizer, L2):
            cases["rotated factors"] = first(matrix, P @ O, Q @ O), right
        if objective.data == "weights":
            c, lam, exponent = 7.0, objective.regularizer.weight, objective.regularizer.exponent
            scaled = Objective(
                objective.loss,
                replace(objective.regularizer, weight=lam * c ** (1.0 - exponent)),
                data="weights",
                unobserved_weight=c * objective.unobserved_weight,
                unobserved=objective.unobserved,
            )
            cases["weights and penalty times 7"] = first(c * matrix, P, Q, of=scaled), c * right
        for what, (total, expected) in cases.items():
            s.require(
                abs(total - expected) <= 1e-9 * abs(expected),
                f"{what} give the objective {total}, and {expected} is right ({objective})",
            )


def _weights_stand_beside_targets(s: Subject) -> None:
    """``solve(..., weights=W)``: an array and a matrix are the same, 1 is no weight, 0 no pair."""
    for objective in s.objectives:
        if objective.data != "targets":
            continue
        matrix, init = random_matrix(objective), random_init()
        weights = np.random.default_rng(5).uniform(0.5, 3.0, matrix.nnz)
        weights[::5] = 0.0
        given = sparse.csr_array((weights, matrix.indices, matrix.indptr), shape=SHAPE)

        def solve(
            weights: Any, matrix: Any = matrix, init: Any = init, objective: Objective = objective
        ) -> Solution:
            solver: Any = s.make(dtype="float64")
            with _argument_is_known(s):
                solution: Solution = solver.solve(objective, matrix, init, weights=weights)
            return solution

        weighted = solve(weights)
        right = reference.value(objective, matrix, *init, weights=weights)["total"]
        total = weighted.history[0].total
        s.require(
            abs(total - right) <= 1e-9 * right,
            f"with weights the first objective is {total}, and {right} is right ({objective})",
        )
        s.require(
            equal(weighted, solve(given)),
            f"weights as a matrix give other factors than as an array ({objective})",
        )
        kept = weights > 0.0
        at = (np.repeat(np.arange(SHAPE[0]), np.diff(matrix.indptr))[kept], matrix.indices[kept])
        fewer = sparse.coo_array((matrix.data[kept], at), shape=SHAPE).tocsr()
        s.require(
            equal(weighted, solve(weights[kept], fewer)),
            f"a weight of 0 beside a target is not the pair left out ({objective})",
        )
        plain = s.solve(objective, matrix, init, dtype="float64")
        s.require(
            equal(plain, solve(np.ones(matrix.nnz))),
            f"weights of 1 give other factors than no weights ({objective})",
        )


@contextmanager
def _argument_is_known(s: Subject) -> Iterator[None]:
    try:
        yield
    except TypeError as error:
        require("weights" not in str(error), f"{s.name}: solve does not take weights=: {error}")
        raise


def _with_zeros(matrix: sparse.csr_array) -> sparse.csr_array:
    """Store a weight of 0 in a third of the other cells, between the entries."""
    dense = matrix.toarray()
    zeros = (dense == 0.0) & (np.arange(dense.size).reshape(dense.shape) % 3 == 0)
    rows, cols = np.nonzero((dense != 0.0) | zeros)
    ends = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=dense.shape[0]))])
    return sparse.csr_array((dense[rows, cols], cols, ends), shape=dense.shape)


ALGEBRA_PROMISES: tuple[Callable[[Subject], None], ...] = (
    _layout_does_not_matter,
    _weight_of_zero_is_no_pair,
    _empty_rows_are_zero,
    _objective_has_its_symmetries,
    _weights_stand_beside_targets,
)
