"""Every error and warning that twofold raises on purpose.

Each message is one sentence that names the place (row, column, id, field or file) and the way out.
"""

import traceback

__all__ = [
    "CheckpointWarning",
    "ClusterError",
    "ConvergenceWarning",
    "DatabaseReadError",
    "DivergenceWarning",
    "FileFormatError",
    "IgnoredValuesWarning",
    "InvalidInputError",
    "KernelCacheWarning",
    "LeakWarning",
    "NotFittedError",
    "SingularRowError",
    "TwofoldError",
    "UnknownIdError",
    "UnsupportedObjectiveError",
    "UnsupportedPythonError",
]


class TwofoldError(Exception):
    """Base class of all errors raised by twofold."""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows: the sentence first, then the whole traceback.

        Without this method of IPython's protocol, the sentence is below some fifty lines of code.
        """
        trace = self.__traceback__
        while trace and trace.tb_frame.f_globals.get("__name__", "").startswith("IPython."):
            trace = trace.tb_next
        lines = "".join(traceback.format_exception(type(self), self, trace)).splitlines()
        return [f"{type(self).__name__}: {self}", "", *lines]


class InvalidInputError(TwofoldError, ValueError):
    """A value, a shape, an id or a hyper-parameter that cannot be used."""


class NotFittedError(InvalidInputError, AttributeError):
    """Something that a model has only after its `fit`.

    It is an AttributeError, too, so that ``hasattr(model, "row_factors")`` is False before it.
    """


class UnsupportedObjectiveError(TwofoldError, ValueError):
    """A solver was given an objective that it cannot minimise."""


class SingularRowError(TwofoldError, ValueError):
    """A row's normal equations have no unique solution."""


class UnknownIdError(TwofoldError, KeyError):
    """An id that is not in the vocabulary."""

    def __str__(self) -> str:
        # KeyError shows repr(message); a sentence should read as a sentence.
        return str(self.args[0]) if self.args else ""


class FileFormatError(TwofoldError, ValueError):
    """A file that is truncated, damaged or of another kind than expected."""


class DatabaseReadError(TwofoldError, ValueError):
    """A database, table or column that cannot be reached or read."""


class ClusterError(TwofoldError, RuntimeError):
    """A cluster that cannot be reached, has no workers, or whose workers end."""


class UnsupportedPythonError(TwofoldError, ImportError):
    """A build of Python for which the kernels are not made, such as a free-threaded one."""


class DivergenceWarning(UserWarning):
    """A fit diverged; the last finite factors were kept."""


class IgnoredValuesWarning(UserWarning):
    """Stored values differ from each other, but the objective does not read them."""


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written; the run continued without it."""


class ConvergenceWarning(UserWarning):
    """An iterative computation stopped before it was as accurate as promised."""


class KernelCacheWarning(UserWarning):
    """Compiled kernels cannot be kept on disk; every process compiles them again."""


class LeakWarning(UserWarning):
    """Parts of a split have rows or pairs in common, or rows or columns that training does not."""
