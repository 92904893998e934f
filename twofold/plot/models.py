"""Pictures of models: fold-in, a map of the columns, and recommendations."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.checks import check_whole
from twofold.exceptions import InvalidInputError, UnknownIdError
from twofold.plot.figures import COLOURS, axes_for
from twofold.plot.inputs import FittedModel, Ranked, Scores, check_attributes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["col_map", "fold_in", "recommendations"]

_MARKERS = "os^DvP"
_MOST = 40  # letters of a name
_OTHER = "0.7"  # the colour of columns without a group


def fold_in(
    evaluations: Mapping[int, Scores], metric: str | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Draw the score of folded-in rows against the number of their known columns.

    The lines are the scores of each model. Where a metric has a value for each row, a band is the
    95% bootstrap interval of its mean over the rows; the root of a mean square has no band. The
    points are comparable if all evaluations have the same rows and held-out pairs, as those of
    ``split.limit_seen(n)``.

    Parameters
    ----------
    evaluations : mapping of int to Evaluation
        What `evaluate` returned, by the number of known columns of each row, >= 0.
    metric : str, optional
        A metric of all evaluations, such as "recall@20". Default: the first one.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InvalidInputError
        If there is no evaluation, one has no such metric, an argument has another type, or
        matplotlib is not installed.

    Examples
    --------
    >>> from twofold import FactorModel, evaluate, plot, split_pairs, split_rows
    >>> from twofold.datasets import make_playlists
    >>> parts = split_rows(make_playlists(300, 100).pairings, validation=0.0)
    >>> model, split = FactorModel().fit(parts.train), split_pairs(parts.test)
    >>> found = {n: evaluate(model, split.limit_seen(n), ["recall@20"]) for n in (1, 3, 10)}
    >>> ax = plot.fold_in(found)
    >>> [line.get_label() for line in ax.get_lines()], ax.get_ylabel()
    (['model', 'most popular'], 'recall@20')
    """
    if not isinstance(evaluations, Mapping) or not evaluations:
        raise InvalidInputError(
            "evaluations is no mapping with a value: give {n: evaluate(model, "
            "split.limit_seen(n)) for n in (1, 5, 20)}"
        )
    for n, evaluation in evaluations.items():
        check_whole(n, "a number of known columns", 0)
        wanted = ("scores", "per_row", "judged", "interval")
        check_attributes(evaluation, f"evaluations[{n}]", wanted, "the Evaluation of evaluate")
    numbers = sorted(evaluations)
    first = evaluations[numbers[0]]
    metric = next(iter(next(iter(first.scores.values())))) if metric is None else metric
    points_of = {
        model: [_point(evaluations[n], n, model, metric) for n in numbers] for model in first.scores
    }
    ax = axes_for(ax)
    for index, (model, points) in enumerate(points_of.items()):
        colour = COLOURS[index % len(COLOURS)]
        middle, low, high = zip(*points, strict=True)
        ax.plot(numbers, middle, color=colour, marker=_MARKERS[index % len(_MARKERS)], label=model)
        ax.fill_between(numbers, low, high, color=colour, alpha=0.2, linewidth=0)
    if numbers[-1] > 10 * max(1, numbers[0]):
        ax.set_xscale("symlog", linthresh=1.0, linscale=0.5)
    ax.set_xticks(numbers, [str(n) for n in numbers])
    ax.minorticks_off()
    ax.set(xlabel="known columns of a row", ylabel=metric, title="Folded-in rows")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return ax


def _point(evaluation: Scores, n: int, model: str, metric: str) -> tuple[float, float, float]:
    """Return the score of a model and the ends of its band."""
    try:
        score = evaluation.scores[model][metric]
    except (KeyError, TypeError):
        known = ", ".join([*evaluation.scores, *next(iter(evaluation.scores.values()))])
        raise InvalidInputError(
            f"evaluations[{n}] has no score {metric!r} of {model!r}: models and metrics are {known}"
        ) from None
    if evaluation.judged != "recommendations" or metric not in evaluation.per_row[model]:
        return score, np.nan, np.nan
    _, low, high = evaluation.interval(metric, model)
    return score, low, high


