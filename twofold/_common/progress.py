"""Progress bars: one line in a terminal or a notebook, nothing in a file or a pipe."""

import sys
from typing import Any

__all__ = ["progress_bar"]


def progress_bar(items: Any = None, *, shown: bool, **options: Any) -> Any:
    """Return a bar of tqdm, which is shown if `shown` is true, in a terminal or a notebook only.

    Parameters
    ----------
    items : iterable, optional
        What to iterate over; without it the bar is moved by its ``update``.
    shown : bool
        Whether the bar is wanted.
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
    # Without ipywidgets, a notebook shows lines of text that replace each other.
    in_notebook = type(sys.stderr).__module__ == "ipykernel.iostream"
    # Without a console, as under pythonw, sys.stderr is None.
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    return tqdm(items, disable=not (is_widget or in_notebook or on_terminal), **options)
