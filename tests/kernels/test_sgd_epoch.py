"""An epoch of SGD on one block, compared with updates of one pair after the other."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import sparse

from twofold import L1, L2, HuberLoss, Objective, SquaredLoss
from twofold._kernels.sgd import RUN, Blocks, Order, Sums, sgd_epoch
from twofold._kernels.threads import run
from twofold.objective import Problem

pytestmark = pytest.mark.plain

N, K, RATE = 40, 3, 0.02
N_LANES = 4  # runs of pairs that are interleaved
C, D = (np.random.default_rng(seed).normal(size=(N, K)) for seed in (1, 2))


@dataclass(frozen=True)
class Quartic(L2):
    def value(self, x):
        return x**4

    def derivative(self, x):
        return 4.0 * x**3


PENALTIES = [
    L2(1.0), L2(1.0, row_center=C, col_center=D), L1(1.0), Quartic(1.0, row_center=C, col_center=D)
]  # fmt: skip


def order_of_pairs(n_pairs, start, stride):
    """Return the pairs in the order of their updates."""
    n_runs = -(-n_pairs // RUN)
    runs = [(start + t * stride) % n_runs * RUN for t in range(n_runs)]
    for first in range(0, n_runs, N_LANES):
        for j in range(RUN):
            yield from (low + j for low in runs[first : first + N_LANES] if low + j < n_pairs)


def updated(objective, blocks, order, sums, adagrad, P, Q):
    """Return the factors after the updates, from the formulas of `SGD`."""
    P, Q, sums = P.copy(), Q.copy(), [own.copy() for own in sums]
    penalty, k = objective.regularizer, P.shape[1]
    quadratic = type(penalty) is L2
    centers = [np.zeros((N, k)) for _ in range(2)]
    for center, own in zip(centers, penalty.centers, strict=True):
        if own is not None:
            center[:, :K] = own.values
    if objective.biases:
        centers[1][:, -1] = objective.mean
    for e in order:
        u, i = blocks.rows[e], blocks.cols[e]
        p, q = P[u].copy(), Q[i].copy()
        g = blocks.weights[e] * objective.loss.derivative(blocks.targets[e], p @ q)
        for own, other, at, shares, center, summed, factors in (
            (p, q, u, blocks.row_decay, centers[0][u], sums[0], P),
            (q, p, i, blocks.col_decay, centers[1][i], sums[1], Q),
        ):
            ridge = 2.0 * shares[at] if quadratic else 0.0
            rate = RATE
            if adagrad:
                slope = g * other + ridge * own
                if objective.biases:  # The other side has ones where this one has its bias.
                    slope[K:] = g, ridge
                summed[at] += np.sum(slope * slope) / k
                rate = RATE / np.sqrt(summed[at])
            moved = own - rate * g * other
            step = rate * shares[at]
            if quadratic and adagrad:  # its proximal step
                new = center + (moved - center) / (1.0 + rate * ridge)
            elif penalty.smooth:
                new = moved - step * penalty.derivative(own - center)
            else:
                new = center + np.sign(moved - center) * np.maximum(abs(moved - center) - step, 0.0)
            factors[at] = new
        if objective.biases:
            P[u, -1] = Q[i, -2] = 1.0
    return P, Q, sums


def padded(factors):
    out = np.zeros((len(factors), 8))
    out[:, : factors.shape[1]] = factors
    return out


@pytest.mark.parametrize("adagrad", [False, True])
@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(("loss", "n_pairs"), [(SquaredLoss(), 331), (HuberLoss(0.5), 21)])
def test_epoch(loss, n_pairs, penalty, biases, adagrad):
    rng = np.random.default_rng(0)
    # Most of the pairs that are updated together have neither a row nor a column in common.
    blocks = Blocks(
        np.array([0, n_pairs]), *np.sort(rng.integers(N, size=(2, n_pairs)).astype(np.int32)),
        rng.normal(size=n_pairs), rng.uniform(0.5, 2.0, n_pairs), *rng.uniform(0.1, 1.0, (2, N)),
    )  # fmt: skip
    rng.shuffle(blocks.cols)
    start, stride = 3, 5
    order = Order(*(np.array([number]) for number in (0, start, stride)))
    options = {"biases": True, "mean": 0.7} if biases else {}
    objective = Objective(loss, penalty, data="targets", **options)
    problem = Problem.of(objective, sparse.csr_array((N, N)))
    P, Q = rng.normal(size=(2, N, K))
    if biases:
        ones, bias = np.ones((N, 1)), rng.normal(size=(2, N, 1))
        P, Q = np.hstack([P, bias[0], ones]), np.hstack([Q, ones, bias[1]])
    sums = [rng.uniform(1.0, 2.0, N) for _ in range(2)]
    expected = updated(
        objective, blocks, order_of_pairs(n_pairs, start, stride), sums, adagrad, P, Q
    )
    found, k = (padded(P), padded(Q)), P.shape[1]
    run(
        sgd_epoch, 1, 1, blocks, order, problem.loss_call, problem.penalties(k), RATE,
        Sums(*sums, adagrad), k, np.zeros(2, np.int64), *found,
    )  # fmt: skip
    for own, new in zip(found, expected[:2], strict=True):
        np.testing.assert_allclose(own[:, :k], new, rtol=1e-9, atol=1e-11)
        assert not own[:, k:].any()
    if adagrad:
        np.testing.assert_allclose(sums, expected[2], rtol=1e-9)
