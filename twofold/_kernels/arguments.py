"""What kernels are called with: a handful of named tuples of arrays.

In each of them an array of length 0 stands for a constant, which the functions below return; no
other kernel looks at that.
"""

from typing import Any, NamedTuple

from twofold._kernels.jit import inlined

Array = Any  # an ndarray; numba infers the types of kernels


class Entries(NamedTuple):
    """The stored entries of one side of the matrix, row by row (CSR), and the ridge of its rows."""

    indptr: Array
    """int64, shape (n + 1,)."""
    indices: Array
    """int32, shape (n_entries,)."""
    targets: Array
    """float64, shape (n_entries,), or (0,): every target is 1."""
    weights: Array
    """float64 > 0, shape (n_entries,), or (0,): every weight is 1."""
    repeats: Array
    """bool, shape (n_entries,): the entry repeats an earlier one of its cell; (0,): none does."""
    missing_weight: float
    """a0 where only the missing cells are unobserved, which the stored cells get back; else 0."""
    scale: Array
    """float64, shape (n,): lam s_u."""


class Tasks(NamedTuple):
    """Rows in the order in which they are solved, in ranges of about equal work."""

    rows: Array
    """int64."""
    bounds: Array
    """int64, shape (n_tasks + 1,): task t is ``rows[bounds[t]:bounds[t + 1]]``."""


class Columns(NamedTuple):
    """One side's factors, prepared for solving rows of the other side.

    With a0 Q'Q = V S V', everything but ``factors`` is in the coordinates of V and padded to a
    multiple of 8.
    """

    rotated: Array
    """Q V, shape (n, width)."""
    spectrum: Array
    """S in float64, shape (width,); 1 in the padding."""
    factors: Array
    """Q, shape (n, width), padded with zeros."""
    vectors: Array
    """V in float64, shape (width, width), or (0, 0): the identity."""
    lengths: Array
    """|z|^2 of every whitened row, float64, shape (n,), or (0,) where it is not needed."""


class Report(NamedTuple):
    """What happened to each row of a side; see `twofold.solvers.RowReport`."""

    status: Array
    """uint8, shape (n,)."""
    route: Array
    """uint8, shape (n,)."""
    error: Array
    """float64, shape (n,)."""


class LossCall(NamedTuple):
    """A loss, for `formulas`."""

    code: int
    parameter: float
    value_address: int
    derivative_address: int


class PenaltyCall(NamedTuple):
    """A regulariser and the constraint, for `formulas`."""

    code: int
    value_address: int
    follow_address: int
    """Of the derivative if it is smooth, and otherwise of the proximal step."""
    smooth: bool
    nonnegative: bool
    """Factors below 0 are not allowed."""


class Step(NamedTuple):
    """What becomes of the gradient of the loss by the rows of one side."""

    penalty: PenaltyCall
    rate: float
    """If > 0, the result is the proximal step of this length; if 0, it is the gradient."""
    has_pull: bool
    """The result holds a part of the gradient, to which the others are added."""


@inlined
def target(entries, e):
    """Return r of an entry."""
    return entries.targets[e] if entries.targets.size else 1.0


@inlined
def weight(entries, e):
    """Return w of an entry."""
    return entries.weights[e] if entries.weights.size else 1.0


@inlined
def missing_share(entries, e):
    """Return a0 for the first entry of a cell if stored cells get it back, otherwise 0."""
    if entries.repeats.size and entries.repeats[e]:
        return 0.0
    return entries.missing_weight


@inlined
def curvature(entries, e):
    """Return c of the squared loss, c x^2 - 2 b x: the weight less what a stored cell gets back."""
    return weight(entries, e) - missing_share(entries, e)


@inlined
def linear(entries, e):
    """Return b of the squared loss: the weight times the target."""
    return weight(entries, e) * target(entries, e)
