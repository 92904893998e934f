"""Options of the command line, derived from the parameters of dataclasses and functions.

Name, type and default are those of the signature. The help text is that of the docstring.
"""

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from twofold.exceptions import TwofoldError

__all__ = [
    "Option", "OptionError", "check_owners", "documentation", "join_words", "options_of",
    "translate_errors", "with_owners",
]  # fmt: skip

_TYPES: dict[type, tuple[str, str]] = {  # in the order of the attempts to convert a text
    int: ("INT", "a whole number"), float: ("FLOAT", "a number"), Path: ("PATH", "a path"),
    str: ("TEXT", "a text"),
}  # fmt: skip
_DEFAULTS = {"rng": 0}  # replaces a default of None, so that commands are reproducible
_HELP = {"rng": "Seed of all random numbers."}  # without generators
_MIN_LENGTH = 40  # characters of a help text, if the docstring has several sentences


class OptionError(TwofoldError):
    """An option is unknown, lacks its value, or has an invalid value."""


@dataclass(frozen=True)
class Option:
    """The option of one parameter."""

    name: str
    flag: str
    choices: Mapping[str, Any]
    """Values by their texts; a switch has the choice "true"."""
    types: tuple[type, ...]
    many: Literal["", "commas", "repeat"]
    """Whether several values are separated by commas or given by repeating the option."""
    default: Any
    help: str
    owners: tuple[str, ...] = ()
    """Names of the alternatives with this option, such as solvers; empty without alternatives."""

    @property
    def metavar(self) -> str:
        """Placeholder of the value in the help text."""
        choices = "{" + ",".join(text for text in self.choices if text != "none") + "}"
        return (
            _TYPES[self.types[-1]][0] + ",..." * (self.many == "commas") if self.types else choices
        )

    def parse(self, text: str) -> Any:
        """Return the value of a text; raise OptionError if it is invalid."""
        if self.many == "commas":
            return [replace(self, many="").parse(item.strip()) for item in text.split(",")]
        if text in self.choices:
            return self.choices[text]
        for kind in self.types:
            try:
                return kind(text)
            except ValueError:
                continue
        words = [*self.choices, *(_TYPES[kind][1] for kind in self.types)]
        raise OptionError(f"{self.flag} {text}: it must be {join_words(words, 'or')}")


def options_of(
    target: Callable[..., Any],
    *,
    skip: Collection[str] = (),
    flags: Mapping[str, str] = {},
    help: Mapping[str, str] = {},
) -> dict[str, Option]:
    """Return the options of the parameters of a dataclass or a function, by name.

    Parameters whose types have no text form are omitted. ``flags`` and ``help`` replace the flags
    derived from the names and the texts derived from the docstring.
    """
    try:
        hints = get_type_hints(target)
    except NameError:  # A type is imported for type checkers only.
        hints = {}
    summaries = {name: _summary(text) for name, text in documentation(target).items()}
    texts = summaries | _HELP | {**help}
    options = {}
    for name, parameter in inspect.signature(target).parameters.items():
        default = parameter.default
        value_spec = _value_spec(hints.get(name, type(default)))
        if name not in skip and value_spec is not None:
            flag = flags.get(name, "--" + name.replace("_", "-"))
            default = _DEFAULTS.get(name) if default is None else default
            options[name] = Option(name, flag, *value_spec, default, texts.get(name, ""))
    return options


