"""Data frames of results: pandas, polars or pyarrow, by narwhals."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from twofold._common.checks import check_choice
from twofold.exceptions import InvalidInputError

__all__ = ["WithFrame"]

_BACKENDS = ("pandas", "polars", "pyarrow")


class WithFrame(ABC):
    """A result that can become a data frame."""

    def to_frame(self, backend: str | None = None) -> Any:
        """Return a data frame; the notes of the class describe its lines and columns.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            Library of the frame; default: the first of these that is installed.

        Returns
        -------
        DataFrame or Table

        Raises
        ------
        InvalidInputError
            If narwhals or the library is not installed.

        Examples
        --------
        >>> from twofold import Pairings
        >>> Pairings.from_arrays(["mon", "tue"], [7, 9]).to_frame()
           row  col  value
        0  mon    7    1.0
        1  tue    9    1.0
        """
        return _made(self._frame_columns(), backend)

    @abstractmethod
    def _frame_columns(self) -> dict[str, Any]:
        """Return the columns by name."""


def _made(columns: Mapping[str, Any], backend: str | None) -> Any:
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
