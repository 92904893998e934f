"""A model in a notebook."""

from typing import TYPE_CHECKING

from twofold._common.html import facts, table
from twofold.solvers.html import solution_html

if TYPE_CHECKING:
    from twofold.model.factor_model import FactorModel

__all__ = ["model_html"]

_N_ROWS, _N_COLS = 3, 5  # recommendations that are shown


def model_html(model: "FactorModel") -> str:
    """Return the HTML of a model for notebooks: its solution and the first recommendations."""
    name = type(model).__name__
    if not model.__sklearn_is_fitted__():
        shown = {"objective": model.objective, "solver": model.solver}
        return f"<div><strong>{name}, not fitted</strong>{facts(shown)}</div>"
    if not hasattr(model, "row_factors"):  # of a file for serving
        title = f"{name} for new rows: {len(model.col_ids):,} columns"
        return f"<div><strong>{title}</strong>{facts({'objective': model.objective})}</div>"
    pairings = model.pairings
    n_rows, n_cols = pairings.shape
    ranking = model.recommend(model.row_ids[:_N_ROWS], _N_COLS)
    recommended = table(
        ["row", *(f"{rank}." for rank in range(1, _N_COLS + 1))],
        [
            [row, *(f"{col} ({score:.2f})" for col, score in found)] + [""] * (_N_COLS - len(found))
            for row, found in ranking
        ],
    )
    return (
        f"<div><strong>{name}: {n_rows:,} rows x {n_cols:,} columns, {pairings.n_pairs:,} pairs"
        f"</strong>{facts({'objective': model.objective})}{solution_html(model.solution)}"
        f"<div>Recommendations for the first rows, with predictions:</div>{recommended}</div>"
    )
