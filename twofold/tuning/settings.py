"""Parameters of a trial: from names and values to a solver and an objective."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from twofold.data.pairings import Pairings
from twofold.exceptions import InvalidInputError
from twofold.objective import Balanced, Objective
from twofold.solvers import Solver
from twofold.tuning.space import Dimension, Values

__all__ = ["Settings"]

_PARTS = ("loss", "regularizer")


@dataclass(frozen=True)
class Settings:
    """The solver and the objective whose fields a search varies."""

    solver: Solver
    objective: Objective | Balanced

    def with_parameters(
        self, parameters: Mapping[str, Any], pairings: Pairings
    ) -> tuple[Solver, Objective]:
        """Return the solver and the objective of a trial.

        Fields of `Balanced` are replaced before it is resolved for the pairings, fields of the
        objective after it, and fields of a part after the part.
        """
        left = dict(parameters)
        solver = replace(self.solver, **_taken(left, field_names(self.solver)))
        given: Any = self.given_objective(left)
        objective: Objective = given.for_data(pairings.matrix, pairings.weights)
        objective = replace(objective, **_taken(left, field_names(objective)))
        for name, value in left.items():
            part, _, inner = name.partition(".")
            whole = getattr(objective, part)
            if inner not in field_names(whole):
                raise InvalidInputError(f"{type(whole).__name__} has no field {inner!r}")
            objective = replace(objective, **{part: replace(whole, **{inner: value})})
        return solver, objective

    def given_objective(self, parameters: dict[str, Any]) -> Objective | Balanced:
        """Return the objective as given, with fields of `Balanced` taken out of the parameters."""
        if isinstance(self.objective, Balanced):
            own = _taken(parameters, field_names(self.objective))
            return replace(self.objective, **own)
        return self.objective

    def current(self, names: Iterable[str], pairings: Pairings) -> dict[str, Any]:
        """Return the values of some fields as they are; a field of another part is left out."""
        objective: Any = self.objective
        resolved = objective.for_data(pairings.matrix, pairings.weights)
        owners: dict[str, tuple[Any, ...]] = {"": (self.solver, objective, resolved)}
        owners |= {part: (getattr(resolved, part),) for part in _PARTS}
        values = {}
        for name in names:
            part, _, inner = name.rpartition(".")
            owner = next((each for each in owners[part] if inner in field_names(each)), None)
            if owner is not None:
                values[name] = getattr(owner, inner)
        return values

    def check_names(self, space: Mapping[str, Dimension]) -> None:
        """Raise InvalidInputError if a name of the space is not that of a field."""
        known = [*field_names(self.solver), *field_names(self.objective), *field_names(Objective)]
        for part in _PARTS:
            candidates = [getattr(self.objective, part, None)]
            dimension = space.get(part)
            if isinstance(dimension, Values):
                candidates += dimension.values
            if isinstance(self.objective, Balanced):
                candidates.append(getattr(Objective(), part))  # which Balanced resolves to
            for candidate in filter(is_dataclass, candidates):
                known += [f"{part}.{name}" for name in field_names(candidate)]
        for name in space:
            if name not in known:
                raise InvalidInputError(
                    f"{name!r} is not a field: there are {', '.join(dict.fromkeys(known))}"
                )


def field_names(owner: Any) -> list[str]:
    """Return the names of the parameters of a dataclass or of an instance of one."""
    return [field.name for field in fields(owner) if field.init]


def _taken(left: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Take the parameters with some names out of those that are left."""
    return {name: left.pop(name) for name in [*left] if name in names}
