"""Parameters of a model by name, as scikit-learn reads and sets them."""

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, ClassVar, Self

from twofold.exceptions import InvalidInputError

__all__ = ["WithParameters"]

_SEPARATOR = "__"


class WithParameters:
    """What scikit-learn's ``clone``, ``GridSearchCV`` and ``Pipeline`` need of an estimator.

    scikit-learn itself is not needed.
    """

    _parameters: ClassVar[dict[str, str]]  # the attribute of each argument of the constructor

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name.

        Parameters
        ----------
        deep : bool, default True
            Include the fields of the parameters, such as ``solver__n_factors`` and
            ``objective__regularizer__weight``.

        Returns
        -------
        dict of str to object

        Examples
        --------
        >>> from twofold import FactorModel
        >>> model = FactorModel().set_params(solver__n_factors=8, objective__ratio=5.0)
        >>> model.get_params()["solver__n_factors"], model.objective.ratio
        (8, 5.0)
        """
        own = {name: getattr(self, place) for name, place in self._parameters.items()}
        return own | _nested(own) if deep else own

    def set_params(self, **parameters: Any) -> Self:
        """Set parameters for the next `fit`; what is fitted does not change.

        The solver and the objective are replaced by copies with the given fields.

        Parameters
        ----------
        **parameters
            Values by the names of `get_params`. A parameter is set before its fields.

        Returns
        -------
        FactorModel
            Itself.

        Raises
        ------
        InvalidInputError
            If there is no parameter of a name.
        """
        own = self.get_params(deep=False)
        for name in sorted(parameters, key=lambda name: name.count(_SEPARATOR)):
            first, *inner = name.split(_SEPARATOR)
            if first not in own:
                raise InvalidInputError(
                    f"{type(self).__name__} has no parameter {name!r}: there are "
                    f"{', '.join(self.get_params())}"
                )
            own[first] = _replaced(own[first], inner, parameters[name], name)
        made = type(self)(**own)
        for place in self._parameters.values():
            setattr(self, place, getattr(made, place))
        return self

    def __sklearn_tags__(self) -> Any:
        """Return the tags of scikit-learn for an estimator without targets."""
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type=None, target_tags=TargetTags(required=False))


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of those values that are dataclasses, and theirs."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if is_dataclass(value) and not inspect.isclass(value):
            inner = {one.name: getattr(value, one.name) for one in fields(value) if one.init}
            inner |= _nested(inner)
            found |= {f"{name}{_SEPARATOR}{key}": each for key, each in inner.items()}
    return found


def _replaced(owner: Any, path: list[str], value: Any, name: str) -> Any:
    """Return a copy of a dataclass with the value at a path of fields, or the value itself."""
    if not path:
        return value
    known = [one.name for one in fields(owner) if one.init] if is_dataclass(owner) else []
    if path[0] not in known:
        raise InvalidInputError(
            f"there is no parameter {name!r}: {type(owner).__name__} has {', '.join(known) or 'no'}"
            " fields"
        )
    inner = _replaced(getattr(owner, path[0]), path[1:], value, name)
    return replace(owner, **{path[0]: inner})
