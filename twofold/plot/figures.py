"""Pictures by matplotlib, which is an extra."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from twofold._common.atomic import replaced
from twofold.exceptions import InvalidInputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "axes_for", "check_picture", "draw_picture", "plain_numbers"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a3b00", "#8844ee", "#555555")
"""Colours that can be distinguished with colour blindness, with a contrast of 3 or more to white.

The first four are of Okabe & Ito, whose other colours are too pale for lines on white.
"""
_FEW_DECADES = 3.0  # of an axis whose labels are not the powers of ten only


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidInputError(
            'a picture needs the package matplotlib: pip install "twofold[plot]"'
        ) from error
    return Figure


def axes_for(ax: "Axes | None", size: tuple[float, float] = (6.4, 4.0)) -> "Axes":
    """Return axes as given, or those of a new figure.

    It is a figure of pyplot, so that notebooks show it.

    Raises
    ------
    InvalidInputError
        If these are not axes, or matplotlib is not installed.
    """
    _figure_class()
    from matplotlib.axes import Axes

    if ax is None:
        from matplotlib import pyplot

        made: Axes = pyplot.figure(figsize=size, layout="constrained").subplots()
        return made
    if not isinstance(ax, Axes):
        raise InvalidInputError(
            f"ax is a {type(ax).__name__}: give matplotlib axes, such as one of "
            "pyplot.subplots(), or None for a new figure"
        )
    return ax


def plain_numbers(axis: Any) -> None:
    """Label a logarithmic axis by 1, 2, 5, 10 or, over many decades, 1, 10, 100, not by powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = np.log10(axis.get_view_interval())
    few = high - low <= _FEW_DECADES
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1.0 else ""))
    axis.set_minor_formatter(NullFormatter())


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
