"""What holds for every kind of file: damage, a killed process and a full disk."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from twofold import L2, FactorModel, Objective, Pairings
from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.io import (
    read_csv,
    read_mpd,
    read_mtx,
    read_npz,
    read_parquet,
    read_sql,
    write_mtx,
    write_sql,
)
from twofold.model import write_factors
from twofold.solvers import ALS, GD, SGD, Solution

KINDS = ["pairings", "texts", "npz", "model"]


@pytest.fixture(scope="module")
def model() -> FactorModel:
    rng = np.random.default_rng(0)
    pairings = Pairings.from_arrays(rng.integers(0, 20, 150), rng.integers(0, 30, 150))
    return FactorModel(Objective(regularizer=L2(0.1)), ALS(n_factors=4, max_epochs=2, rng=0)).fit(
        pairings
    )


def some_pairings(kind: str) -> Pairings:
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, 20, 150), rng.integers(0, 30, 150)
    if kind == "texts":
        return Pairings.from_arrays([f"ö{row}" for row in rows], [f"t{col}" for col in cols])
    return Pairings.from_arrays(rows, cols, rows + 0.5)


def save(kind: str, path: Path, model: FactorModel) -> None:
    if kind == "model":
        model.save(path)
    elif kind == "npz":
        some_pairings(kind).save(path)
    else:
        some_pairings(kind).save(path)


def content(kind: str, path: Path) -> list[object]:
    """Everything that is in the file, to compare."""
    found: list[object] = []
    if kind == "model":
        model = FactorModel.load(path)
        solution, pairings = model.solution, model.pairings
        found += [repr(model.objective), repr(model.solver), solution.to_meta()]
        found += [array.tolist() for array in (model.row_factors, model.col_factors)]
        found += [{name: array.tolist() for name, array in solution.memory.items()}]
    else:
        pairings = read_npz(path) if kind == "npz" else Pairings.open(path, verify=True)
    matrix = pairings.matrix
    found += [array.tolist() for array in (matrix.indptr, matrix.indices, matrix.data)]
    found += [pairings.row_ids.tolist(), pairings.col_ids.tolist(), pairings.n_dropped_pairs]
    return found


def mutated(whole: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits, zero a part (mostly of the beginning), cut the end off or add to it."""
    damaged = bytearray(whole)
    what = rng.integers(5)
    if what == 0:
        return whole[: rng.integers(len(whole))]
    if what == 1:
        return whole + rng.bytes(rng.integers(1, 200))
    if what == 2:
        start = int(rng.integers(min(1000, len(whole))))
        stop = min(len(whole), start + int(rng.integers(1, 40)))
        damaged[start:stop] = bytes(stop - start)
    else:
        limit = len(whole) if what == 3 else min(1000, len(whole))
        for at in rng.integers(limit, size=rng.integers(1, 4)):
            damaged[at] ^= 1 << rng.integers(8)
    return bytes(damaged)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_noticed_or_does_not_matter(kind, tmp_path, model):
    path = tmp_path / "file"
    save(kind, path, model)
    whole, right = path.read_bytes(), content(kind, path)
    refused = 0
    for seed in range(200):
        path.write_bytes(mutated(whole, np.random.default_rng(seed)))
        try:
            found = content(kind, path)
        except FileFormatError:
            refused += 1
        else:
            assert found == right, f"seed {seed}"
    assert refused > 100


READERS = {
    "pairings": Pairings.open, "model": FactorModel.load, "solution": Solution.load,
    "npz": read_npz, "numpy": read_npz, "scipy": read_npz,
}  # fmt: skip


@pytest.mark.parametrize("kind", READERS)
def test_flipped_bits_in_headers_of_large_arrays(kind, tmp_path):
    """Checksums of arrays beyond 4 KB are compared after their headers are parsed."""
    path, ids = tmp_path / "file.npz", np.arange(3000)
    pairings = Pairings.from_arrays(ids, ids % 1999, ids + 0.5)
    if kind in ("model", "solution"):
        model = FactorModel(Objective(), ALS(n_factors=4, max_epochs=1, rng=0)).fit(pairings)
        (model if kind == "model" else model.solution).save(path)
    elif kind == "numpy":
        np.savez(path, rows=ids, cols=ids % 1999, values=ids + 0.5)
    elif kind == "scipy":
        sparse.save_npz(path, pairings.matrix, compressed=False)
    else:
        pairings.save(path)
    whole = path.read_bytes()
    mark = b"{'descr'" if kind in ("numpy", "scipy") else b'"offset"'
    starts = [place for place in range(len(whole)) if whole.startswith(mark, place)]
    assert len(starts) >= 2
    rng = np.random.default_rng(0)
    for start in starts:
        for at, bit in zip(rng.integers(70, size=25), rng.integers(8, size=25), strict=True):
            damaged = bytearray(whole)
            damaged[start + at] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(FileFormatError):
                READERS[kind](path)


@pytest.mark.parametrize("kind", ["pairings", "texts"])
def test_without_verifying_damage_leaves_a_valid_matrix(kind, tmp_path, model):
    path = tmp_path / "file"
    save(kind, path, model)
    whole, opened = path.read_bytes(), 0
    for seed in range(200):
        path.write_bytes(mutated(whole, np.random.default_rng(seed)))
        try:
            found = Pairings.open(path)
        except FileFormatError:
            continue
        opened += 1
        found.matrix.check_format(full_check=True)
        assert found.matrix.shape == found.shape == some_pairings(kind).shape
        assert [len(set(ids.tolist())) for ids in (found.row_ids, found.col_ids)] == list(
            found.shape
        )
        assert found.take_rows([3, 0]).matrix.tocsc().shape[0] == 2
    assert opened > 20


