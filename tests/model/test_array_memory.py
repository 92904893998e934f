"""Models whose large arrays are in files: the same bits, and little ordinary memory."""

import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from twofold import L2, FactorModel, Objective, Pairings
from twofold._kernels import mapped
from twofold.model import popularity
from twofold.solvers import ALS

N_ROWS, N_COLS = 6_000, 4_000
OBJECTIVE = Objective(regularizer=L2(0.1), unobserved_weight=0.1)
PATTERN = (np.arange(N_ROWS)[:, np.newaxis] * 7 + np.arange(0, N_COLS, 400)) % N_COLS
TRAIN = Pairings.from_arrays(np.repeat(np.arange(N_ROWS), PATTERN.shape[1]), PATTERN.ravel())
NEW = Pairings.from_arrays([0, 0, 1], [5, 6, 7])


def is_mapped(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, memoryview | mapped.mmap.mmap)


@pytest.fixture(params=[64, 60])
def models(request, tmp_path, monkeypatch):
    """A model of ordinary memory and one with the arrays from 8 kB on in files."""
    monkeypatch.setattr(mapped, "_LEAST_BYTES", 1 << 13)
    solver = ALS(n_factors=request.param, max_epochs=2, rng=0)
    in_files = replace(solver, array_folder=str(tmp_path))
    return [FactorModel(OBJECTIVE, one).fit(TRAIN) for one in (solver, in_files)]


def test_what_requests_prepare_is_in_files_with_the_same_bits(models):
    ordinary, in_files = (
        [model._fitted.system.system.rotated, model._fitted.screen.codes, model.row_factors]
        for model in models
    )
    for own, expected in zip(in_files, ordinary, strict=True):
        assert is_mapped(own)
        assert not is_mapped(expected)
        assert own.tobytes() == expected.tobytes()


REQUESTS = {
    "save": lambda model, path: model.save(path),
    "save for serving": lambda model, path: model.save(path, serving=True),
    "fold in": lambda model, path: model.fold_in(NEW),
    "one trained row": lambda model, path: model.recommend([5]),
    "a new row": lambda model, path: model.recommend_new([5, 6]),
    "similar": lambda model, path: model.similar_cols([5]),
    "predict": lambda model, path: model.predict(NEW),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_ordinary_memory_of_requests(name, models, tmp_path, monkeypatch):
    monkeypatch.setattr(popularity, "_PAIRS", 1000)
    solution, solver = models[1].solution, models[1].solver
    peaks = []
    for _ in range(4):
        model = FactorModel.from_solution(solution, TRAIN, OBJECTIVE, solver)
        tracemalloc.start()
        REQUESTS[name](model, tmp_path / "m")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    per_row_and_column = 40 if name != "predict" else 100  # of solving all rows
    of_coverage = 100_000 if "COVERAGE_RUN" in os.environ else 0  # which notes the lines that run
    # The first one loads the kernels, and other threads, as those of a cluster, need memory, too.
    assert per_row_and_column * (N_ROWS + N_COLS) + of_coverage > min(peaks)


def test_a_model_from_another_machine_needs_no_folder(models, tmp_path):
    ordinary, in_files = models
    folder = tmp_path / "only there"
    folder.mkdir()
    in_files.solver = replace(in_files.solver, array_folder=str(folder))
    FactorModel.from_solution(in_files.solution, TRAIN, OBJECTIVE, in_files.solver).save(
        tmp_path / "m"
    )
    folder.rmdir()
    loaded = FactorModel.load(tmp_path / "m")
    assert not is_mapped(loaded.row_factors)
    assert loaded.row_factors.tobytes() == ordinary.row_factors.tobytes()


def test_pairs_are_counted_in_parts(monkeypatch):
    matrix = sparse.csr_array(np.eye(3)[[0, 1, 1, 2, 2, 2]])
    for size in (1, 4, 6, 100):
        monkeypatch.setattr(popularity, "_PAIRS", size)
        assert popularity.count_rows(matrix).tolist() == [1, 2, 3]
