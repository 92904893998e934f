"""Other packages, run on our objective. Nothing here is imported unless it is asked for.

Each entry says how its parameters map to

    sum w (r - p.q)^2 + a0 sum_U (p.q)^2 + lam (sum s_u |p_u|^2 + sum s_i |q_i|^2)
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.compare.entries import Entry, Step, seconds_of
from twofold import Objective


def _implicit(use_cg: bool) -> Any:
    def run(
        objective: Objective,
        matrix: Any,
        init: tuple[np.ndarray, np.ndarray],
        max_epochs: int,
        n_threads: int,
    ) -> Iterator[Step]:
        from implicit.cpu.als import AlternatingLeastSquares

        a0 = objective.unobserved_weight
        weights = matrix.astype(np.float32)
        weights.data[:] = 1.0 / a0
        model = AlternatingLeastSquares(
            factors=init[0].shape[1],
            regularization=objective.regularizer.weight / a0,
            use_cg=use_cg,
            iterations=1,
            num_threads=n_threads,
            dtype=np.float32,
        )
        model.user_factors, model.item_factors = init[0].copy(), init[1].copy()
        spent: list[float] = []
        yield 0.0, init[0], init[1], None
        total = 0.0
        for _ in range(max_epochs):
            # One iteration at a time from where it stands; its own callback gives the time of the
            # iteration alone, without the conversions that fit makes before.
            model.fit(
                weights,
                show_progress=False,
                callback=lambda _, seconds, loss: spent.append(seconds),
            )
            total += spent[-1]
            yield total, model.user_factors.copy(), model.item_factors.copy(), None

    return run


def _irspack(solver_type: str, loss_type: str = "IALSPP") -> Any:
    def run(
        objective: Objective,
        matrix: Any,
        init: tuple[np.ndarray, np.ndarray],
        max_epochs: int,
        n_threads: int,
    ) -> Iterator[Step]:
        from irspack.recommenders.ials import IALSTrainer, str_to_loss_type, str_to_solver_type
        from scipy import sparse

        ones = sparse.csr_matrix(matrix)
        ones.data = np.ones_like(ones.data)
        trainer = IALSTrainer(
            ones, init[0].shape[1], objective.unobserved_weight, objective.regularizer.weight,
            objective.regularizer.exponent, 0.1, str_to_solver_type(solver_type), 3, 64,
            str_to_loss_type(loss_type), 0, n_threads, 5, 7,
        )  # fmt: skip
        trainer.core_trainer.user, trainer.core_trainer.item = init
        yield 0.0, init[0], init[1], None
        total = 0.0
        for _ in range(max_epochs):
            total += seconds_of(trainer.run_epoch)
            core = trainer.core_trainer
            yield total, np.array(core.user), np.array(core.item), None

    return run


_IMPLICIT = (
    "Its formula has weight 1 for missing cells, so ours is divided by a0: confidence 1/a0, "
    "regularization lam/a0. float32."
)
_IRSPACK = (
    "loss_type IALSPP is our formula with U = all cells: alpha0 = a0, reg = lam, nu = exponent."
)

PEERS = [
    Entry("implicit CG", _implicit(True), ("missing",), _IMPLICIT + " 3 CG steps a half-step."),
    Entry("implicit Cholesky", _implicit(False), ("missing",), _IMPLICIT),
    Entry("irspack CG", _irspack("CG"), ("all",), _IRSPACK + " 3 CG steps a half-step."),
    Entry("irspack Cholesky", _irspack("CHOLESKY"), ("all",), _IRSPACK),
    Entry("irspack iALS++", _irspack("IALSPP"), ("all",), _IRSPACK + " Blocks of 64."),
]
