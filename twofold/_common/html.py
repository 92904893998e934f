"""HTML for notebooks: tables and a curve, without scripts and styles."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["curve", "facts", "table"]

_WIDTH, _HEIGHT, _MARGIN = 240, 80, 4


def facts(values: Mapping[str, Any]) -> str:
    """Return a table with a line for each name and its value."""
    lines = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(str(value))}</td></tr>'
        for name, value in values.items()
    )
    return f"<table>{lines}</table>"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table with a header."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def curve(points: Sequence[tuple[float, float]], label: str) -> str:
    """Return points joined by a line, as SVG; of positive values the logarithm is drawn.

    Parameters
    ----------
    points : sequence of (float, float)
        Points that are not finite are left out.
    label : str
        Text alternative of the picture.
    """
    points = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if not points:
        return ""
    if all(y > 0.0 for _, y in points):
        points = [(x, math.log(y)) for x, y in points]
    xs, ys = zip(*points, strict=True)
    placed = [
        (
            _MARGIN + (_WIDTH - 2 * _MARGIN) * _share(x, xs),
            _MARGIN + (_HEIGHT - 2 * _MARGIN) * (1.0 - _share(y, ys)),
        )
        for x, y in points
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    end_x, end_y = placed[-1]
    return (
        f'<svg role="img" aria-label="{escape(label)}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}"><title>{escape(label)}</title>'
        f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        f'<circle cx="{end_x:.1f}" cy="{end_y:.1f}" r="2.5" fill="currentColor"/></svg>'
    )


def _share(value: float, values: Sequence[float]) -> float:
    """Return where a value is between the least, 0, and the greatest, 1."""
    low, high = min(values), max(values)
    # Halved, because the difference of two finite numbers may be infinite.
    return 0.5 if low == high else (value / 2 - low / 2) / (high / 2 - low / 2)
