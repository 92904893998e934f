"""`search` on a cluster: the trials are run by the workers."""

from collections.abc import Callable
from typing import Any

from twofold.data.pairings import Pairings
from twofold.distributed.engine import Cluster
from twofold.exceptions import InvalidInputError
from twofold.objective import Balanced, Objective
from twofold.solvers import Solver
from twofold.tuning import SearchResult, Strategy, Trial
from twofold.tuning.searches import prepare

__all__ = ["search"]


def search(
    solver: Solver,
    objective: Objective | Balanced,
    train: Pairings | Any,
    validation: Pairings | Any,
    strategy: Strategy,
    *,
    client: Any = None,
    progress: bool = False,
    callback: Callable[[Trial], object] | None = None,
    **options: Any,
) -> SearchResult:
    """Train with different parameters on the workers, with the result of `twofold.tuning.search`.

    The pairings are sent to each worker once. Trials that do not depend on each other run at the
    same time, each with all threads of its worker: all of `Grid` and `Random`, those of a step of
    `Halving`, and one at a time of `Optuna`, whose suggestions depend on all scores before. The
    scores, also with ``patience``, are those of one machine; the seconds are not.

    Parameters
    ----------
    solver, objective, train, validation, strategy
        As for `twofold.tuning.search`. A trial of `Halving` that continues is trained again from
        its first epoch, because workers do not keep factors: with ``factor=3``, at most half as
        many epochs more.
    client : distributed.Client, optional
        The client of the cluster. Default: the current one.
    progress : bool, default False
        Show a progress bar over the trials.
    callback : callable, optional
        ``callback(trial)`` in the client after each trial, in the order in which they end.
    **options
        ``score``, ``patience``, ``storage`` and ``study``, as for `twofold.tuning.search`. The
        client writes to the storage, and a search continues there on one machine or a cluster.

    Returns
    -------
    SearchResult
        Trials, best first. One that ends every worker it is given to is a failed one.

    Raises
    ------
    ClusterError
        If there is no client or no worker, or the client is closed meanwhile.
    InvalidInputError
        As for `twofold.tuning.search`, or if ``warm_start`` is given, with which the results would
        depend on the order of the trials.

    Examples
    --------
    With a cluster in the threads of this process:

    >>> from distributed import Client
    >>> from twofold import Balanced, split_rows
    >>> from twofold.datasets import make_playlists
    >>> from twofold.solvers import ALS
    >>> from twofold.tuning import Grid
    >>> train, validation, _ = split_rows(make_playlists(60, 30, rng=0).pairings, rng=0)
    >>> solver, grid = ALS(max_epochs=2, rng=0), Grid({"n_factors": [2, 4]})
    >>> with Client(processes=False, dashboard_address=None) as client:
    ...     result = search(solver, Balanced(), train, validation, grid, client=client)
    >>> len(result.trials)  # the default and two of the grid
    3
    """
    if options.get("warm_start"):
        raise InvalidInputError(
            "warm_start=True makes a trial depend on the one before it: leave it out on a cluster"
        )
    cluster = Cluster(client)
    # A trial in which a cluster solves would wait for the worker that runs it.
    prepared = prepare(solver.on_one_machine(), objective, train, validation, strategy, **options)
    return prepared.run(progress, callback, cluster)
