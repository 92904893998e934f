"""Epochs and seconds of ALS to gaps of the objective, for each choice of start and step.

    python -m benchmarks.choices sqlite:///my.db ratings.npz --n-factors 64 --epochs 40

The gap is relative to the lowest objective of all runs, one of which has three times as many
epochs. The seconds are those of the start and of the epochs.
"""

import argparse
from dataclasses import dataclass, field
from typing import Any

from benchmarks.compare.problems import PROBLEMS, check_data, load
from benchmarks.machine import machine
from twofold import Balanced, Objective
from twofold.solvers import ALS, Solution

GAPS = (1e-2, 1e-3, 1e-4)
OBJECTIVES = {
    "balanced": Balanced(),
    **{name: PROBLEMS[name].objective for name in ("all", "missing", "observed")},
}


@dataclass(frozen=True)
class Choice:
    """A named way to run ALS."""

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)


CHOICES = (
    Choice("default"),
    Choice("exact rows", {"row_solver": "direct"}),
    Choice("two steps of CG", {"row_solver": "cg"}),
    Choice("random start", {"init": "random"}),
    Choice("no acceleration", {"acceleration": None}),
    Choice(
        "plain: exact, random, none",
        {"row_solver": "direct", "init": "random", "acceleration": None},
    ),
)


def arrivals(solution: Solution, best: float) -> list[str]:
    """Return the epochs and seconds to each of `GAPS`, as text."""
    cells = []
    for gap in GAPS:
        reached = [each for each in solution.history if each.total <= best + gap * abs(best)]
        cells.append(f"{reached[0].epoch}, {reached[0].seconds:.2f} s" if reached else "more")
    return cells


def table(data: str, name: str, n_factors: int, n_epochs: int) -> str:
    """Return the rows of the table for one data set and objective."""
    matrix = load(data).matrix
    rule = OBJECTIVES[name]
    objective: Objective = rule.for_data(matrix)
    ALS(n_factors=n_factors, max_epochs=1, rng=0).solve(objective, matrix)  # compiles
    runs = {
        choice.name: ALS(
            n_factors=n_factors, max_epochs=n_epochs, rng=0, **choice.parameters
        ).solve(objective, matrix)
        for choice in CHOICES
    }
    long = ALS(n_factors=n_factors, max_epochs=3 * n_epochs, rng=0).solve(objective, matrix)
    best = min(each.total for run in (*runs.values(), long) for each in run.history)
    return "\n".join(
        f"| {data.rpartition('/')[2]} | {name} | {choice} | "
        + " | ".join(arrivals(run, best))
        + f" | {run.history[0].seconds:.2f} |"
        for choice, run in runs.items()
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.choices", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("data", nargs="+", help="a database URL, a .npz file or a generated size")
    parser.add_argument("--objective", nargs="+", choices=OBJECTIVES, default=list(OBJECTIVES))
    parser.add_argument("--n-factors", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=40)
    chosen = parser.parse_args()
    try:
        for data in chosen.data:
            check_data(data)
    except ValueError as error:
        parser.error(str(error))
    print(machine())
    heads = ("data", "objective", "ALS", *(f"to {1 + gap:g} x best" for gap in GAPS), "start, s")
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|", flush=True)
    for data in chosen.data:
        for name in chosen.objective:
            print(table(data, name, chosen.n_factors, chosen.epochs), flush=True)


if __name__ == "__main__":
    main()
