"""Pictures by matplotlib, which is an extra."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from twofold._common.atomic import replaced
from twofold.exceptions import InvalidInputError

__all__ = ["check_picture", "draw_picture"]


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidInputError(
            'a picture needs the package matplotlib: pip install "twofold[plot]"'
        ) from error
    return Figure


def _ending(path: str | os.PathLike[str]) -> str:
    return os.path.splitext(path)[1].lower()


def check_picture(path: str | os.PathLike[str]) -> None:
    """Check that a picture can be written, before the work that it shows.

    Raises
    ------
    InvalidInputError
        If matplotlib is not installed, or does not write files with this ending.
    """
    formats = _figure_class()().canvas.get_supported_filetypes()
    ending = _ending(path)
    if ending.removeprefix(".") not in formats:
        raise InvalidInputError(
            f"{os.fspath(path)!r} ends in {ending!r}: give a picture that ends in .png, .svg, .pdf "
            f"or another of {', '.join(sorted(formats))}"
        )


def draw_picture(target: Any, panels: Sequence[str], draw: Callable[[list[Any]], None]) -> Any:
    """Draw panels with one vertical axis, into a new figure, into a file, or into axes.

    Parameters
    ----------
    target : str, path-like, matplotlib.axes.Axes, sequence of these axes, or None
        A file for the picture, axes to draw into, one for each panel, or None for a new figure.
    panels : sequence of str
        Names of the panels, at least one.
    draw : callable
        ``draw(axes)`` draws into a list of axes.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidInputError
        If matplotlib is not installed, there are too few axes, or the file cannot be written.
    """
    is_path = isinstance(target, str | os.PathLike)
    if target is not None and not is_path:
        axes = np.ravel(target).tolist()
        if len(axes) < len(panels):
            raise InvalidInputError(
                f"there are {len(axes)} axes for {len(panels)} panels, {', '.join(panels)}: give "
                "one for each"
            )
        draw(axes)
        return axes[0].figure
    if is_path:
        check_picture(target)
    n = len(panels)
    figure = _figure_class()(figsize=(max(4.0, 3.2 * n), 3.2), layout="constrained")
    draw(np.ravel(figure.subplots(1, n, sharey=True)).tolist())
    if is_path:
        with replaced(target) as file:
            figure.savefig(file, format=_ending(target).removeprefix("."))
    return figure
