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
    """Base class of all errors raised by twofold.

    Examples
    --------
    >>> from twofold import Pairings
    >>> from twofold.exceptions import TwofoldError
    >>> try:
    ...     Pairings.from_arrays([1, 2], [3])
    ... except TwofoldError as error:
    ...     print(error)
    rows has 2 entries but cols has 1: they must be parallel arrays, one entry for each pair
    """

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
    """A value, a shape, an id or a hyper-parameter that cannot be used.

    Examples
    --------
    It is a ValueError, too:

    >>> from twofold import L2
    >>> try:
    ...     L2(-1.0)
    ... except ValueError as error:
    ...     print(f"{type(error).__name__}: {error}")
    InvalidInputError: the regularizer's weight is -1.0: it must be a finite number >= 0
    """


class NotFittedError(InvalidInputError, AttributeError):
    """Something that a model has only after its `fit`.

    It is an AttributeError, too, so that ``hasattr(model, "row_factors")`` is False before it.

    Examples
    --------
    >>> from twofold import FactorModel
    >>> from twofold.exceptions import NotFittedError
    >>> model = FactorModel()
    >>> try:
    ...     model.row_factors
    ... except NotFittedError as error:
    ...     print(error)
    the model is not fitted: call fit(pairings) first
    >>> hasattr(model, "row_factors")
    False
    """


class UnsupportedObjectiveError(TwofoldError, ValueError):
    """A solver was given an objective that it cannot minimise.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold import LogisticLoss, Objective
    >>> from twofold.exceptions import UnsupportedObjectiveError
    >>> from twofold.solvers import ALS
    >>> objective = Objective(LogisticLoss(), data="targets")
    >>> try:
    ...     ALS().solve(objective, sparse.eye_array(3))
    ... except UnsupportedObjectiveError as error:
    ...     print(error)
    ALS does not support the loss LogisticLoss: use GD or SGD
    """


class SingularRowError(TwofoldError, ValueError):
    """A row's normal equations have no unique solution.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from twofold import L2, Objective, fold_in
    >>> from twofold.exceptions import SingularRowError
    >>> col_factors = np.ones((3, 2))  # two equal factors
    >>> try:
    ...     fold_in(Objective(regularizer=L2(0.0)), sparse.eye_array(3), col_factors)
    ... except SingularRowError as error:
    ...     print(str(error).split(",")[0])
    row 0 (1 entries) has no unique solution
    """


class UnknownIdError(TwofoldError, KeyError):
    """An id that is not in the vocabulary.

    Examples
    --------
    It is a KeyError, too:

    >>> from twofold import Pairings
    >>> pairings = Pairings.from_arrays([1, 2], [3, 4])
    >>> try:
    ...     pairings.row_index([7])
    ... except KeyError as error:
    ...     print(error)
    row id 7 is unknown: it is not among the 2 row ids, which are integers
    """

    def __str__(self) -> str:
        # KeyError shows repr(message); a sentence should read as a sentence.
        return str(self.args[0]) if self.args else ""


class FileFormatError(TwofoldError, ValueError):
    """A file that is truncated, damaged or of another kind than expected.

    Examples
    --------
    >>> from pathlib import Path
    >>> from twofold import FactorModel
    >>> from twofold.exceptions import FileFormatError
    >>> Path("notes.txt").write_text("not a model")
    11
    >>> try:
    ...     FactorModel.load("notes.txt")
    ... except FileFormatError as error:
    ...     print(error)
    'notes.txt' is a text file, not a file of twofold
    """


class DatabaseReadError(TwofoldError, ValueError):
    """A database, table or column that cannot be reached or read.

    Examples
    --------
    >>> from twofold.exceptions import DatabaseReadError
    >>> from twofold.io import read_sql
    >>> try:
    ...     read_sql("sqlite:///missing.db")
    ... except DatabaseReadError as error:
    ...     print(error)
    there is no SQLite file 'missing.db': check the path
    """


class ClusterError(TwofoldError, RuntimeError):
    """A cluster that cannot be reached, has no workers, or whose workers end.

    Examples
    --------
    >>> from twofold.distributed import Cluster
    >>> from twofold.exceptions import ClusterError
    >>> try:
    ...     Cluster()
    ... except ClusterError as error:
    ...     print(str(error).split(":")[0])
    there is no Dask client
    """


