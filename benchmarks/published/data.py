"""The data sets of published tables: files, protocols and the figures that were published."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from twofold import Pairings
from twofold.exceptions import InvalidInputError
from twofold.io import read_csv, read_lists, read_npz
from twofold.splits import PairSplit

__all__ = ["DATA_SETS", "DataSet", "Parts", "need"]


@dataclass(frozen=True)
class Parts:
    """A data set with its published split.

    Parameters
    ----------
    train : Pairings
        The pairs to train on.
    test : PairSplit
        The seen and the held-out pairs of the test rows.
    """

    train: Pairings
    test: PairSplit


@dataclass(frozen=True)
class DataSet:
    """A published table.

    Parameters
    ----------
    rows : {"trained", "fold-in"}
        Whether the test rows are rows of the training pairs, or new ones.
    metrics : tuple of str
        Names of `twofold.metrics`, as the paper defines them.
    files : str
        Which files are needed, and where they are described.
    read : callable
        Reads them from a folder.
    published : dict of str to tuple of float
        Figures of other methods, in the order of the metrics.
    source : str
        Where these figures stand.
    n_factors : int
        Rank of the final model.
    """

    rows: Literal["trained", "fold-in"]
    metrics: tuple[str, ...]
    files: str
    read: Callable[[Path], Parts]
    published: dict[str, tuple[float, ...]]
    source: str
    n_factors: int


def need(folder: Path, names: tuple[str, ...], files: str) -> list[Path]:
    """Return the paths of files or patterns; InvalidInputError if one of them does not exist."""
    for name in names:
        if not any(folder.glob(name)):
            raise InvalidInputError(f"there is no file {str(folder / name)!r}. Needed are {files}")
    return [folder / name for name in names]


def _of_trained_rows(train: Pairings, test: Pairings) -> Parts:
    """Return the parts of a split whose test rows are rows of the training pairs."""
    rows = np.intersect1d(train.row_ids, test.row_ids)
    seen, heldout = (part.take_rows(part.row_index(rows)) for part in (train, test))
    return Parts(train, PairSplit(seen, heldout))


_LISTS = (
    "train.txt and test.txt, a line for each user: its number and those of its items, separated by "
    "spaces (the split of NGCF and LightGCN, which BARS-Match uses)"
)


def _lists(folder: Path) -> Parts:
    paths = need(folder, ("train.txt", "test.txt"), _LISTS)
    return _of_trained_rows(*(read_lists(path) for path in paths))


_YELP = (
    "yelp2018.npz with all pairs and yelp2018_test.npz with the test pairs, arrays rows and cols; "
    f"or {_LISTS}"
)


def _yelp(folder: Path) -> Parts:
    if (folder / "train.txt").exists():
        return _lists(folder)
    paths = need(folder, ("yelp2018.npz", "yelp2018_test.npz"), _YELP)
    whole, test = (read_npz(path) for path in paths)
    pairs, hidden = _pairs(whole), _pairs(test)
    code = int(max(pairs[1].max(), hidden[1].max())) + 1
    kept = ~np.isin(pairs[0] * code + pairs[1], hidden[0] * code + hidden[1])
    return _of_trained_rows(Pairings.from_arrays(*pairs[:, kept]), test)


def _pairs(pairings: Pairings) -> NDArray[np.int64]:
    """Return the row ids and the column ids of all pairs, shape (2, n_pairs)."""
    rows = np.repeat(pairings.row_ids, np.diff(pairings.matrix.indptr))
    return np.stack([rows, pairings.col_ids[pairings.matrix.indices]])


_VAE = (
    "train.csv, test_tr.csv and test_te.csv with columns uid and sid, as the code of Liang et al. "
    "2018 (vae_cf) writes them"
)


def _vae(folder: Path) -> Parts:
    paths = need(folder, ("train.csv", "test_tr.csv", "test_te.csv"), _VAE)
    train, seen, heldout = (read_csv(path, row="uid", col="sid") for path in paths)
    rows = np.intersect1d(seen.row_ids, heldout.row_ids)
    parts = (part.take_rows(part.row_index(rows)) for part in (seen, heldout))
    return Parts(train, PairSplit(*parts))


_BARS = "BARS-Match (openbenchmark.github.io/BARS), read in November 2026"
_AT_20 = ("recall@20", "ndcg@20")
DATA_SETS = {
    "yelp2018": DataSet(
        "trained", _AT_20, _YELP, _yelp,
        {
            "MF-BPR": (0.0576, 0.0468), "ItemCF": (0.0639, 0.0531), "SLIM": (0.0646, 0.0541),
            "EASE": (0.0657, 0.0552), "LightGCN": (0.0653, 0.0532), "UltraGCN": (0.0683, 0.0561),
            "SimpleX": (0.0701, 0.0575),
        },
        _BARS, 512,
    ),
    "gowalla": DataSet(
        "trained", _AT_20, _LISTS, _lists,
        {
            "MF-BPR": (0.1627, 0.1378), "ItemCF": (0.1570, 0.1214), "SLIM": (0.1699, 0.1382),
            "EASE": (0.1765, 0.1467), "LightGCN": (0.1820, 0.1547), "UltraGCN": (0.1862, 0.1580),
            "SimpleX": (0.1872, 0.1557),
        },
        _BARS, 512,
    ),
    "amazon-books": DataSet(
        "trained", _AT_20, _LISTS, _lists,
        {
            "MF-BPR": (0.0338, 0.0261), "ItemCF": (0.0736, 0.0606), "SLIM": (0.0755, 0.0602),
            "EASE": (0.0710, 0.0567), "LightGCN": (0.0411, 0.0318), "UltraGCN": (0.0681, 0.0556),
            "SimpleX": (0.0583, 0.0468),
        },
        _BARS, 512,
    ),
    "ml-20m": DataSet(
        "fold-in", ("recall-min@20", "ndcg@100"), _VAE, _vae,
        {"iALS, 2048 factors": (0.395, 0.425)},
        "Rendle et al. 2021, arXiv 2110.14037, table 3", 512,
    ),
    "msd": DataSet(
        "fold-in", ("recall-min@20", "ndcg@100"), _VAE, _vae,
        {"iALS, 8192 factors": (0.309, 0.368)},
        "Rendle et al. 2021, arXiv 2110.14037, table 4", 512,
    ),
}  # fmt: skip
