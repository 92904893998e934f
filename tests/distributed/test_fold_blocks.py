"""Fold-in on workers: the bits of one machine, for any blocks."""

import os
import signal
from functools import partial

import numpy as np
import pytest
from scipy import sparse

import twofold
from twofold import L1, L2, Objective
from twofold.distributed import fold_in, partition
from twofold.exceptions import InvalidInputError, SingularRowError

OBJECTIVES = {
    "all cells": Objective(regularizer=L2(0.2, exponent=0.5), unobserved_weight=0.1),
    "missing": Objective(regularizer=L2(0.2), unobserved_weight=0.1, unobserved="missing"),
    "observed": Objective(regularizer=L2(0.2)),
    "biases": Objective(regularizer=L2(0.2), data="targets", biases=True, mean=2.0),
    "L1": Objective(regularizer=L1(0.2)),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(partition, "_BLOCK_BYTES", 2000)


def factors_for(objective, n_cols, dtype):
    n_biases = objective.n_bias_columns
    Q = np.random.default_rng(0).normal(size=(n_cols, 6 + n_biases)).astype(dtype)
    if n_biases:
        Q[:, -2] = 1.0  # that of b_u, see the objective
    return Q


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bits_are_those_of_one_machine(name, dtype, small, client):
    objective = OBJECTIVES[name]
    Q = factors_for(objective, small.shape[1], dtype)
    expected = twofold.fold_in(objective, small, Q)
    found = fold_in(objective, small, Q)
    assert found.dtype == dtype
    assert found.tobytes() == expected.tobytes()


def test_weights_and_centers_go_with_their_rows(small, client):
    rng = np.random.default_rng(1)
    weights, center = rng.random(small.nnz), rng.normal(size=(small.shape[0], 6))
    center[:20, :3] = 0.0
    objective, Q = OBJECTIVES["all cells"], rng.normal(size=(small.shape[1], 6))
    options = {"weights": weights, "center": center}
    expected = twofold.fold_in(objective, small, Q, **options)
    assert fold_in(objective, small, Q, **options).tobytes() == expected.tobytes()


def test_a_matrix_without_rows_has_no_factors(client):
    Q = np.ones((3, 2), np.float32)
    found = fold_in(OBJECTIVES["all cells"], sparse.csr_array((0, 3)), Q)
    assert (found.shape, found.dtype) == ((0, 2), np.float32)


def test_workers_read_blocks_and_write_parts(small, client, tmp_path):
    objective, Q = OBJECTIVES["all cells"], np.random.default_rng(0).normal(size=(20, 4))
    sparse.save_npz(tmp_path / "first.npz", small[:11])
    blocks = [partial(sparse.load_npz, tmp_path / "first.npz"), small[11:]]
    expected = twofold.fold_in(objective, small, Q)
    assert fold_in(objective, iter(blocks), Q).tobytes() == expected.tobytes()
    files = fold_in(objective, blocks, Q, output=tmp_path / "parts")
    assert [file.name for file in files] == ["part-00000.npy", "part-00001.npy"]
    assert np.concatenate([np.load(file) for file in files]).tobytes() == expected.tobytes()
    with pytest.raises(InvalidInputError, match="has files: give a new or empty one"):
        fold_in(objective, blocks, Q, output=tmp_path / "parts")


def test_a_worker_that_is_killed_changes_no_bit(small, client):
    objective, Q = OBJECTIVES["missing"], np.random.default_rng(0).normal(size=(20, 4))
    process = next(iter(client.run(os.getpid).values()))

    def blocks():
        for row in range(small.shape[0]):
            if row == 12:
                os.kill(process, signal.SIGKILL)
            yield small[row : row + 1]

    expected = twofold.fold_in(objective, small, Q)
    assert fold_in(objective, blocks(), Q).tobytes() == expected.tobytes()


def test_errors_name_the_row_of_the_matrix_or_of_the_block(client):
    dense = np.ones((60, 30))
    dense[50, 1:] = 0.0
    full = sparse.csr_array(dense)
    Q, objective = np.random.default_rng(0).normal(size=(30, 2)), Objective(regularizer=L2(0.0))
    with pytest.raises(SingularRowError, match=r"^row 50 \(1 entries\) has no unique solution"):
        fold_in(objective, full, Q)
    with pytest.raises(SingularRowError, match=r"^block 1: row 0 "):
        fold_in(objective, [full[:50], full[50:]], Q)
    with pytest.raises(InvalidInputError, match=r"^block 0: the matrix has 2 cols, but"):
        fold_in(objective, [sparse.csr_array(np.ones((2, 2)))], Q)


def test_errors_name_the_entry_of_the_matrix_or_of_the_block(client, monkeypatch):
    monkeypatch.setattr("twofold.distributed.partition._BLOCK_BYTES", 1024)
    dense = np.ones((60, 30))
    dense[50, 7] = -2.0
    weighted, Q = sparse.csr_array(dense), np.random.default_rng(0).normal(size=(30, 2))
    objective = Objective(data="weights")
    with pytest.raises(InvalidInputError, match=r"^the value in row 50, column 7 is -2\.0: with"):
        fold_in(objective, weighted, Q)
    with pytest.raises(InvalidInputError, match=r"^block 1: the value in row 10, column 7 is"):
        fold_in(objective, [weighted[:40], weighted[40:]], Q)


def test_wrong_arguments_are_named(small, client):
    objective, Q = OBJECTIVES["all cells"], np.ones((20, 2))
    with pytest.raises(InvalidInputError, match="not for blocks of rows"):
        fold_in(objective, [small], Q, weights=np.ones(small.nnz))
    with pytest.raises(InvalidInputError, match="block 1 of the matrix is a str"):
        fold_in(objective, [small, "x"], Q)
    with pytest.raises(InvalidInputError, match="matrix is a int"):
        fold_in(objective, 3, Q)
    with pytest.raises(InvalidInputError, match="has 20 cols, but col_factors has 19"):
        fold_in(objective, small, Q[1:])
