"""Recommendations and relevant columns for the tests of metrics."""

import numpy as np
from hypothesis import strategies as st
from scipy import sparse


@st.composite
def rankings(draw):
    """Lists (padded anywhere, as nothing says padding comes last), relevant columns, and k."""
    n_cols, n_rows = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    lists = []
    for _ in range(n_rows):
        order = draw(st.permutations(range(n_cols)))
        missing = draw(st.sets(st.integers(0, n_cols - 1)))
        lists.append([-1 if place in missing else col for place, col in enumerate(order)])
    wanted = draw(
        st.lists(st.sets(st.integers(0, n_cols - 1)), min_size=n_rows, max_size=n_rows).filter(any)
    )
    return lists, wanted, n_cols, draw(st.integers(1, n_cols))


def relevant_of(wanted, n_cols):
    """Return sets of columns as a sparse array."""
    rows = [row for row, cols in enumerate(wanted) for _ in cols]
    cols = [col for cols in wanted for col in cols]
    return sparse.csr_array((np.ones(len(rows)), (rows, cols)), shape=(len(wanted), n_cols))


def random_table(seed, n_rows=8, n_cols=30):
    """Return lists by rounded scores, so with ties, some padded with -1; some rows are empty."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.random((n_rows, n_cols)), 1)
    lists = np.argsort(-scores, axis=1, kind="stable")
    lengths = rng.integers(0, n_cols + 1, n_rows)
    lists[(np.arange(n_cols) >= lengths[:, None]) & (rng.random((n_rows, 1)) < 0.5)] = -1
    relevant = rng.random((n_rows, n_cols)) < rng.choice([0.0, 0.1, 0.5], (n_rows, 1))
    relevant[0, rng.integers(n_cols)] = True  # a mean exists
    return lists, sparse.csr_array(relevant.astype(float))