def col_map(
    model: FittedModel,
    names: Mapping[Any, Any] | None = None,
    groups: Mapping[Any, Any] | None = None,
    ax: "Axes | None" = None,
    *,
    n_labels: int = 15,
) -> "Axes":
    """Draw the columns in the plane of the two leading components of their predictions.

    The predictions of column i for all rows are the vector P q_i. Its direction, P q_i / |P q_i|,
    is what the model knows of the column apart from its popularity. The coordinates are those of
    the two leading principal components of these directions, from the singular value decomposition
    of their centred matrix. They do not depend on how the predictions P Q' are factorised: with
    P'P = L L', the whitened factors L'q_i have the same lengths and angles as P q_i, so that all of
    this is computed from n_factors numbers of each column. Biases are left out. Columns that are
    predicted to be zero everywhere are not drawn. The area of a point grows with its number of
    pairs.

    Parameters
    ----------
    model : FactorModel
        A fitted model.
    names : mapping of id to name, optional
        Names of columns for the labels, such as `read_names` returns. Default: the ids.
    groups : mapping of id to name, optional
        Groups of columns, such as genres, which get colours and markers.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.
    n_labels : int, default 15
        At most so many columns are labelled, the most popular ones first. A label that would
        overlap another one is left out.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InvalidInputError
        If the model is not fitted or has fewer than two factors or columns, an argument has
        another type, or matplotlib is not installed.

    Examples
    --------
    >>> from twofold import FactorModel, plot
    >>> from twofold.datasets import make_playlists
    >>> data = make_playlists(200, 50, n_groups=2)
    >>> groups = dict(zip(data.pairings.col_ids.tolist(), data.track_groups.tolist()))
    >>> ax = plot.col_map(FactorModel().fit(data.pairings), groups=groups)
    >>> sum(len(points.get_offsets()) for points in ax.collections)
    50
    """
    wanted = ("objective", "pairings", "row_factors", "col_factors")
    check_attributes(model, "model", wanted, "a FactorModel")
    for name, given in (("names", names), ("groups", groups)):
        if given is not None and not isinstance(given, Mapping):
            raise InvalidInputError(f"{name} is a {type(given).__name__}: give a dict by id")
    check_whole(n_labels, "n_labels", 0)
    places, shares, drawn = _coordinates(model)
    matrix = model.pairings.matrix
    counts = np.bincount(matrix.indices[: matrix.nnz], minlength=matrix.shape[1])[drawn]
    ids = model.pairings.col_ids[drawn].tolist()
    ax = axes_for(ax, (6.0, 4.6))
    ax.set_aspect("equal", "datalim")  # so that distances can be compared
    _scatter(ax, places, counts, [(groups or {}).get(each) for each in ids])
    ax.set(
        xlabel=f"first component ({shares[0]:.0%} of the variance)",
        ylabel=f"second component ({shares[1]:.0%})",
        title=f"{len(ids):,} columns by their predictions",
    )  # fmt: skip
    popular = np.argsort(-counts, kind="stable")
    texts = (((names or {}).get(ids[each], ids[each]), places[each]) for each in popular)
    _label_points(ax, texts, n_labels)
    return ax


def _coordinates(model: FittedModel) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Return two coordinates of columns, their shares of the variance, and the positions."""
    width = model.col_factors.shape[1] - model.objective.n_bias_columns
    P, Q = model.row_factors[:, :width], model.col_factors[:, :width]
    values, vectors = np.linalg.eigh((P.T @ P).astype(np.float64))
    whitened = Q @ (vectors * np.sqrt(np.maximum(values, 0.0)))
    lengths = np.linalg.norm(whitened, axis=1)
    drawn = np.flatnonzero(lengths > 0.0)
    if width < 2 or drawn.size < 2:
        raise InvalidInputError(
            f"a map needs two factors and two columns, but the model has {width} factors and "
            f"{drawn.size} columns whose predictions are not zero"
        )
    directions = whitened[drawn] / lengths[drawn, np.newaxis]
    directions -= directions.mean(axis=0)
    left, sizes, _ = np.linalg.svd(directions, full_matrices=False)
    if not sizes.any():
        raise InvalidInputError(
            f"a map needs different columns, but the predictions of all {drawn.size} columns are "
            "proportional"
        )
    return left[:, :2] * sizes[:2], sizes[:2] ** 2 / np.sum(sizes**2), drawn


def _scatter(ax: Any, places: NDArray[Any], counts: NDArray[Any], groups: list[Any]) -> None:
    """Draw points by group, first those without one; the areas grow with the counts."""
    areas = 8.0 + 72.0 * counts / counts.max()
    named = sorted({group for group in groups if group is not None}, key=str)
    for index, group in enumerate([*([None] if None in groups else []), *named]):
        at = np.array([each == group for each in groups])
        number = index - (None in groups)
        style = {"color": _OTHER if named else COLOURS[0], "marker": "o", "label": None}
        if group is not None:
            marker = _MARKERS[number // len(COLOURS) % len(_MARKERS)]
            style = {"color": COLOURS[number % len(COLOURS)], "marker": marker, "label": str(group)}
        ax.scatter(*places[at].T, s=areas[at], alpha=0.7, linewidths=0, **style)
    if named:
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _label_points(ax: Any, texts: Any, most: int) -> None:
    """Write texts beside their points, without those that overlap earlier ones."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.0, foreground=ax.get_facecolor())]
    ax.figure.draw_without_rendering()  # determines the places on the page
    taken: list[Any] = []
    for text, place in texts:
        if len(taken) >= most:
            return
        note = ax.annotate(
            _shortened(text), place, xytext=(4, 4), textcoords="offset points", fontsize=8,
            path_effects=halo,
        )  # fmt: skip
        box = note.get_window_extent().padded(1.0)
        if any(box.overlaps(other) for other in taken):
            note.remove()
        else:
            taken.append(box)


