"""The whole path on a database of yours: every solver on one objective, checked as it is measured.

    python -m benchmarks.spine sqlite:///my.db

prints the machine, the solvers' objectives side by side, how stationary the ALS answer is, whether
the bits depend on the number of threads, and the notebook's grid search on the first playlists.
"""

import argparse
import time
from collections.abc import Iterable

import numpy as np

from benchmarks.machine import machine
from twofold import L2, Objective, Pairings, split_rows
from twofold.io import read_sql
from twofold.solvers import ALS, GD, SGD, Solver, fold_in
from twofold.tuning import grid_search


def side_by_side(pairings: Pairings, n_factors: int) -> None:
    """Print the same objective from the same start, minimised by each solver with its defaults."""
    objective = Objective()
    print(f"\n{objective}, n_factors={n_factors}")
    solvers: list[Solver] = [
        ALS(n_factors=n_factors, rng=0),
        SGD(n_factors=n_factors, rng=0),
        GD(n_factors=n_factors, rng=0),
    ]
    for solver in solvers:
        solution = solver.solve(objective, pairings.matrix)
        first, last = solution.history[0], solution.history[-1]
        print(
            f"  {solution.solver:<4} {solution.status:<11} {solution.n_epochs:>4} epochs "
            f"{last.seconds:>8.2f} s   {first.total:>14,.1f} -> {last.total:>14,.1f}"
        )


def als_descends(pairings: Pairings, n_factors: int, max_epochs: int) -> None:
    """Half-steps in float64 until stationary: largest relative increase, and the gradient."""
    R = pairings.matrix
    columns = R.T.tocsr()
    loss_alone = Objective(regularizer=L2(0.0))
    for objective in (
        Objective(regularizer=L2(0.05, exponent=1.0)),
        Objective(regularizer=L2(1.0), unobserved_weight=0.1),
        Objective(regularizer=L2(0.01, exponent=0.5), unobserved_weight=0.1, unobserved="missing"),
    ):
        start = ALS(n_factors=n_factors, max_epochs=0, rng=0, dtype="float64").solve(objective, R)
        P, Q = start.row_factors, start.col_factors
        before, worst, relative, n_epochs = np.inf, -np.inf, np.inf, 0
        while relative > 1e-4 and n_epochs < max_epochs:
            n_epochs += 1
            for half in ("rows", "columns"):
                if half == "rows":
                    P = fold_in(objective, R, Q)
                else:
                    Q = fold_in(objective, columns, P)
                total = objective.value(R, P, Q).total
                if np.isfinite(before):
                    worst = max(worst, (total - before) / before)
                before = total
            if n_epochs % 20 == 0:
                # Relative to the gradient of the loss part alone, which the other parts balance.
                whole, pull = (F.gradient(R, P, Q) for F in (objective, loss_alone))
                relative = np.sqrt(squared(whole) / squared(pull))
        print(
            f"  {objective.regularizer}, a0={objective.unobserved_weight}, "
            f"{objective.unobserved}: largest relative change of a half-step {worst:+.1e}, "
            f"relative gradient after {n_epochs} epochs {relative:.1e}"
        )


def squared(gradients: Iterable[np.ndarray]) -> float:
    """Return the squared length of a gradient in two parts."""
    return sum(float(np.sum(part**2)) for part in gradients)


def same_bits(pairings: Pairings) -> None:
    """Compare whole fits with one and two threads, and two runs."""
    for kind in (ALS, SGD, GD):
        fits = [
            kind(n_factors=10, max_epochs=3, rng=3, n_threads=n).solve(Objective(), pairings.matrix)
            for n in (1, 2, 2)
        ]
        same = all(
            np.array_equal(fits[0].row_factors, fit.row_factors)
            and np.array_equal(fits[0].col_factors, fit.col_factors)
            for fit in fits[1:]
        )
        print(f"  {kind.__name__}: the same bits with 1 and 2 threads and in two runs: {same}")


def notebook_grid(source: str, max_rows: int) -> None:
    """Run the notebook's 27 combinations, which crashed there."""
    pairings = read_sql(source, max_rows=max_rows)
    parts = split_rows(pairings, rng=11)
    grid = {
        "n_factors": [5, 10, 15],
        "learning_rate": [rate / 2 for rate in (0.001, 0.01, 0.1)],
        "regularizer.weight": [0.001, 0.01, 0.1],
    }
    started = time.perf_counter()
    result = grid_search(
        GD(max_epochs=100, rng=0), Objective(regularizer=L2(exponent=1.0)),
        parts.train, parts.validation, grid,
    )  # fmt: skip
    print(f"  {pairings}, {len(result)} trials in {time.perf_counter() - started:.1f} s")
    print(result)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("source", help="SQLAlchemy URL with the table pairings(pid, tid)")
    parser.add_argument("--n-factors", type=int, default=64)
    parser.add_argument(
        "--epochs", type=int, default=2000, help="at most, for the stationarity of ALS"
    )
    parser.add_argument("--max-rows", type=int, default=10_000, help="for the grid search")
    chosen = parser.parse_args()
    print(machine())
    started = time.perf_counter()
    pairings = read_sql(chosen.source)
    print(f"{pairings} read in {time.perf_counter() - started:.2f} s")
    side_by_side(pairings, chosen.n_factors)
    print("\nALS in float64, half-step by half-step")
    als_descends(pairings, 10, chosen.epochs)
    print("\nBits")
    same_bits(pairings)
    print("\nThe notebook's grid search")
    notebook_grid(chosen.source, chosen.max_rows)


if __name__ == "__main__":
    main()