class UnsupportedPythonError(TwofoldError, ImportError):
    """A build of Python for which the kernels are not made, such as a free-threaded one.

    Examples
    --------
    It is an ImportError, too, so that a program can do without twofold:

    >>> try:
    ...     from twofold.solvers import ALS
    ... except ImportError:  # UnsupportedPythonError, or twofold is not installed
    ...     ALS = None
    """


class DivergenceWarning(UserWarning):
    """A fit diverged; the last finite factors were kept.

    Examples
    --------
    >>> import warnings
    >>> from scipy import sparse
    >>> from twofold import Objective
    >>> from twofold.exceptions import DivergenceWarning
    >>> from twofold.solvers import SGD
    >>> matrix = sparse.csr_array([[5.0, 4.0], [1.0, 0.0]])
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", DivergenceWarning)
    ...     solution = SGD(n_factors=2, learning_rate=1e6).solve(Objective(data="targets"), matrix)
    >>> str(caught[0].message).split(": ")[-1]
    'decrease learning_rate (it is 1e+06).'
    >>> solution.status
    <Status.DIVERGED: 'diverged'>
    """


class IgnoredValuesWarning(UserWarning):
    """Stored values differ from each other, but the objective does not read them.

    Examples
    --------
    A program that must not ignore values makes an error of the warning:

    >>> import warnings
    >>> from twofold import FactorModel, Pairings
    >>> from twofold.exceptions import IgnoredValuesWarning
    >>> ratings = Pairings.from_arrays([0, 0, 1], [0, 1, 0], [5.0, 4.0, 1.0])
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", IgnoredValuesWarning)
    ...     try:
    ...         FactorModel().fit(ratings)
    ...     except IgnoredValuesWarning as warning:
    ...         print(str(warning).split(":")[0])
    the stored values, which are between 1 and 5, are ignored
    """


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written; the run continued without it.

    Examples
    --------
    A program that must not continue without checkpoints makes an error of the warning:

    >>> import warnings
    >>> from scipy import sparse
    >>> from twofold import Objective
    >>> from twofold.exceptions import CheckpointWarning
    >>> from twofold.solvers import ALS
    >>> solver = ALS(n_factors=2, max_epochs=3)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", CheckpointWarning)
    ...     solution = solver.solve(Objective(), sparse.eye_array(3), checkpoint="run.twofold")
    """


class ConvergenceWarning(UserWarning):
    """An iterative computation stopped before it was as accurate as promised.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from twofold import L2, LogisticLoss, Objective, fold_in
    >>> from twofold.exceptions import ConvergenceWarning
    >>> objective = Objective(LogisticLoss(), L2(0.0))  # whose minimum is at infinity
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", ConvergenceWarning)
    ...     row_factors = fold_in(objective, sparse.csr_array([[1.0, 1.0]]), np.eye(2))
    >>> str(caught[0].message).split(":")[0]
    'row 0 and 0 others did not converge, so their factors are approximate'
    """


class KernelCacheWarning(UserWarning):
    """Compiled kernels cannot be kept on disk; every process compiles them again.

    Examples
    --------
    A program that must start quickly makes an error of the warning:

    >>> import warnings
    >>> from twofold import FactorModel, Pairings
    >>> from twofold.exceptions import KernelCacheWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", KernelCacheWarning)
    ...     model = FactorModel().fit(Pairings.from_arrays([1, 2], [3, 4]))
    """


class LeakWarning(UserWarning):
    """Parts of a split have rows or pairs in common, or rows or columns that training does not.

    Examples
    --------
    >>> import warnings
    >>> from twofold import FactorModel, Pairings, evaluate
    >>> from twofold.exceptions import LeakWarning
    >>> from twofold.splits import PairSplit
    >>> pairings = Pairings.from_arrays([1, 1, 2], [3, 4, 4])
    >>> model = FactorModel().fit(pairings)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", LeakWarning)
    ...     evaluation = evaluate(model, PairSplit(pairings, pairings))
    >>> str(caught[0].message).split(":")[0]
    "3 held-out pairs are also given to 'model', which does not recommend what a row has"
    """
