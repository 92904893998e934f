"""ALS as its definition: exact half-steps, without acceleration."""

from twofold.solvers import ALS

__all__ = ["plain_als"]


def plain_als(**options):
    """Return a solver whose epochs are two exact half-steps; options may change that."""
    return ALS(**{"row_solver": "direct", "acceleration": None, **options})
