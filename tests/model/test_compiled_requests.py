"""Requests to a model compile nothing after `warm_up`."""

import pytest
from subprocesses import run_python

pytest.importorskip("sqlalchemy")

SERVED = """
    import importlib, pkgutil
    from numba.core.dispatcher import Dispatcher
    import twofold._kernels
    from twofold import FactorModel, Pairings
    from twofold.model import Popularity
    from twofold.model.warm_up import _KINDS, _run
    from twofold.solvers import ALS

    def signatures():
        modules = [
            importlib.import_module(module.name)
            for module in pkgutil.walk_packages(twofold._kernels.__path__, "twofold._kernels.")
        ]
        return {
            f"{kernel.__module__}.{kernel.__name__} {signature}"
            for module in modules
            for kernel in vars(module).values()
            if isinstance(kernel, Dispatcher)
            for signature in kernel.signatures
        }

    for kind in _KINDS:
        _run(kind, "float32")
    compiled = signatures()
    assert len(compiled) > 10

    rows, cols = np.nonzero(np.random.default_rng(0).random((50, 60)) < 0.3)
    pairings = Pairings.from_arrays(rows, cols)
    names = Pairings.from_arrays(rows.astype(str), cols.astype(str))
    for trained, unknown in ((pairings, [999]), (names, ["nothing"])):
        nothing = Pairings.from_arrays(trained.row_ids, unknown * trained.shape[0])
        model = FactorModel(solver=ALS(n_factors=8, max_epochs=1, rng=0)).fit(trained)
        model.save("m")
        model.save("served", serving=True)
        for one in (model, FactorModel.load("m"), FactorModel.load("m", mmap=True)):
            ids, cols = one.row_ids, one.col_ids
            for some in (ids[:1], ids[:30]):
                one.recommend(some, candidates=cols[:9], exclude=cols[:3], fallback="popular")
                one.recommend(some, candidates=trained, exclude=trained)
                one.recommend(some, n=1000)
                one.similar_rows(some)
                one.score(some, cols[: some.size])
            one.recommend_rows(cols[:3])
            one.explain(ids[0], cols[0])
            one.predict(trained)
            one.partial_fit(trained.take_rows([0, 3]))
        for one in (FactorModel.load("served"), FactorModel.load("served", mmap=True), model):
            new, cols = trained.take_rows([1]), one.col_ids
            one.recommend_new(cols[:3], fallback="popular")
            one.recommend_new(cols[:3], candidates=cols[:9], exclude=cols[:3])
            one.recommend(new)
            one.recommend(trained)
            one.fold_in(trained)
            one.value(trained)
            one.predict(trained, seen=trained)
            one.similar_cols(cols[:3])
            one.explain(new, cols[0])
            one.recommend_new(unknown, fallback="popular")
            one.recommend(nothing, fallback="popular")
        popularity = Popularity().fit(trained)
        popularity.recommend(trained)
        popularity.recommend(trained.row_ids[:1])
    more = signatures() - compiled
    assert not more, more
"""


def test_nothing_of_a_served_model_is_compiled_after_warm_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_python(SERVED, timeout=300.0)  # it compiles everything if the cache is empty
