"""`write_recommendations` on a cluster: every block is ranked and written by a worker."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import URL

from twofold._common.progress import progress_bar
from twofold.distributed.engine import Cluster
from twofold.distributed.models import shared_model
from twofold.exceptions import InvalidInputError
from twofold.io.connect import sqlite_file
from twofold.model import FactorModel
from twofold.model.export import Writing, folder_of

__all__ = ["write_recommendations"]

_LOCK_SECONDS = 3600  # that a worker waits for others to write to an SQLite file


def write_recommendations(
    model: FactorModel | str | os.PathLike[str],
    target: str | URL | os.PathLike[str],
    *,
    n: int = 10,
    if_exists: Literal["error", "replace", "resume"] = "error",
    client: Any = None,
    progress: bool = False,
    **options: Any,
) -> None:
    """Write the recommendations for all rows of a model, ranked and written by the workers.

    The parts of a folder and the lines of a table are those of
    `twofold.model.write_recommendations`
    for a model. Each 20,000 rows are a task, and a task that is repeated because its worker or the
    client was lost writes nothing twice.

    Parameters
    ----------
    model : FactorModel, str or path-like
        A fitted model, which is sent to each worker once; or the path of a model file that all
        workers have, of which they map what they need.
    target : str, sqlalchemy.URL or path-like
        A folder that all workers have, or the URL of a database that they reach. An SQLite file is
        for workers of one machine.
    n : int, default 10
        Number of recommendations for each row, >= 1.
    if_exists : {"error", "replace", "resume"}, default "error"
        As for `twofold.model.write_recommendations`. With "resume", a run that was interrupted
        continues, whether it was begun on one machine or on a cluster.
    client : distributed.Client, optional
        The client of the cluster. Default: the current one.
    progress : bool, default False
        Show a progress bar over the blocks, with their number.
    **options
        ``table``, ``row``, ``col``, ``place``, ``score``, ``names`` and ``schema``, as for
        `twofold.model.write_recommendations`.

    Raises
    ------
    ClusterError
        If there is no client, no worker, or every worker ends that a block is given to.
    DatabaseReadError
        If a worker cannot reach the database, or it refuses to be written to.
    InvalidInputError
        As for `twofold.model.write_recommendations`, or if the target is a file or a connection.

    Examples
    --------
    With a cluster in the threads of this process:

    >>> from distributed import Client
    >>> from twofold import FactorModel, Pairings
    >>> model = FactorModel().fit(Pairings.from_arrays([1, 1, 2], [7, 9, 7]))
    >>> with Client(processes=False, dashboard_address=None) as client:
    ...     write_recommendations(model, "lists/", n=1, client=client)
    ...     write_recommendations(model, "sqlite:///lists.db", n=1, client=client)
    >>> [path.name for path in Path("lists").iterdir()]
    ['part-00000.parquet']
    """
    cluster = Cluster(client)
    writing = Writing.of(
        shared_model(model), _for_workers(target), n=n, if_exists=if_exists, **options
    )
    if writing.run is None:
        raise InvalidInputError(f"model is a {type(model).__name__}: give a fitted FactorModel")
    writing.write_by(_Shown(cluster, progress))


def _for_workers(target: Any) -> Any:
    """Return the target as processes with another working directory reach it."""
    folder = folder_of(target)
    if folder is not None:
        # As a text with a slash it is a folder, too, before it exists.
        return f"{folder.absolute()}{os.sep}"
    if isinstance(target, os.PathLike):
        return target
    if not isinstance(target, str | URL):
        raise InvalidInputError(
            f"target is a {type(target).__name__}: give a URL, with which the workers connect"
        )
    if isinstance(target, str) and "://" not in target:
        return target
    url = sa.make_url(target)
    file = sqlite_file(url) if url.get_backend_name() == "sqlite" else None
    if file is None:
        return url
    absolute = url.set(database=str(Path(file).absolute()))
    return absolute.update_query_dict({"timeout": str(_LOCK_SECONDS)})


class _Shown:
    """The tasks of a cluster with a progress bar, if there is more than one."""

    def __init__(self, cluster: Cluster, progress: bool) -> None:
        self.cluster, self.progress = cluster, progress

    def __call__(
        self, function: Callable[..., Any], shared: Any, tasks: Iterable[tuple[Any, ...]]
    ) -> Iterator[Any]:
        listed = list(tasks)
        described = f"{len(listed)} blocks on {self.cluster.n_workers} workers"
        with progress_bar(
            total=len(listed), desc=described, unit="block", shown=self.progress
        ) as bar:
            for result in self.cluster.each(function, shared, listed):
                bar.update()
                yield result
