"""Data frames of results: pandas, polars or pyarrow, by narwhals."""

import importlib.util
from collections.abc import Mapping
from typing import Any

from twofold._common.checks import check_choice
from twofold.exceptions import InvalidInputError

__all__ = ["make_frame"]

_BACKENDS = ("pandas", "polars", "pyarrow")


def make_frame(columns: Mapping[str, Any], backend: str | None = None) -> Any:
    """Return a data frame.

    Parameters
    ----------
    columns : mapping of str to sequence
        Columns of equal length, by name.
    backend : {"pandas", "polars", "pyarrow"}, optional
        The library of the frame. Default: the first of these that is installed.

    Returns
    -------
    DataFrame or Table

    Raises
    ------
    InvalidInputError
        If narwhals or the library is not installed.
    """
    if backend is not None:
        check_choice(backend, "backend", _BACKENDS)
    found = [name for name in _BACKENDS if importlib.util.find_spec(name)]
    if not found or (backend or found[0]) not in found or not importlib.util.find_spec("narwhals"):
        raise InvalidInputError(
            f"a data frame needs narwhals and {backend or 'pandas, polars or pyarrow'}: "
            f"pip install narwhals {backend or 'pandas'}"
        )
    import narwhals

    made = {
        name: list(column) if getattr(getattr(column, "dtype", None), "kind", "") == "O" else column
        for name, column in columns.items()
    }
    library: Any = backend or found[0]
    return narwhals.from_dict(made, backend=library).to_native()
