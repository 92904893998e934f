"""The result of a solver: `Solution`, `Status` and the records of its history."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, Self

from numpy.typing import NDArray

from twofold._common.arrays import FactorArray
from twofold._common.checks import check_flags
from twofold.data.files import read_file, write_file
from twofold.exceptions import FileFormatError
from twofold.objective import ObjectiveValue
from twofold.plot.figures import draw_picture
from twofold.plot.runs import PANELS, draw_history
from twofold.solvers.html import solution_html

__all__ = ["Record", "Solution", "Status"]


class Status(StrEnum):
    """Why a solver stopped.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold import Objective
    >>> from twofold.solvers import ALS
    >>> R = sparse.csr_array([[1, 1, 0], [0, 1, 1]])
    >>> solution = ALS(n_factors=2, max_epochs=3, rng=0).solve(Objective(), R)
    >>> solution.status is Status.MAX_EPOCHS, solution.status == "max_epochs"
    (True, True)
    """

    CONVERGED = "converged"
    """The objective is expected to decrease by no more than ``tol`` of itself."""
    RUNNING = "running"
    """The run has not finished, as in callbacks and checkpoints."""
    MAX_EPOCHS = "max_epochs"
    """All epochs were run."""
    STOPPED = "stopped"
    """The callback returned a true value."""
    INTERRUPTED = "interrupted"
    """Ctrl-C was pressed, with ``on_interrupt="keep"``."""
    DIVERGED = "diverged"
    """The objective increased far beyond its initial value or became infinite or nan."""


@dataclass(frozen=True)
class Record:
    """The objective after an epoch.

    In a run of `ALS` with float32, those of all epochs but the last have relative errors of about
    1e-8; see its notes.

    Attributes
    ----------
    epoch : int
        Number of completed epochs; 0 is the initial state.
    seconds : float
        Time of preparation and epochs so far, without evaluations, callbacks and compilation.
    loss, unobserved, penalty, total : float
        The terms of the objective and their sum.

    Examples
    --------
    >>> record = Record.of(2, 0.5, ObjectiveValue(loss=1.0, unobserved=0.5, penalty=0.25))
    >>> record.epoch, record.total
    (2, 1.75)
    """

    epoch: int
    seconds: float
    loss: float
    unobserved: float
    penalty: float
    total: float

    @classmethod
    def of(cls, epoch: int, seconds: float, value: ObjectiveValue) -> Self:
        """Create the record of an objective value.

        Parameters
        ----------
        epoch : int
            Number of completed epochs.
        seconds : float
            Time so far.
        value : ObjectiveValue
            The value of the objective.

        Returns
        -------
        Record
        """
        return cls(epoch, seconds, value.loss, value.unobserved, value.penalty, value.total)


@dataclass(frozen=True, eq=False)
class Solution:
    """Factors, with the status and the history of the run.

    Parameters
    ----------
    row_factors : ndarray, shape (n_rows, n_factors)
        P.
    col_factors : ndarray, shape (n_cols, n_factors)
        Q.
    status : Status
        Why the solver stopped.
    message : str
        A sentence that explains the status and may give advice.
    history : tuple of Record
        The objective at the start and after each evaluated epoch. After a divergence, the last
        record is that of the divergence, and the factors are those of the record before.
    solver : str
        Name of the solver class.
    n_epochs : int
        Number of epochs after which the factors were obtained.
    seed : int
        Seed of all random numbers.
    memory : dict of str to ndarray
        Further state that is needed to continue, such as step sizes and accumulators.
    fingerprint : str
        A hash of the objective, the data and the parameters of the solver.
    n_threads : int
        Number of threads of the run, on which the result does not depend.
    vector_bits : int
        Largest width of the vectors in its kernels: 128, 256 or 512, or 0 if they were not
        compiled.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold import Objective
    >>> from twofold.solvers import ALS
    >>> R = sparse.csr_array([[1, 1, 0], [0, 1, 1]])
    >>> ALS(n_factors=2, max_epochs=3, rng=0).solve(Objective(), R).save("solution.twofold")
    >>> solution = Solution.load("solution.twofold")
    >>> solution.status, [record.epoch for record in solution.history]
    (<Status.MAX_EPOCHS: 'max_epochs'>, [0, 1, 2, 3])
    """

    row_factors: FactorArray
    col_factors: FactorArray
    status: Status
    message: str
    history: tuple[Record, ...]
    solver: str
    n_epochs: int
    seed: int
    memory: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False)
    fingerprint: str = ""
    n_threads: int = 1
    vector_bits: int = 0

    @property
    def objective_value(self) -> float:
        """Total objective of these factors at the last evaluation."""
        records = [record for record in self.history if record.epoch <= self.n_epochs]
        return records[-1].total

    def plot(self, target: Any = None) -> Any:
        """Draw the objective over the epochs and over the seconds; needs ``twofold[plot]``.

        Parameters
        ----------
        target : str, path-like or sequence of two matplotlib.axes.Axes, optional
            A file for the picture, or axes to draw into. Default: a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InvalidInputError
            If matplotlib is not installed, there are too few axes, or the file cannot be written.

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold import Objective
        >>> from twofold.solvers import ALS
        >>> R = sparse.csr_array([[1, 1, 0], [0, 1, 1]])
        >>> solution = ALS(n_factors=2, max_epochs=3, rng=0).solve(Objective(), R)
        >>> figure = solution.plot("history.png")
        """
        return draw_picture(target, PANELS, partial(draw_history, self.history))

    def __repr__(self) -> str:
        return (
            f"<Solution of {self.solver}: {self.status.value} after {self.n_epochs} epochs, "
            f"objective {self.objective_value:.6g}, rank {self.row_factors.shape[1]}>"
        )

    def _repr_html_(self) -> str:
        return solution_html(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the solution to a file, atomically and without pickle.

        Parameters
        ----------
        path : str or path-like
            The file, by convention ``*.twofold``.

        Raises
        ------
        InvalidInputError
            If the file cannot be written.
        """
        arrays = {"row_factors": self.row_factors, "col_factors": self.col_factors}
        arrays |= {f"memory.{name}": array for name, array in self.memory.items()}
        write_file(path, "solution", 1, arrays, self.to_meta())

    def to_meta(self) -> dict[str, Any]:
        """Return all fields except the arrays, as JSON types.

        Returns
        -------
        dict of str to object
        """
        return {
            "status": self.status.value,
            "message": self.message,
            "history": [asdict(record) for record in self.history],
            "solver": self.solver,
            "n_epochs": self.n_epochs,
            "seed": self.seed,
            "fingerprint": self.fingerprint,
            "n_threads": self.n_threads,
            "vector_bits": self.vector_bits,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> Self:
        """Create a solution from the arrays of a file and the result of `to_meta`.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            ``row_factors``, ``col_factors``, and the memory as ``memory.NAME``.
        meta : mapping of str to object
            The result of `to_meta`.

        Returns
        -------
        Solution

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold import Objective
        >>> from twofold.solvers import ALS
        >>> R = sparse.csr_array([[1, 1, 0], [0, 1, 1]])
        >>> solution = ALS(n_factors=2, max_epochs=3, rng=0).solve(Objective(), R)
        >>> arrays = {"row_factors": solution.row_factors, "col_factors": solution.col_factors}
        >>> Solution.from_arrays(arrays, solution.to_meta()).n_epochs
        3
        """
        memory = {
            name.removeprefix("memory."): array
            for name, array in arrays.items()
            if name.startswith("memory.")
        }
        history = tuple(Record(**record) for record in meta["history"])
        _check_history(history, meta["n_epochs"])
        return cls(
            arrays["row_factors"], arrays["col_factors"], Status(meta["status"]), meta["message"],
            history, meta["solver"], meta["n_epochs"], meta["seed"], memory,
            meta.get("fingerprint", ""), meta["n_threads"], meta["vector_bits"],
        )  # fmt: skip

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False) -> Self:
        """Read a solution that `save` or a checkpoint wrote.

        Parameters
        ----------
        path : str or path-like
            The file.
        mmap : bool, default False
            Map the arrays into memory, copy-on-write, instead of reading them: for factors that
            exceed the memory, as with the ``array_folder`` of `ALS`. They are verified in any case.

        Returns
        -------
        Solution

        Raises
        ------
        FileFormatError
            If the file is not a whole solution.
        InvalidInputError
            If it cannot be opened.
        """
        check_flags(mmap=mmap)
        arrays, meta = read_file(path, "solution", 1, mapped=mmap)
        try:
            return cls.from_arrays(arrays, meta)
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{str(path)!r} is not a whole solution: {error}") from error


def _check_history(history: tuple[Record, ...], n_epochs: Any) -> None:
    """Raise ValueError unless the epochs ascend and the first is at most ``n_epochs``."""
    epochs = [record.epoch for record in history]
    numbers = [value for record in history for value in asdict(record).values()]
    if not all(isinstance(value, int | float) for value in (*numbers, n_epochs)):
        raise ValueError("its history contains values that are not numbers")
    if not epochs or sorted(set(epochs)) != epochs or not 0 <= epochs[0] <= n_epochs:
        raise ValueError(f"the epochs of its history are {epochs}")