@pytest.mark.parametrize("solver", [ALS, SGD, GD])
def test_solvers_make_the_same_of_a_mapped_cache(solver, tmp_path):
    pairings = some_pairings("pairings")
    pairings.save(tmp_path / "a")
    made = [
        solver(n_factors=4, max_epochs=2, rng=0).solve(Objective(data="targets"), matrix)
        for matrix in (pairings.matrix, Pairings.open(tmp_path / "a").matrix)
    ]
    np.testing.assert_array_equal(made[0].row_factors, made[1].row_factors)
    np.testing.assert_array_equal(made[0].col_factors, made[1].col_factors)


SAVE_AND_SAVE = """
import sys
import numpy as np
from twofold import Pairings
ids = np.arange(300_000)
both = [Pairings.from_arrays(ids, ids % 7 + turn) for turn in (0, 1)]
both[0].save(sys.argv[1])
print(flush=True)
while True:
    for pairings in both:
        pairings.save(sys.argv[1])
"""


def killed_while_saving(path: Path, rng: np.random.Generator) -> None:
    child = subprocess.Popen([sys.executable, "-c", SAVE_AND_SAVE, str(path)], stdout=-1)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"\n"
        time.sleep(rng.uniform(0, 0.2))
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    found = Pairings.open(path, verify=True)
    assert found.n_pairs == 300_000
    assert found.col_ids.tolist() in ([*range(7)], [*range(1, 8)])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_process_leaves_the_old_file_or_the_new_one(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(5):
        killed_while_saving(tmp_path / "a.pairings", rng)


# What a full disk does, without one: files cannot grow beyond 64 KiB.
ON_A_FULL_DISK = """
import json, resource, sys
import numpy as np
from twofold import FactorModel, Pairings
from twofold.exceptions import TwofoldError
from twofold.io import write_mtx, write_sql
from twofold.model import write_factors
folder = sys.argv[1]
ids = np.arange(20_000)
pairings, model = Pairings.from_arrays(ids, ids), FactorModel.load(folder + "/model")
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
errors = []
for name in ("old", "new"):
    for write in (
        lambda: pairings.save(f"{folder}/{name}.pairings"),
        lambda: model.save(f"{folder}/{name}.model"),
        lambda: pairings.save(f"{folder}/{name}.npz"),
        lambda: write_mtx(pairings, f"{folder}/{name}.mtx"),
        lambda: write_factors(model, f"{folder}/{name}.parquet", "row", if_exists="replace"),
        lambda: write_sql(pairings, f"sqlite:///{folder}/{name}.db", if_exists="replace"),
    ):
        try:
            write()
        except TwofoldError as error:
            errors.append([type(error).__name__, str(error)])
print(json.dumps(errors))
"""


def test_a_full_disk_is_an_error_and_leaves_what_was_there(tmp_path, model):
    pytest.importorskip("resource", reason="needs limits on the size of files")
    pytest.importorskip("pyarrow", reason='needs pip install "twofold[frames]"')
    ids = np.arange(20_000)
    large = Pairings.from_arrays(ids, ids)
    FactorModel(model.objective, model.solver).fit(large).save(tmp_path / "model")
    small = some_pairings("pairings")
    small.save(tmp_path / "old.pairings")
    model.save(tmp_path / "old.model")
    small.save(tmp_path / "old.npz")
    write_mtx(small, tmp_path / "old.mtx")
    write_factors(model, tmp_path / "old.parquet", "row")
    write_sql(small, f"sqlite:///{tmp_path / 'old.db'}", value="v")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    # A measurement of coverage could not write its own file, either.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ON_A_FULL_DISK, str(tmp_path)],
        capture_output=True, text=True, check=True, env=env,
    )  # fmt: skip
    assert done.stderr == ""
    errors = json.loads(done.stdout)
    assert [kind for kind, _ in errors] == [*["InvalidInputError"] * 5, "DatabaseReadError"] * 2
    for _, message in errors:
        assert "cannot write" in message or "cannot use the database" in message
    assert {file.name for file in tmp_path.iterdir()} == set(before)
    for name in before.keys() - {"old.db"}:
        assert (tmp_path / name).read_bytes() == before[name]
    assert read_sql(f"sqlite:///{tmp_path / 'old.db'}", value="v").n_pairs == small.n_pairs


@pytest.mark.parametrize(
    "read",
    [Pairings.open, FactorModel.load, read_npz, read_mtx, read_csv, read_parquet, read_mpd],
)
def test_what_is_no_path_is_named(read):
    for path in (None, 3):
        with pytest.raises(InvalidInputError, match=f"is a {type(path).__name__}: give"):
            read(path)


def test_what_cannot_be_written_is_named(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pairings = some_pairings("pairings")
    for write in (pairings.save, model.save):
        for path, message in ((None, "is a NoneType"), (".", r"the path is '\.'"), ("", "name of")):
            with pytest.raises(InvalidInputError, match=message):
                write(path)
    for write in (write_mtx,):
        with pytest.raises(InvalidInputError, match="pairings is a str"):
            write("a", pairings)
    assert not list(tmp_path.iterdir())
