"""Solvers by name: the built-in ones and those registered by other packages."""

import importlib
import inspect
from importlib.metadata import entry_points

from twofold.exceptions import InvalidInputError
from twofold.objective import Objective
from twofold.solvers.als import ALS
from twofold.solvers.base import Solver
from twofold.solvers.gd import GD
from twofold.solvers.sgd import SGD

__all__ = ["available_solvers", "get_solver", "solvers_for"]

GROUP = "twofold.solvers"
_BUILT_IN: dict[str, type[Solver]] = {"als": ALS, "sgd": SGD, "gd": GD}


def available_solvers() -> list[str]:
    """Return the names that `get_solver` accepts: built-in solvers, then installed plug-ins.

    Returns
    -------
    list of str
        Lower-case names. The plug-ins are not imported.

    Examples
    --------
    >>> available_solvers()[:3]
    ['als', 'sgd', 'gd']
    """
    plugins = {point.name.lower() for point in entry_points(group=GROUP)}
    return [*_BUILT_IN, *sorted(plugins - set(_BUILT_IN))]


def get_solver(name: str) -> type[Solver]:
    """Return a solver class by its name.

    Parameters
    ----------
    name : str
        A name from `available_solvers`, in any case, or ``"module:Class"``.

    Returns
    -------
    type
        A concrete subclass of `Solver`.

    Raises
    ------
    InvalidInputError
        If the name is unknown, or is not that of a subclass of `Solver`.

    Examples
    --------
    >>> get_solver("als")
    <class 'twofold.solvers.als.ALS'>
    """
    if not isinstance(name, str):
        raise InvalidInputError(f"the solver's name is {name!r}: give a str")
    found: object = _BUILT_IN.get(name.lower())
    if found is None and ":" in name:
        module, _, attribute = name.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise InvalidInputError(f"there is no solver {name!r}: {error}") from error
    elif found is None:
        for point in entry_points(group=GROUP):
            if point.name.lower() == name.lower():
                try:
                    found = point.load()
                except Exception as error:
                    raise InvalidInputError(
                        f"the solver {name!r} of {point.value!r} cannot be imported: {error}"
                    ) from error
    if found is None:
        raise InvalidInputError(
            f"there is no solver {name!r}: give one of {', '.join(available_solvers())}, or "
            '"module:Class"'
        )
    if not (isinstance(found, type) and issubclass(found, Solver)) or inspect.isabstract(found):
        raise InvalidInputError(f"{name!r} is {found!r}, which is not a subclass of Solver")
    return found


def solvers_for(objective: Objective) -> list[str]:
    """Return the names of the built-in solver classes that can minimise an objective.

    Parameters
    ----------
    objective : Objective
        The objective to minimise.

    Returns
    -------
    list of str
        Class names, such as "GD".

    Examples
    --------
    >>> from twofold import HuberLoss
    >>> solvers_for(Objective(HuberLoss()))
    ['SGD', 'GD']
    """
    return [
        solver.__name__ for solver in _BUILT_IN.values() if not solver.supports.missing(objective)
    ]
