"""A solution in a notebook."""

from typing import TYPE_CHECKING

from twofold._common.html import curve, facts

if TYPE_CHECKING:
    from twofold.solvers.result import Solution

__all__ = ["solution_html"]


def solution_html(solution: "Solution") -> str:
    """Return the HTML of a solution for notebooks: its numbers and the curve of the objective."""
    (n_rows, width), n_cols = solution.row_factors.shape, len(solution.col_factors)
    history = solution.history
    shown = {
        "solver": f"{solution.solver}, seed {solution.seed}",
        "factors": f"{n_rows:,} rows and {n_cols:,} columns x {width}",
        "status": solution.message,
        "objective": f"{solution.objective_value:.6g} (at the start {history[0].total:.6g})",
        "epochs": f"{solution.n_epochs}, {history[-1].seconds:.3g} seconds",
        "run on": f"{solution.n_threads} threads, {solution.vector_bits}-bit vectors",
    }
    picture = curve([(one.epoch, one.total) for one in history], "objective after each epoch")
    return f"{facts(shown)}{picture}"
