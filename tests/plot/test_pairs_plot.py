"""The pictures of a data set."""

import numpy as np
import pytest
from scipy import sparse

from twofold import Pairings, plot
from twofold.datasets import make_playlists
from twofold.exceptions import InvalidInputError


@pytest.fixture(scope="module")
def pairings():
    return make_playlists(500, 200, rng=0).pairings


def test_every_row_is_in_the_bin_of_its_length(pairings):
    ax = plot.row_lengths(pairings)
    lengths = np.diff(pairings.matrix.indptr)
    for bar in ax.patches:
        left, right = bar.get_x(), bar.get_x() + bar.get_width()
        assert bar.get_height() == np.sum((lengths > left) & (lengths < right))
        assert left % 1 == right % 1 == 0.5
    assert sum(bar.get_height() for bar in ax.patches) == 500
    median = np.median(lengths)
    assert ax.get_lines()[0].get_xdata() == [median, median]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale()) == ("pairs of a row", "rows", "log")
    assert ax.get_title() == f"500 rows, median {median:g} pairs"


def test_rows_of_one_length_and_empty_rows():
    matrix = sparse.csr_array(np.array([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]))
    ax = plot.row_lengths(Pairings(matrix, [1, 2, 3], [1, 2]))
    assert [bar.get_height() for bar in ax.patches if bar.get_height()] == [2]
    assert ax.get_title() == "2 rows, median 2 pairs, 1 more without a pair"


def test_popularity_is_the_counts_in_descending_order(pairings):
    ax = plot.popularity(pairings)
    counts = np.sort(np.bincount(pairings.matrix.indices))[::-1]
    counts = counts[counts > 0]
    drawn, half = ax.get_lines()
    np.testing.assert_array_equal(drawn.get_ydata(), counts)
    np.testing.assert_array_equal(drawn.get_xdata(), np.arange(1, counts.size + 1))
    rank = half.get_xdata()[0]
    assert counts[:rank].sum() >= counts.sum() / 2 > counts[: rank - 1].sum()
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert f"of {counts.size:,} columns" in ax.get_title()
    assert ax.get_xlabel() == "rank of the column"


def test_popularity_of_one_column():
    ax = plot.popularity(Pairings.from_arrays([1, 2], [7, 7]))
    assert ax.get_lines()[0].get_marker() == "o"
    assert ax.get_title() == "Half of the pairs: 100% of 1 columns"


@pytest.mark.parametrize("draw", [plot.row_lengths, plot.popularity])
def test_without_pairs_there_is_no_picture(draw):
    with pytest.raises(InvalidInputError, match="there are no pairs"):
        draw(Pairings(sparse.csr_array((2, 2)), [1, 2], [1, 2]))
    with pytest.raises(InvalidInputError, match="pairings is a list"):
        draw([[1, 2]])
