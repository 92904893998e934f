"""Progress bars: one line in a terminal or a notebook, nothing in a file or a pipe."""

import sys
from typing import Any

__all__ = ["progress_bar"]


def progress_bar(items: Any = None, *, shown: bool, **options: Any) -> Any:
    """Return a bar of tqdm, which shows nothing unless it is asked to and somebody can see it.

    Parameters
    ----------
    items : iterable, optional
        What to iterate over; without it the bar is moved by its ``update``.
    shown : bool
        Whether the caller asked for a bar.
    **options
        As for `tqdm.tqdm`.

    Returns
    -------
    tqdm
    """
    if not shown:  # In a notebook without ipywidgets, tqdm.auto warns when it is imported.
        from tqdm.std import tqdm as disabled

        return disabled(items, disable=True, **options)
    from tqdm.auto import tqdm

    is_widget = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
    return tqdm(items, disable=not (is_widget or sys.stderr.isatty()), **options)
