"""Arguments of the kernels: named tuples of arrays.

An array of length 0 stands for a constant, which the accessor functions below return.
"""

from typing import Any, NamedTuple

import numpy as np

from twofold._kernels.jit import inlined

Array = Any  # an ndarray; numba infers the types of kernels


class Entries(NamedTuple):
    """Stored entries of one side of the matrix in CSR order, and the ridge of its rows."""

    indptr: Array
    """int64, shape (n + 1,)."""
    indices: Array
    """int32, shape (n_entries,)."""
    targets: Array
    """float64, shape (n_entries,), or (0,) if every target is 1."""
    weights: Array
    """float64 > 0, shape (n_entries,), or (0,) if every weight is 1."""
    excluded: Array
    """float64, shape (n_entries,): the weight in the unobserved term that an entry excludes from
    it; (0,) if it is `missing_weight` for every entry."""
    missing_weight: float
    """a0 if the unobserved term excludes the stored cells, otherwise 0."""
    scale: Array
    """float64, shape (n,): lam s_u."""


class Tasks(NamedTuple):
    """Rows in the order in which they are solved, divided into ranges of similar cost."""

    rows: Array
    """int64."""
    bounds: Array
    """int64, shape (n_tasks + 1,): task t is ``rows[bounds[t]:bounds[t + 1]]``."""
    longest: int
    """Largest number of entries of a row."""


class Columns(NamedTuple):
    """Factors of one side, prepared for solving rows of the other side.

    With a0 Q'Q = V S V', the rotated coordinates are those of V. Widths are padded to a multiple
    of 8.
    """

    rotated: Array
    """Q V, shape (n, width)."""
    spectrum: Array
    """S in float64, shape (width,); 1 in the padding."""
    factors: Array
    """Q, shape (n, width), padded with zeros."""
    vectors: Array
    """V in float64, shape (width, width), or (0, 0) for the identity."""
    lengths: Array
    """|z|^2 of every whitened row, float64, shape (n,), or (0,) if not needed."""
    n_factors: int
    """The rank k, without the padding."""


class Report(NamedTuple):
    """Status, route, error and sums of each row of a side; see `twofold.solvers.RowReport`."""

    status: Array
    """uint8, shape (n,)."""
    route: Array
    """uint8, shape (n,)."""
    error: Array
    """float64, shape (n,)."""
    sums: Array
    """float64, shape (n, 2), or (0, 2) if not needed."""


class LossCall(NamedTuple):
    """A loss as the arguments of `formulas`."""

    code: int
    parameter: float
    value_address: int
    derivative_address: int


class PenaltyCall(NamedTuple):
    """A regulariser and the constraint as the arguments of `formulas`."""

    code: int
    value_address: int
    derivative_or_proximal_address: int
    """Address of the derivative if the regulariser is smooth, otherwise of the proximal step."""
    smooth: bool
    nonnegative: bool
    """Whether factors are constrained to be >= 0."""
    center: Array = np.empty((0, 0))
    """float64, shape (n, width): the center c_u of every row, whose penalty is phi(p_u - c_u);
    (1, width) if it is that of all rows, (0, 0) if it is 0."""
    first: int = 0
    """First column in which a center is not 0."""
    fixed: int = -1
    """Column that is constant and not penalised; -1 without biases."""


class Penalties(NamedTuple):
    """The penalties of both sides, which differ in the centers and the constant column only."""

    rows: PenaltyCall
    cols: PenaltyCall


class Step(NamedTuple):
    """How the result is computed from the gradient of the loss."""

    penalty: PenaltyCall
    rate: float
    """If > 0, the result is a proximal step of this length; if 0, it is the gradient."""
    accumulates: bool
    """Whether the output array contains a part of the gradient to add to."""


@inlined
def center_row(penalty, u):
    """Return the row of ``penalty.center`` for row u."""
    return min(np.int64(u), penalty.center.shape[0] - 1)


@inlined
def center_of(penalty, u, f):
    """Return the center of element f of row u."""
    return penalty.center[center_row(penalty, u), f] if penalty.center.size else 0.0


@inlined
def target(entries, e):
    """Return the target r of an entry."""
    return entries.targets[e] if entries.targets.size else 1.0


@inlined
def weight(entries, e):
    """Return the weight w of an entry."""
    return entries.weights[e] if entries.weights.size else 1.0


@inlined
def excluded_weight(entries, e):
    """Return the weight in the unobserved term that an entry excludes from it.

    It is a0 for the first entry of a cell if the term excludes the stored cells, otherwise 0.
    """
    return entries.excluded[e] if entries.excluded.size else entries.missing_weight


@inlined
def curvature(entries, e):
    """Return c of the squared loss c x^2 - 2 b x: the weight minus the excluded weight."""
    return weight(entries, e) - excluded_weight(entries, e)


@inlined
def linear(entries, e):
    """Return b of the squared loss c x^2 - 2 b x: the weight times the target."""
    return weight(entries, e) * target(entries, e)
