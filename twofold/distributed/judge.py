"""`evaluate` on a cluster: batches of rows are judged by the workers."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from twofold._common.checks import check_whole
from twofold._common.progress import progress_bar
from twofold.distributed.engine import Cluster
from twofold.distributed.models import shared_model
from twofold.evaluation import Evaluation
from twofold.evaluation.run import evaluated, metrics_of
from twofold.splits import PairSplit

__all__ = ["evaluate"]


def evaluate(
    models: Any,
    split: PairSplit,
    metrics: Sequence[str] = ("recall", "ndcg", "precision", "hit-rate"),
    k: int = 20,
    *,
    rows: Literal["fold-in", "trained"] = "fold-in",
    unknown: Literal["miss", "leave-out"] = "miss",
    baseline: bool = True,
    client: Any = None,
    progress: bool = False,
) -> Evaluation:
    """Judge models by held-out pairs on the workers, with the result of `twofold.evaluate`.

    A model is sent to each worker once, and the rows in batches. The workers return the values of
    rows and the counts of columns, of which the client computes the scores.

    Parameters
    ----------
    models : Recommender, Solution, path, or mapping of str to these
        As for `twofold.evaluate`; or the paths of model files that all workers have.
    split, metrics, k, rows, unknown, baseline
        As for `twofold.evaluate`.
    client : distributed.Client, optional
        The client of the cluster. Default: the current one.
    progress : bool, default False
        Show a progress bar over the batches.

    Returns
    -------
    Evaluation
        The same scores, values of each row and counts, bit for bit.

    Raises
    ------
    ClusterError
        If there is no client, no worker, or every worker ends that a batch is given to.
    InvalidInputError, UnknownIdError
        As for `twofold.evaluate`.

    Warns
    -----
    LeakWarning
        As for `twofold.evaluate`.

    Examples
    --------
    With a cluster in the threads of this process:

    >>> from distributed import Client
    >>> import twofold
    >>> from twofold import FactorModel, split_pairs
    >>> from twofold.datasets import make_playlists
    >>> split = split_pairs(make_playlists(60, 30, rng=0).pairings, rng=0)
    >>> model = FactorModel().fit(split.train)
    >>> with Client(processes=False, dashboard_address=None) as client:
    ...     evaluation = evaluate(model, split, ["recall@5"], client=client)
    >>> evaluation["recall@5"] == twofold.evaluate(model, split, ["recall@5"])["recall@5"]
    True
    """
    check_whole(k, "k", 1)
    cluster = Cluster(client)
    if isinstance(models, Mapping):
        models = {name: shared_model(model) for name, model in models.items()}
    described = f"evaluate on {cluster.n_workers} workers"
    with progress_bar(desc=described, unit="batch", shown=progress) as bar:

        def each(function: Any, shared: Any, tasks: Any) -> Any:
            for result in cluster.each(function, shared, tasks):
                bar.update()
                yield result

        return evaluated(
            shared_model(models), split, metrics_of(metrics, k),
            rows=rows, unknown=unknown, baseline=baseline, each=each,
        )  # fmt: skip
