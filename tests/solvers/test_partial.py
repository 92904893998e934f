"""A run that is killed continues from its last half-step, with the bits of a whole run."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import twofold
from twofold import L2, Objective
from twofold.exceptions import CheckpointWarning, InvalidInputError
from twofold.solvers import ALS, Solution, partial
from twofold.solvers.operations import Operations
from twofold.solvers.partial import PartialEpoch

OBJECTIVE = Objective(regularizer=L2(0.05))
R = sparse.csr_array((np.random.default_rng(0).random((40, 30)) < 0.3).astype(np.float64))
N_EPOCHS = 12  # of which one is rejected and repeated without extrapolation
ORIGINAL = Operations.solved


def solver(folder, **options):
    return ALS(
        n_factors=6, max_epochs=N_EPOCHS, rng=0, n_threads=1, array_folder=str(folder), **options
    )


@pytest.fixture
def interrupt(monkeypatch):
    """Return a function that counts the half-steps, and interrupts the one of a number."""
    calls = []

    def solved(self, axis, *arguments):
        if len(calls) == interrupt.at:
            raise KeyboardInterrupt
        calls.append(axis)
        return ORIGINAL(self, axis, *arguments)

    def interrupt(at):
        calls.clear()
        interrupt.at = at
        return calls

    monkeypatch.setattr(Operations, "solved", solved)
    return interrupt


def same(found, expected):
    return all(
        np.array_equal(getattr(found, name), getattr(expected, name))
        for name in ("row_factors", "col_factors")
    ) and [one.total for one in found.history] == [one.total for one in expected.history]


@pytest.mark.parametrize("options", [{}, {"row_solver": "direct", "acceleration": None}])
def test_no_half_step_is_repeated(options, tmp_path, interrupt):
    calls, path = interrupt(-1), tmp_path / "run.twofold"
    whole = solver(tmp_path, **options).solve(OBJECTIVE, R)
    n_calls = len(calls)
    repeated = []
    has_rejected_epochs = n_calls > 2 * N_EPOCHS
    assert has_rejected_epochs == (not options)
    for at in range(n_calls):
        interrupt(at)
        with pytest.raises(KeyboardInterrupt):
            solver(tmp_path, **options).solve(OBJECTIVE, R, checkpoint=path)
        interrupt(-1)
        found = solver(tmp_path, **options).solve(
            OBJECTIVE, R, init=Solution.load(path), checkpoint=path
        )
        assert same(found, whole)
        assert list(tmp_path.iterdir()) == [path]
        repeated.append(len(calls) - (n_calls - at))
    assert set(repeated) <= {0, 1}
    # Columns are not saved before the end of an epoch: those of the rejected one are repeated if
    # the next half-step has not finished.
    assert sum(repeated) == has_rejected_epochs


def test_a_file_of_another_run_is_ignored(tmp_path, interrupt):
    interrupt(5)
    path = tmp_path / "run.twofold"
    with pytest.raises(KeyboardInterrupt):
        solver(tmp_path).solve(OBJECTIVE, R, checkpoint=path)
    calls = interrupt(-1)
    assert Path(f"{path}.part").exists()
    other = Objective(regularizer=L2(0.06))
    expected = solver(tmp_path).solve(other, R)
    n_calls = len(calls)
    interrupt(-1)
    assert same(solver(tmp_path).solve(other, R, checkpoint=path), expected)
    assert len(calls) == n_calls


@pytest.mark.parametrize("content", [b"", b"no file of this kind", None])
def test_a_damaged_file_is_ignored(content, tmp_path):
    one = PartialEpoch(str(tmp_path / "part"), {"epoch": 3})
    rows = np.ones((4, 8))
    assert one.result("plain", rows.copy).tolist() == rows.tolist()
    assert one.has("plain")
    whole = (tmp_path / "part").read_bytes()
    (tmp_path / "part").write_bytes(whole[:-5] if content is None else content)
    assert not one.has("plain")
    assert one.result("plain", (2.0 * rows).copy)[0, 0] == 2.0


def test_without_checkpoint_or_folder_nothing_is_saved(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a file was written")

    monkeypatch.setattr(partial, "write_file", refuse)
    solver(tmp_path).solve(OBJECTIVE, R)
    ALS(n_factors=6, max_epochs=2, rng=0).solve(OBJECTIVE, R, checkpoint=tmp_path / "run")


def test_a_full_disk_is_a_warning(tmp_path, monkeypatch):
    def no_space(*arguments):
        raise InvalidInputError("No space left on device")

    monkeypatch.setattr(partial, "write_file", no_space)
    with pytest.warns(CheckpointWarning, match="half an epoch was not saved: No space"):
        found = solver(tmp_path).solve(OBJECTIVE, R, checkpoint=tmp_path / "run")
    assert found.n_epochs == N_EPOCHS


KILLED = """
import os, signal, sys
import numpy as np
from scipy import sparse
from test_partial import OBJECTIVE, R, solver
from twofold.solvers.operations import Operations

calls, original = [], Operations.solved

def solved(self, *arguments):
    calls.append(arguments[0])
    found = original(self, *arguments)
    if len(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return found

Operations.solved = solved
solver(sys.argv[1]).solve(OBJECTIVE, R, checkpoint=sys.argv[1] + "/run.twofold")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("at", [6, 7])
def test_sigkill(at, tmp_path, interrupt):
    folders = [str(Path(twofold.__file__).parents[1]), str(Path(__file__).parent)]
    code = f"import sys; sys.path[:0] = {folders!r}\n{KILLED}"
    done = subprocess.run([sys.executable, "-c", code, tmp_path, str(at)], check=False)
    assert done.returncode == -signal.SIGKILL
    calls, path = interrupt(-1), tmp_path / "run.twofold"
    whole = solver(tmp_path).solve(OBJECTIVE, R)
    n_calls = len(calls)
    interrupt(-1)
    found = solver(tmp_path).solve(OBJECTIVE, R, init=Solution.load(path), checkpoint=path)
    assert same(found, whole)
    assert len(calls) == n_calls - (at - 1)  # all but the half-step that was killed
