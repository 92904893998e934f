"""ALS with its arrays in files gives the bits of ordinary memory, and leaves nothing behind."""

import errno
import gc
import os
import re
import sys
import tracemalloc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from twofold import L2, Objective
from twofold._kernels import aligned, mapped
from twofold.exceptions import InvalidInputError
from twofold.objective import Problem, side
from twofold.solvers import ALS, Solution
from twofold.solvers.merged import MergedProblem

N_ROWS, N_COLS = 60, 90
OBJECTIVES = {
    "implicit": Objective(regularizer=L2(0.1), unobserved_weight=0.1),
    "explicit": Objective(regularizer=L2(0.3), data="targets"),
    "missing": Objective(regularizer=L2(0.1), unobserved_weight=0.1, unobserved="missing"),
    "biases": Objective(
        regularizer=L2(0.2), data="targets", biases=True, unobserved_weight=0.1,
        unobserved="missing",
    ),
    "centers": Objective(
        regularizer=L2(0.2, row_center=np.full((N_ROWS, 5), 0.2)), unobserved_weight=0.1
    ),
    "nonnegative": Objective(regularizer=L2(0.1), unobserved_weight=0.1, nonnegative=True),
    "unpenalised": Objective(regularizer=L2(1e-9), unobserved_weight=1e-6),
}  # fmt: skip
WEIGHTS = Objective(regularizer=L2(0.1), unobserved_weight=0.1, data="weights")
OF_A_THREAD = 1 << 20  # bytes


def matrix(seed=0):
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 6, (N_ROWS, N_COLS)) * (rng.random((N_ROWS, N_COLS)) < 0.2)
    dense[3] = dense[:, 5] = 0  # without entries
    return sparse.csr_array(dense.astype(float))


def ones_of(objective, R):
    return R if objective.data == "targets" else (R > 0).astype(float)


def is_mapped(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, memoryview | mapped.mmap.mmap)