def recommendations(
    ranking: Ranked,
    row: Any = None,
    names: Mapping[Any, Any] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw what a model recommends to one row: a bar for each column, the best at the top.

    The length of a bar is the score of the column: its prediction p . q; or, for a row whose
    factors are zero with ``fallback="popular"``, its number of training pairs.

    Parameters
    ----------
    ranking : Ranking
        What `FactorModel.recommend` returned.
    row : int or str, optional
        Id of the row. Default: the first row of the ranking.
    names : mapping of id to name, optional
        Names of columns, such as `read_names` returns. Default: the ids.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InvalidInputError
        If the row has no recommendation, an argument has another type, or matplotlib is not
        installed.
    UnknownIdError
        If the ranking does not have the row.

    Examples
    --------
    >>> from twofold import FactorModel, Pairings, plot
    >>> from twofold.solvers import ALS
    >>> pairings = Pairings.from_arrays(["a", "a", "b", "b"], [1, 2, 2, 3])
    >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
    >>> ax = plot.recommendations(model.recommend(["a", "b"], n=2), "b", {1: "Imagine"})
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['Imagine']
    """
    wanted = ("row_ids", "col_ids", "scores", "mask", "fallback")
    check_attributes(ranking, "ranking", wanted, "the Ranking that recommend returns")
    if names is not None and not isinstance(names, Mapping):
        raise InvalidInputError(f"names is a {type(names).__name__}: give a dict by id")
    rows = ranking.row_ids.tolist()
    if not rows:
        raise InvalidInputError("the ranking has no row")
    at = 0
    if row is not None:
        at = _index(rows, row)
    mask = ranking.mask[at]
    if not mask.any():
        raise InvalidInputError(
            f'there is no recommendation for row {rows[at]!r}: use recommend(fallback="popular")'
        )
    ids, scores = ranking.col_ids[at][mask].tolist(), ranking.scores[at][mask]
    counts = bool(ranking.fallback[at])
    ax = axes_for(ax, (6.4, 1.2 + 0.3 * len(ids)))
    bars = ax.barh(range(len(ids)), scores, color=COLOURS[0])
    ax.bar_label(bars, fmt="{:,.0f}" if counts else "{:.3g}", padding=3, fontsize=8)
    ax.set_yticks(range(len(ids)), [_shortened((names or {}).get(each, each)) for each in ids])
    ax.invert_yaxis()
    ax.margins(x=0.18)  # for the numbers at the ends of the bars
    of = "" if rows[at] in (None, -1) else f" for row {rows[at]}"
    ax.set(
        xlabel="training pairs of the column" if counts else "prediction p · q",
        title=f"{'Most popular columns' if counts else 'Recommended'}{of}",
    )
    return ax


def _index(rows: list[Any], row: Any) -> int:
    if not isinstance(row, int | str | np.integer):
        raise InvalidInputError(f"row is a {type(row).__name__}: give the id of a row")
    if row not in rows:
        raise UnknownIdError(f"row {row!r} is not in the ranking, which has {len(rows)} rows")
    return rows.index(row)


def _shortened(name: Any) -> str:
    text = str(name)
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"
