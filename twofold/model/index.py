"""`export_index`: the columns of a model as an index of libraries for nearest neighbours."""

from importlib import import_module
from typing import Any, Literal

import numpy as np

from twofold._common.checks import check_choice, check_whole
from twofold.exceptions import InvalidInputError

__all__ = ["export_index"]

_MODULES = {"faiss": "faiss", "usearch": "usearch.index"}


def export_index(
    model: Any,
    kind: Literal["faiss", "usearch"] = "faiss",
    *,
    connectivity: int = 32,
    expansion_add: int = 128,
    expansion_search: int = 64,
) -> Any:
    """Make an index of the columns for approximate search by inner product.

    It is a graph (HNSW, Malkov & Yashunin 2018) of the column factors in float32. A search for a
    row of P, such as one of ``model.fold_in(pairings).row_factors``, finds its largest predictions
    p . q, biases included. It does not leave out the columns that a row has already: search for so
    many more, and leave them out. A model with few columns needs no index: `FactorModel.recommend`
    is exact.

    Parameters
    ----------
    model : FactorModel
        A fitted model.
    kind : {"faiss", "usearch"}, default "faiss"
        The library; both need ``twofold[index]``.
    connectivity : int, default 32
        Links of each column in the graph, >= 2: M of the paper.
    expansion_add : int, default 128
        Candidates when a column is added, >= 1: efConstruction. More take longer to build.
    expansion_search : int, default 64
        Candidates of a search, >= 1: ef. More find more of the exact result and take longer. The
        library can change it later.

    Returns
    -------
    faiss.IndexIDMap or usearch.index.Index
        Its keys are the ids of the columns if these are integers, and otherwise their positions in
        ``model.col_ids``. It is saved by the functions of the library, ``faiss.write_index(index,
        path)`` or ``index.save(path)``. A file of usearch does not keep ``expansion_search``.

    Raises
    ------
    InvalidInputError
        If the library is not installed, the model is not fitted, a parameter is too small, or
        an id is negative, which usearch has no keys for.

    Examples
    --------
    >>> from twofold import FactorModel, Pairings
    >>> from twofold.solvers import ALS
    >>> pairings = Pairings.from_arrays([1, 1, 2], [7, 9, 7])
    >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
    >>> index = export_index(model, "faiss")
    >>> scores, cols = index.search(model.fold_in(pairings).row_factors, 2)
    >>> sorted(cols[0].tolist())
    [7, 9]
    """
    check_choice(kind, "kind", tuple(_MODULES))
    check_whole(connectivity, "connectivity", 2)
    check_whole(expansion_add, "expansion_add", 1)
    check_whole(expansion_search, "expansion_search", 1)
    if not hasattr(type(model), "col_factors"):
        raise InvalidInputError(f"model is a {type(model).__name__}: give a fitted FactorModel")
    ids, factors = model.col_ids, np.ascontiguousarray(model.col_factors, dtype=np.float32)
    keys = np.arange(ids.size) if ids.dtype == object else ids
    library = _library(kind)
    if kind == "faiss":
        k = factors.shape[1]
        graph = library.IndexHNSWFlat(k, int(connectivity), library.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = int(expansion_add)
        graph.hnsw.efSearch = int(expansion_search)
        index = library.IndexIDMap(graph)
        index.add_with_ids(factors, keys)
        return index
    if (keys < 0).any():
        raise InvalidInputError(
            f"the column id {keys.min()} is negative, which usearch has no keys for: use "
            'kind="faiss"'
        )
    index = library.Index(
        ndim=factors.shape[1],
        metric="ip",
        dtype="f32",
        connectivity=int(connectivity),
        expansion_add=int(expansion_add),
        expansion_search=int(expansion_search),
    )
    index.add(keys, factors)
    return index


def _library(kind: str) -> Any:
    try:
        return import_module(_MODULES[kind])
    except ImportError as error:
        raise InvalidInputError(
            f'kind="{kind}" needs a library that is not installed: pip install "twofold[index]"'
        ) from error
