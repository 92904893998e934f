"""Other packages with the common objective. A package is imported when its entry runs.

The notes of each entry describe how its parameters map to

    sum w (r - p.q)^2 + a0 sum_U (p.q)^2 + lam (sum s_u |p_u|^2 + sum s_i |q_i|^2)

A package without a callback, or without initial factors as an argument, is refitted with 1, 2, 4,
... epochs from its own initial factors; the seconds are those of the whole fit.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.compare.entries import Entry, Factors, Fit, Report, Work
from twofold import Objective

# -- implicit: missing cells have weight 1, so the objective is divided by a0 ----------------------


def _implicit_weights(objective: Objective, matrix: Any) -> Any:
    from scipy import sparse

    weights = sparse.csr_matrix(matrix, dtype=np.float32)
    weights.data[:] = 1.0 / objective.unobserved_weight
    return weights


def _implicit_model(objective: Objective, n_factors: int, n_threads: int, **options: Any) -> Any:
    from implicit.cpu.als import AlternatingLeastSquares

    return AlternatingLeastSquares(
        factors=n_factors,
        regularization=objective.regularizer.weight / objective.unobserved_weight,
        num_threads=n_threads,
        dtype=np.float32,
        **options,
    )


# Recommended by implicit, which has its own threads.
_one_blas_thread = threadpool_limits.wrap(limits=1, user_api="blas")


def _implicit(use_cg: bool) -> Callable[[Work, Report], None]:
    @_one_blas_thread
    def run(work: Work, report: Report) -> None:
        model = _implicit_model(
            work.objective, work.init[0].shape[1], work.n_threads, use_cg=use_cg,
            iterations=work.max_epochs,
        )  # fmt: skip
        model.user_factors, model.item_factors = (factors.copy() for factors in work.init)
        report(*work.init, seconds=0.0)
        total = 0.0

        def watch(_: int, seconds: float, loss: object) -> None:
            nonlocal total
            total += seconds
            report(model.user_factors, model.item_factors, seconds=total)

        weights = _implicit_weights(work.objective, work.matrix)
        model.fit(weights, show_progress=False, callback=watch)

    return run


@_one_blas_thread
def _implicit_fold(objective: Objective, matrix: Any, Q: Factors, n_threads: int) -> Factors:
    model = _implicit_model(objective, Q.shape[1], n_threads)
    model.item_factors = Q
    weights = _implicit_weights(objective, matrix)
    return np.asarray(model.recalculate_user(np.arange(matrix.shape[0]), weights))


# -- irspack: loss_type IALSPP is the formula with U = all cells --------------------------------


def _irspack_trainer(
    objective: Objective, matrix: Any, n_factors: int, n_threads: int, solver: str, steps: int
) -> Any:
    from irspack.recommenders.ials import IALSTrainer, str_to_loss_type, str_to_solver_type
    from scipy import sparse

    ones = sparse.csr_matrix(matrix, dtype=np.float32)
    ones.data[:] = 1.0
    return IALSTrainer(
        ones, n_factors, objective.unobserved_weight, objective.regularizer.weight,
        objective.regularizer.exponent, 0.1, str_to_solver_type(solver), 3, 64,
        str_to_loss_type("IALSPP"), 0, n_threads, steps, 7,
    )  # fmt: skip


def _irspack(solver: str) -> Callable[[Work, Report], None]:
    def run(work: Work, report: Report) -> None:
        trainer = _irspack_trainer(
            work.objective, work.matrix, work.init[0].shape[1], work.n_threads, solver, 5
        )
        core = trainer.core_trainer
        core.user, core.item = work.init
        report(*work.init, seconds=0.0)
        total = 0.0
        for _ in range(work.max_epochs):
            started = time.perf_counter()
            trainer.run_epoch()
            total += time.perf_counter() - started
            report(np.array(core.user), np.array(core.item), seconds=total)

    return run


def _irspack_fold(solver: str) -> Callable[..., Factors]:
    def fold(objective: Objective, matrix: Any, Q: Factors, n_threads: int) -> Factors:
        trainer = _irspack_trainer(objective, matrix, Q.shape[1], n_threads, solver, 3)
        trainer.core_trainer.item = Q
        return np.asarray(trainer.transform_user(matrix.astype(np.float32)))

    return fold


# -- cmfrec ------------------------------------------------------------------------------------


def _cmfrec(use_cg: bool) -> Callable[[Work], Fit]:
    def refit(work: Work) -> Fit:
        import cmfrec

        objective, a0 = work.objective, work.objective.unobserved_weight
        options = {
            "k": work.init[0].shape[1], "use_cg": use_cg, "finalize_chol": False, "verbose": False,
            "nthreads": work.n_threads, "precompute_for_predictions": False, "use_float": True,
        }  # fmt: skip
        entries = work.matrix.tocoo()

        def fit(n: int) -> tuple[Factors, Factors]:
            if a0:
                model = cmfrec.CMF_implicit(
                    lambda_=objective.regularizer.weight / a0, alpha=1.0 / a0 - 1.0, niter=n,
                    **options,
                )  # fmt: skip
                entries.data = np.ones_like(entries.data)
            else:
                model = cmfrec.CMF(
                    lambda_=objective.regularizer.weight, scale_lam=True, method="als",
                    user_bias=False, item_bias=False, center=False, niter=n, **options,
                )  # fmt: skip
                if objective.data == "ones":
                    entries.data = np.ones_like(entries.data)
            model.fit(entries)
            return model.A_, model.B_

        return fit

    return refit


# -- lenskit -----------------------------------------------------------------------------------


def _lenskit(work: Work, report: Report) -> None:
    os.environ["LK_NUM_THREADS"] = str(work.n_threads)
    import pandas as pd
    from lenskit.als import ImplicitMFScorer
    from lenskit.data import DatasetBuilder
    from lenskit.training import TrainingOptions

    a0, entries = work.objective.unobserved_weight, work.matrix.tocoo()
    builder = DatasetBuilder()
    builder.add_entities("user", np.arange(work.matrix.shape[0]))
    builder.add_entities("item", np.arange(work.matrix.shape[1]))
    builder.add_interactions(
        "pair", pd.DataFrame({"user_id": entries.row, "item_id": entries.col}),
        entities=["user", "item"], missing="error", default=True,
    )  # fmt: skip
    scorer = ImplicitMFScorer(
        embedding_size=work.init[0].shape[1], epochs=work.max_epochs, weight=1.0 / a0 - 1.0,
        regularization=work.objective.regularizer.weight / a0,
    )  # fmt: skip
    trainer = scorer.create_trainer(builder.build(), TrainingOptions(rng=0))
    trainer.load_parameters(
        dict(zip(("user_embeddings", "item_embeddings"), map(np.copy, work.init), strict=True))
    )
    report(*work.init, seconds=0.0)
    total = 0.0
    for _ in range(work.max_epochs):
        started = time.perf_counter()
        trainer.train_epoch()
        total += time.perf_counter() - started
        report(scorer.user_embeddings, scorer.item_embeddings, seconds=total)


# -- LIBMF -------------------------------------------------------------------------------------


def _libmf(work: Work) -> Fit:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SyntaxWarning of its source, which compares with "is"
        from libmf import mf

    entries, lam = work.matrix.tocoo(), work.objective.regularizer.weight
    triples = np.column_stack([entries.row, entries.col, entries.data]).astype(np.float32)

    def padded(factors: Factors, n: int) -> Factors:
        full = np.zeros((n, factors.shape[1]), dtype=np.float32)
        full[: len(factors)] = np.nan_to_num(factors, nan=0.0)
        return full

    def fit(n: int) -> tuple[Factors, Factors]:
        engine = mf.MF(
            k=work.init[0].shape[1], nr_threads=work.n_threads, nr_iters=n, eta=0.1, quiet=True,
            lambda_p1=0.0, lambda_q1=0.0, lambda_p2=lam, lambda_q2=lam,
        )  # fmt: skip
        engine.fit(triples)
        P, Q = engine.p_factors(), engine.q_factors()
        if np.isnan(Q).all():
            raise FloatingPointError("all factors are nan: LIBMF divides by the values' deviation")
        return padded(P, work.matrix.shape[0]), padded(Q, work.matrix.shape[1])

    return fit


# -- Spark MLlib -------------------------------------------------------------------------------


def _spark(work: Work) -> Fit:
    return _spark_fit(work, {"regParam": work.objective.regularizer.weight})


def _spark_implicit(work: Work) -> Fit:
    a0, weight = work.objective.unobserved_weight, work.objective.regularizer.weight
    return _spark_fit(
        work, {"implicitPrefs": True, "alpha": 1.0 / a0 - 1.0, "regParam": weight / a0}
    )


def _spark_fit(work: Work, options: dict[str, Any]) -> Fit:
    import pandas as pd
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master(f"local[{work.n_threads}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "6g")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    entries = work.matrix.tocoo()
    ones = work.objective.data == "ones"
    values = np.ones(entries.nnz, np.float32) if ones else entries.data.astype(np.float32)
    frame = session.createDataFrame(
        pd.DataFrame({"user": entries.row, "item": entries.col, "rating": values})
    ).cache()
    frame.count()
    k = work.init[0].shape[1]

    def collected(factors: Any, n: int) -> Factors:
        table, full = factors.toPandas(), np.zeros((n, k), dtype=np.float32)
        full[table["id"].to_numpy()] = np.stack(table["features"].to_numpy())
        return full

    def fit(n: int) -> tuple[Factors, Factors]:
        model = ALS(
            rank=k, maxIter=n, numUserBlocks=work.n_threads, numItemBlocks=work.n_threads, seed=0,
            **options,
        ).fit(frame)  # fmt: skip
        n_rows, n_cols = work.matrix.shape
        return collected(model.userFactors, n_rows), collected(model.itemFactors, n_cols)

    return fit


_OWN_START = " Own initial factors; refitted for each point."
_IMPLICIT = (
    "Missing cells have weight 1, so F is divided by a0: confidence 1/a0, regularization "
    "lam/a0. One BLAS thread, as it recommends. float32."
)
_IRSPACK = "loss_type IALSPP: alpha0 = a0, reg = lam, nu = exponent. float32."
_CMFREC = (
    "CMF_implicit: alpha = 1/a0 - 1, lambda_ = lam/a0 (missing cells have weight 1). CMF: lambda_ "
    "= lam with scale_lam, no biases, not centred. float32."
)
_EXPLICIT = ("missing", "observed", "ratings")

PEERS = [
    Entry("implicit CG", _implicit(True), problems=("missing",), notes=_IMPLICIT + " 3 CG steps."),
    Entry("implicit Cholesky", _implicit(False), problems=("missing",), notes=_IMPLICIT),
    Entry("implicit recalculate_user", fold=_implicit_fold, problems=("fold-missing",),
          notes=_IMPLICIT),
    Entry("irspack CG", _irspack("CG"), problems=("all",), notes=_IRSPACK + " 3 CG steps."),
    Entry("irspack Cholesky", _irspack("CHOLESKY"), fold=_irspack_fold("CHOLESKY"),
          problems=("all", "fold-all"), notes=_IRSPACK),
    Entry("irspack iALS++", _irspack("IALSPP"), problems=("all",),
          notes=_IRSPACK + " Blocks of 64."),
    Entry("irspack transform_user CG", fold=_irspack_fold("CG"), problems=("fold-all",),
          notes=_IRSPACK + " 3 CG steps from zero."),
    Entry("cmfrec CG", refit=_cmfrec(True), problems=_EXPLICIT,
          notes=_CMFREC + " 3 CG steps." + _OWN_START),
    Entry("cmfrec Cholesky", refit=_cmfrec(False), problems=_EXPLICIT, notes=_CMFREC + _OWN_START),
    Entry("lenskit ImplicitMF", _lenskit, problems=("missing",),
          notes="weight = 1/a0 - 1, regularization = lam/a0. float32."),
    Entry("LIBMF", refit=_libmf, problems=("observed", "ratings"),
          notes="lambda_p2 = lambda_q2 = lam, for each pair as with exponent 1; eta = 0.1. The "
          "PyPI binding, built without AVX, takes 1.3 to 1.9 times as long as an AVX build." +
          _OWN_START),
    Entry("Spark MLlib ALS", refit=_spark, problems=("observed", "ratings"),
          notes="regParam = lam, multiplied by the number of pairs as with exponent 1. A local "
          "session; float32." + _OWN_START),
    Entry("Spark MLlib implicit ALS", refit=_spark_implicit, problems=("unpenalised",),
          notes="implicitPrefs, alpha = 1/a0 - 1, regParam = lam/a0, multiplied by the number of "
          "pairs, which equals no exponent if a0 > 0. A local session; float32." + _OWN_START),
]  # fmt: skip