def _value_spec(hint: Any) -> tuple[dict[str, Any], tuple[type, ...], Any] | None:
    """Return `choices`, `types` and `many` of an option; None for types without a text form."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    many = ""
    for member in members:
        origin = get_origin(member)
        if isinstance(origin, type) and issubclass(origin, Sequence):
            many = "repeat" if origin is list else "commas"
            members = get_args(member)
            break
    literals = [get_args(member) for member in members if get_origin(member) is Literal]
    choices = {str(choice): choice for choice in sum(literals, ())}
    if bool in members:
        choices |= {"true": True, "false": False}
    types = tuple(kind for kind in _TYPES if kind in members)
    if not types and not choices:
        return None
    if NoneType in members and not {str, Path} & {*types}:
        choices["none"] = None
    return choices, types, many


def documentation(target: Callable[..., Any]) -> dict[str, str]:
    """Return the description of each parameter by name, and the text before them as ""."""
    descriptions: dict[str, str] = {}
    for owner in reversed(target.__mro__) if isinstance(target, type) else [target]:
        text = inspect.cleandoc(owner.__doc__ or "")
        parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", text, flags=re.MULTILINE)
        descriptions[""] = parts[0].strip()
        section = dict(zip(parts[1::2], parts[2::2], strict=True)).get("Parameters", "")
        for names, body in re.findall(r"^(\S.*)\n((?:[ \t].*\n?|\n)+)", section, re.MULTILINE):
            for name in re.split(r"\s*,\s*", names.partition(":")[0].strip()):
                # For "As for every solver", keep the description of the base class.
                if not (body.strip().startswith("As for ") and name in descriptions):
                    descriptions[name] = body.strip()
    return descriptions


def _summary(text: str) -> str:
    """Return the first sentences, without references and code markup."""
    text = " ".join(text.partition("\n\n")[0].replace("`", "").split())
    text = re.sub(r"; see [\w. ]+?(?=\.?$|\. )", "", text)
    text = re.sub(r"\bNone\b", "the default", re.sub(r"(^|\. )None\b", r"\1The default", text))
    ends = [end.start() for end in re.finditer(r"(?<=\.) (?=[A-Z\"])", text)]
    return text[: next((end for end in ends if end >= _MIN_LENGTH), None)]


def with_owners(tables: Mapping[str, Mapping[str, Option]]) -> dict[str, Option]:
    """Merge the options of several owners, with the first description of each option."""
    merged: dict[str, Option] = {}
    for owner, options in tables.items():
        for name, option in options.items():
            first = merged.setdefault(name, option)
            merged[name] = replace(first, owners=(*first.owners, owner))
    return merged


def check_owners(options: Mapping[str, Option], given: Iterable[str], owner: str, why: str) -> None:
    """Raise OptionError if the owner does not have one of the given options."""
    for option in map(options.__getitem__, given):
        if owner not in option.owners:
            raise OptionError(f"{option.flag} is for {join_words(option.owners)} only, and {why}")


def join_words(words: Sequence[str], conjunction: str = "and") -> str:
    """Join words with commas and a conjunction."""
    return f" {conjunction} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


@contextmanager
def translate_errors(options: Iterable[Option]) -> Iterator[None]:
    """Replace names of parameters by options in the messages of errors of the block."""
    try:
        yield
    except OptionError:
        raise
    except TwofoldError as error:
        raise TwofoldError(_translate(str(error), options)) from error


def _translate(message: str, options: Iterable[Option]) -> str:
    for pattern, text in (
        (r"FactorModel\.load\(path, classes=\[(\w+)\]\)", r"by --class module:\1"),
        ('if_exists="replace"', "--replace"),
        ("^fraction is", "--hide is"),
        ("^table is", "--into-table is"),
        (r"Objective\.notebook\(\)", "--preset notebook"),
        ("^n_processes=", "--processes "),
    ):
        message = re.sub(pattern, text, message)
    for option in options:
        name, flag = option.name, option.flag
        message = re.sub(rf"(?<![\w.-]){name}=True\b", flag, message)
        message = re.sub(rf"(?<![\w.-]){name}=([\"']?)([^\s\"';,:()]*)\1", rf"{flag} \2", message)
        message = re.sub(rf"`{name}`|^(the regularizer's )?{name}(?= is )", flag, message)
        if "_" in name:  # not an English word
            message = re.sub(rf"(?<![\w.'\"-]){name}(?![\w'\"=])", flag, message)
    return message
