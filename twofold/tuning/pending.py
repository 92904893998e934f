"""`PendingTrial`: the trial that a strategy gets before it has ended."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twofold.tuning.run import Trial

__all__ = ["PendingTrial"]


class PendingTrial:
    """A trial that workers run; its fields are those of the trial, and reading one waits for it.

    A strategy that does not read the trials that it gets, or reads them later, has its trials run
    at the same time.

    Parameters
    ----------
    collect : callable
        ``collect()`` waits for some trials, and sets ``trial`` of those that have ended.
    """

    def __init__(self, collect: Callable[[], None]) -> None:
        self._collect = collect
        self.trial: Trial | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        while self.trial is None:
            self._collect()
        return getattr(self.trial, name)