def assert_equal(found, expected):
    for name in ("row_factors", "col_factors"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    for name, array in expected.memory.items():
        assert np.array_equal(found.memory[name], array)
    assert [record.total for record in found.history] == [one.total for one in expected.history]
    assert found.fingerprint == expected.fingerprint


@pytest.fixture
def all_mapped(monkeypatch):
    """Place arrays of every size in files."""
    monkeypatch.setattr(mapped, "_LEAST_BYTES", 1)


@pytest.mark.parametrize("row_solver", ["auto", "direct", "cg"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_bits_are_those_of_ordinary_memory(name, row_solver, tmp_path, all_mapped):
    objective = OBJECTIVES[name]
    R = ones_of(objective, matrix())
    for dtype, init in (("float32", "spectral"), ("float64", "random")):
        solver = ALS(
            n_factors=5, max_epochs=4, rng=0, row_solver=row_solver, dtype=dtype, init=init
        )
        found = replace(solver, array_folder=str(tmp_path)).solve(objective, R)
        assert is_mapped(found.row_factors)
        assert is_mapped(found.memory["previous"])
        expected = solver.solve(objective, R)
        assert not is_mapped(expected.row_factors)
        assert_equal(found, expected)


@pytest.mark.parametrize("row_solver", ["auto", "direct", "cg"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_bits_do_not_depend_on_the_parts(name, row_solver, monkeypatch):
    objective = OBJECTIVES[name]
    R = ones_of(objective, matrix(1))
    k = 5 if name == "centers" else 8
    solver = ALS(n_factors=k, max_epochs=4, rng=0, row_solver=row_solver)
    expected = solver.solve(objective, R)
    monkeypatch.setattr(side, "_BLOCK", 4)
    for size in (8, N_ROWS - 4, 1 << 16):
        monkeypatch.setattr(side, "_PART", size)
        assert_equal(solver.solve(objective, R), expected)


@pytest.mark.parametrize("n_rows", [0, 1, 20])
def test_every_row_with_entries_is_in_one_part(n_rows, monkeypatch):
    monkeypatch.setattr(side, "_BLOCK", 4)
    monkeypatch.setattr(side, "_PART", 8)
    counts = np.random.default_rng(0).integers(0, 4, n_rows)
    margin = side.Margin(counts, counts.astype(float), np.ones(n_rows))
    parts = margin.solve_parts
    rows = np.concatenate([listed for _, listed in parts])
    assert sorted(rows) == np.flatnonzero(counts).tolist()
    assert all(np.isin(listed, np.arange(n_rows)[part]).all() for part, listed in parts)
    assert (np.diff(rows // 4) >= 0).all()
    assert (np.diff(counts[rows])[np.diff(rows // 4) == 0] <= 0).all()


def test_merged_problems(tmp_path, all_mapped):
    objective = OBJECTIVES["implicit"]
    R = sparse.hstack([sparse.csr_array(np.eye(N_ROWS)[:, np.repeat(range(9), 9)]), matrix() > 0])
    assert isinstance(MergedProblem.reduced(Problem.of(objective, R)), MergedProblem)
    solver = ALS(n_factors=8, max_epochs=5, rng=0)
    found = replace(solver, array_folder=str(tmp_path)).solve(objective, R)
    assert is_mapped(found.col_factors)
    assert_equal(found, solver.solve(objective, R))


@pytest.mark.parametrize("folders", [(True, False), (False, True), (True, True)])
def test_resuming(folders, tmp_path, all_mapped):
    objective, R = OBJECTIVES["implicit"], matrix() > 0
    solver = ALS(n_factors=8, max_epochs=6, rng=0)
    first, second = (
        replace(solver, array_folder=str(tmp_path) if is_in_folder else None)
        for is_in_folder in folders
    )
    part = replace(first, max_epochs=3).solve(objective, R, checkpoint=tmp_path / "checkpoint")
    whole = solver.solve(objective, R)
    path = tmp_path / "checkpoint"
    mapped_part = Solution.load(path, mmap=True)
    assert is_mapped(mapped_part.row_factors)
    for init in (part, Solution.load(path), mapped_part):
        assert_equal(second.solve(objective, R, init), whole)


def test_small_arrays_stay_in_memory(tmp_path):
    solution = ALS(n_factors=8, max_epochs=1, rng=0, array_folder=str(tmp_path)).solve(
        OBJECTIVES["implicit"], matrix() > 0
    )
    assert not is_mapped(solution.row_factors)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system has no /proc")
@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ZeroDivisionError])
def test_no_file_is_left(error, tmp_path, all_mapped):
    def open_files():
        links = map(os.path.realpath, Path("/proc/self/fd").iterdir())
        return [link for link in links if str(tmp_path) in link]

    def callback(epoch, solution):
        assert str(tmp_path) in Path("/proc/self/maps").read_text()
        assert not list(tmp_path.iterdir())  # Files without a name do not outlast the process.
        assert open_files()
        if epoch == 2 and error is not None:
            raise error

    solver = ALS(n_factors=8, max_epochs=3, rng=0, n_threads=1, array_folder=str(tmp_path))
    objective, R = OBJECTIVES["implicit"], matrix() > 0
    if error is None:
        solver.solve(objective, R, callback=callback)
    else:
        with pytest.raises(error):
            solver.solve(objective, R, callback=callback)
    gc.collect()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    assert not open_files()
    assert not is_mapped(aligned.empty_aligned((100, 8), np.float32))  # The context has ended.


def test_size_of_the_files(tmp_path, monkeypatch):
    """No more than the formula of the documentation is in files during the epochs.

    With one thread, because an idle thread of the pool may hold its last arguments a little longer.
    """
    sizes, peak = {}, [0]
    width = 8 * np.dtype(np.float32).itemsize

    def counted(n_bytes):
        memory = new_memory(n_bytes)
        if memory is not None:
            sizes[id(memory)] = n_bytes
            weakref.finalize(memory, sizes.pop, id(memory))
            peak[0] = max(peak[0], sum(sizes.values()))
        return memory

    new_memory = mapped.mapped_memory
    monkeypatch.setattr(aligned, "mapped_memory", counted)
    monkeypatch.setattr(mapped, "_LEAST_BYTES", min(N_ROWS, N_COLS) * width)
    solver = ALS(n_factors=8, max_epochs=12, rng=0, n_threads=1, array_folder=str(tmp_path))

    def callback(epoch, solution):
        if epoch == 0:
            peak[0] = 0

    R = matrix() > 0
    solver.solve(OBJECTIVES["implicit"], R, callback=callback)
    n_rows_of_files = 2 * N_ROWS + 3 * N_COLS + 2 * max(N_ROWS, N_COLS)
    assert peak[0] == width * n_rows_of_files + 4 * R.nnz


@pytest.mark.parametrize(
    ("name", "is_merged"),
    [
        *((name, True) for name in ("implicit", "explicit", "missing", "weights", "signed")),
        *((name, False) for name in ("implicit", "missing", "weights", "signed", "biases")),
    ],
)
def test_ordinary_memory_of_a_run(name, is_merged, tmp_path, monkeypatch):
    """One byte for each entry and 100 for each row and column is in memory at a time.

    With one thread, because each has working memory.
    """
    R, objective = long_matrix(is_merged), OBJECTIVES.get(name) or replace(WEIGHTS, data=name)
    if objective.data == "ones":
        R.data[:] = 1.0
    monkeypatch.setattr(mapped, "_LEAST_BYTES", 1 << 15)
    solver = ALS(n_factors=8, max_epochs=3, rng=0, n_threads=1, array_folder=str(tmp_path))
    solver.solve(objective, R)  # compiles
    tracemalloc.start()
    solution = solver.solve(objective, R)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert bool(solution.memory["is_merged"]) == is_merged
    assert peak < R.nnz + 100 * sum(R.shape) + OF_A_THREAD


def long_matrix(has_equal_columns):
    """Return a matrix of 400,000 entries with 32-bit indices."""
    rng = np.random.default_rng(0)
    values = sparse.random_array(
        (2_000, 4_000), density=0.05, random_state=rng, data_sampler=rng.random
    )
    if has_equal_columns:
        equal = sparse.csr_array(np.eye(1, 2_000).T[:, np.zeros(2_000, int)])
        values = sparse.hstack([values, equal])
    R = sparse.csr_array(values)
    R.data = 1.0 + np.floor(4.0 * R.data)
    R.indices, R.indptr = R.indices.astype(np.int32), R.indptr.astype(np.int32)
    return R


@pytest.mark.parametrize("folder", ["missing", 7, "file"])
def test_a_wrong_folder(folder, tmp_path):
    (tmp_path / "file").touch()
    given = folder if folder == 7 else str(tmp_path / folder)
    with pytest.raises(InvalidInputError, match=r"array_folder is .*give an existing folder"):
        ALS(array_folder=given).solve(Objective(), matrix() > 0)


@pytest.mark.plain
def test_a_full_disk(tmp_path, all_mapped, monkeypatch):
    def no_space(descriptor, offset, n_bytes):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_space, raising=False)
    solver = ALS(n_factors=8, max_epochs=1, rng=0, array_folder=str(tmp_path))
    with pytest.raises(InvalidInputError, match=r"cannot hold an array of .*No space left"):
        solver.solve(OBJECTIVES["implicit"], matrix() > 0)


@pytest.mark.plain
def test_systems_that_cannot_reserve_blocks(tmp_path, all_mapped, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    with mapped.arrays_in(str(tmp_path)):
        array = aligned.empty_aligned((40_000, 8), np.float64)
    assert is_mapped(array)
    assert aligned.address(array) % aligned.LINE == 0
    array[...] = 1.0
    assert array.sum() == array.size


@pytest.mark.plain
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/smaps")
def test_released_pages_leave_the_process_and_are_read_again(tmp_path):
    with mapped.arrays_in(str(tmp_path)):
        array = aligned.empty_aligned((1 << 18, 8), np.float32)
    array[:] = np.arange(8)
    view = array[5:, 2:]

    def resident():
        regions = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
        (own,) = [one for one in regions if str(tmp_path) in one]
        return int(re.search(r"^Rss: +(\d+) kB", own, re.MULTILINE)[1])

    assert resident() == 8192
    mapped.release_pages(view)
    assert resident() == 0
    assert (view == np.arange(2, 8)).all()
    mapped.release_pages(np.ones(3))  # which is in no file
