"""Entries by column and merged entries, against scipy and loops."""

from itertools import pairwise

import numpy as np
import pytest

from twofold._kernels import entries as kernels
from twofold._kernels.arguments import Entries

pytestmark = pytest.mark.plain

EMPTY = np.empty(0)


def random_entries(seed=0, n_rows=9, n_cols=7, with_numbers=True):
    """Return entries of which some are repeated, and a row and a column without any."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 8, n_rows)
    lengths[2] = 0
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    used = rng.choice([0, 1, 2, 4, 5, 6], indptr[-1])
    indices = np.concatenate([np.sort(used[low:high]) for low, high in pairwise(indptr)]).astype(
        np.int32
    )
    parts = (rng.normal(size=(3, indices.size)) if with_numbers else np.empty((3, 0))).copy()
    return Entries(indptr, indices, *parts, 0.5, rng.random(n_rows)), n_cols


def counts_of(entries, n_cols):
    counts, summed = np.zeros(n_cols, np.int64), np.zeros(n_cols)
    kernels.count_columns(entries.indices, entries.weights, counts, summed)
    return counts, summed


@pytest.mark.parametrize("with_numbers", [True, False])
def test_columns(with_numbers):
    entries, n_cols = random_entries(with_numbers=with_numbers)
    n = entries.indices.size
    order = np.argsort(entries.indices, kind="stable")
    counts, summed = counts_of(entries, n_cols)
    assert counts.tolist() == np.bincount(entries.indices, minlength=n_cols).tolist()
    weights = entries.weights if with_numbers else np.ones(n)
    np.testing.assert_allclose(summed, np.bincount(entries.indices, weights, n_cols))
    indptr = np.concatenate([[0], np.cumsum(counts)])
    out = entries._replace(
        indptr=indptr, indices=np.empty(n, np.int32),
        **{name: np.empty_like(getattr(entries, name)) for name in Entries._fields[2:5]},
    )  # fmt: skip
    kernels.transpose(entries, indptr[:-1].copy(), out)
    rows = np.repeat(np.arange(entries.indptr.size - 1), np.diff(entries.indptr))
    assert out.indices.tolist() == rows[order].tolist()
    for name in ("targets", "weights", "excluded") if with_numbers else ():
        assert getattr(out, name).tolist() == getattr(entries, name)[order].tolist()
    positions = np.empty(n, np.int32)
    kernels.order_by_column(entries.indices, indptr[:-1].copy(), positions)
    assert positions.tolist() == order.tolist()


@pytest.mark.parametrize("with_numbers", [True, False])
def test_merged_entries(with_numbers):
    entries, _ = random_entries(1, with_numbers=with_numbers)
    rows, first = np.array([0, 2, 3, 8]), np.array([0, 2, 5])
    group, sizes = np.array([0, 0, 1, 1, 1, 2, 2]), np.array([2.0, 3.0, 2.0])
    counts = np.zeros(rows.size, np.int64)
    kernels.count_merged(entries, rows, first, group, counts)
    listed = [
        [e for e in range(*entries.indptr[u : u + 2]) if entries.indices[e] in first] for u in rows
    ]
    assert counts.tolist() == [len(row) for row in listed]
    kept = np.concatenate(listed).astype(np.int64)
    out = Entries(
        np.concatenate([[0], np.cumsum(counts)]), np.empty(kept.size, np.int32),
        np.empty(kept.size if with_numbers else 0), np.empty(kept.size), np.empty(kept.size),
        0.5, entries.scale[rows],
    )  # fmt: skip
    kernels.merge(entries, rows, first, group, sizes, out)
    groups = group[entries.indices[kept]]
    assert out.indices.tolist() == groups.tolist()
    weights, excluded = (
        (entries.weights[kept], entries.excluded[kept]) if with_numbers else (1.0, 0.5)
    )
    assert out.weights.tolist() == (sizes[groups] * weights).tolist()
    assert out.excluded.tolist() == (sizes[groups] * excluded).tolist()
    if with_numbers:
        assert out.targets.tolist() == entries.targets[kept].tolist()
