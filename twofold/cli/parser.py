"""From the words of a command line to the arguments of a command."""

import argparse
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from twofold.cli.options import (
    Option,
    OptionError,
    check_owners,
    documentation,
    in_terms_of,
    joined,
    options_of,
    with_owners,
)
from twofold.cli.output import Report
from twofold.cli.search_options import SearchOptions
from twofold.cli.sources import SOURCE_HELP, Reading, check_is_model, read_source, reader_options
from twofold.model import FactorModel
from twofold.objective import L1, L2, Balanced, HuberLoss, LogisticLoss, Objective, SquaredLoss
from twofold.objective.objective import PUBLISHED
from twofold.solvers import ALS, GD, SGD, Solver, available_solvers, get_solver

__all__ = ["run_command"]

Typed = Mapping[str, dict[str, Any]]
"""What was typed, by part of the command and parameter; the part "" is positional."""
Maker = Callable[[Typed], Any]


class Parser(argparse.ArgumentParser):
    """The parser of one command, with options in groups and errors of one line."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            f"twofold {command}",
            description=description,
            formatter_class=partial(argparse.HelpFormatter, max_help_position=28),
            allow_abbrev=False,
        )
        self._groups = {
            title: self.add_argument_group(title.capitalize())
            for title in ("reading", "objective", "solver")
        }
        self._positional: list[str] = []
        self._flags = ["--help"]
        self.offered: dict[str, dict[str, Option]] = {}

    def offer_positional(self, name: str, text: str, *, several: bool = False) -> None:
        """Add an argument that has no option."""
        self._positional.append(name.upper() + "..." * several)
        self.usage = f"{self.prog} [options] {' '.join(self._positional)}"
        self.add_argument(name, metavar=name.upper(), help=text, nargs="+" if several else None)

    def offer(
        self, part: str, options: Mapping[str, Option], group: str = "", owner: str = ""
    ) -> dict[str, Option]:
        """Add the options of a part of the command; return them as they are called here.

        An option whose name another part has already gets the part's name before its own. The help
        text of one that the owner does not have names those that have it.
        """
        added = self.offered.setdefault(part, {})
        for name, option in options.items():
            if option.flag in self._flags:
                option = replace(option, flag=f"--{part}-{option.flag.removeprefix('--')}")
            self._flags.append(option.flag)
            added[name] = option
            self._add(self._groups.get(group, self), f"{part}.{name}", option, owner)
        return added

    def _add(self, group: Any, key: str, option: Option, owner: str) -> None:
        text, default = option.help, option.default
        if option.owners and owner not in option.owners:
            text += f" Only for {joined(option.owners)}."
        if isinstance(default, int | float | str | Path) and not isinstance(default, bool):
            text += f" (default: {default})"
        more: dict[str, Any] = {"metavar": option.metavar, "type": option.parse}
        if "true" in option.choices:
            no = default is not False
            more = {"action": argparse.BooleanOptionalAction if no else "store_true"}
        elif option.many == "repeat":
            more["action"] = "append"
        names = {"rng": [option.flag, "--seed"], "output": ["-o", option.flag]}
        group.add_argument(
            *names.get(option.name, [option.flag]),
            dest=key,
            help=text.strip().replace("%", "%%"),
            default=argparse.SUPPRESS,
            required=default is inspect.Parameter.empty,
            **more,
        )

    def typed(self, words: Sequence[str]) -> Typed:
        """Return the values of what was typed."""
        namespace, unknown = self.parse_known_intermixed_args(words)
        for word in sorted(unknown, key=lambda word: not word.startswith("-"))[:1]:
            near = get_close_matches(word.partition("=")[0], self._flags, 1)
            advice = f"is it {near[0]}?" if near else f"{self.prog} --help lists the options"
            is_option = word.startswith("-")
            wrong = f"there is no option {word}" if is_option else f"unexpected argument {word!r}"
            raise OptionError(f"{wrong}: {advice}")
        typed: dict[str, dict[str, Any]] = {part: {} for part in ["", *self.offered]}
        for key, value in vars(namespace).items():
            part, _, name = key.rpartition(".")
            typed[part][name] = value
        return typed

    def print_help(self, file: Any = None) -> None:
        """Print the help text; OSError if that fails, which argparse would hide."""
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        """Raise OptionError."""
        message = message.removeprefix("argument ")
        raise OptionError(f"{message} ({self.prog} --help lists the options)")


@dataclass(frozen=True)
class Choice:
    """An option that chooses a class, whose fields become options too."""

    name: str
    group: str
    classes: Mapping[str, type]
    """Those that are known by name, the default first."""
    help: Mapping[str, str] = field(default_factory=dict)
    """Replaces descriptions of fields."""

    @property
    def names(self) -> list[str]:
        """What the value of the option can be."""
        if self.name == "solver":
            return [*available_solvers(), "module:Class"]
        return [*self.classes]

    def find(self, text: str) -> type:
        """Return a class by its name."""
        if text not in self.names and not (self.name == "solver" and ":" in text):
            raise OptionError(f"--{self.name} {text}: it must be {joined(self.names, 'or')}")
        return self.classes[text] if text in self.classes else get_solver(text)

    def offer(self, parser: Parser, words: Sequence[str]) -> Maker:
        """Add the options; return what makes an instance of the class that is typed."""
        default = label = next(iter(self.classes))
        flag = f"--{self.name}"
        for word, following in pairwise([*words, ""]):
            if word == flag or word.startswith(f"{flag}="):
                label = following if word == flag else word.partition("=")[2]
        label = label if ":" in label else label.lower()
        chosen = self.find(label)
        tables = {
            owner: options_of(kind, skip=("progress",), help=self.help)
            for owner, kind in ({label: chosen} | dict(self.classes)).items()
        }
        text = f"{joined(self.names, 'or')}."
        select = {"": Option(self.name, flag, {}, (str,), "", default, text)}
        options = parser.offer(self.name, select | with_owners(tables), self.group, owner=label)

        def make(typed: Typed) -> Any:
            given = {name: value for name, value in typed[self.name].items() if name}
            check_owners(options, given, label, f"the {self.name} is {label}")
            if "rng" in tables[label]:
                given.setdefault("rng", tables[label]["rng"].default)
            return chosen(**given)

        return make


SOLVER = Choice("solver", "solver", {"als": ALS, "sgd": SGD, "gd": GD})
LOSS = Choice(
    "loss", "objective", {"squared": SquaredLoss, "huber": HuberLoss, "logistic": LogisticLoss}
)
REGULARIZER = Choice(
    "regularizer", "objective", {"l2": L2, "l1": L1}, {"weight": "Weight lam of the penalty, >= 0."}
)


PRESETS: dict[str, Callable[..., Objective | Balanced]] = {
    "balanced": Balanced,
    "notebook": Objective.notebook,
    **{name: partial(Objective.rendle2021, name) for name in PUBLISHED},
}
_PRESET = (
    "Objective by name: balanced derives its weights from the sizes of the data, notebook has the "
    "stored pairs only, the others are those of Rendle et al. 2021 for these data sets. Default: "
    "balanced; the plain formula if another option of the objective is given."
)


def _objective(parser: Parser, words: Sequence[str]) -> Maker:
    choices = {name: name for name in PRESETS}
    preset = Option("preset", "--preset", choices, (), "", None, _PRESET)
    balanced = options_of(Balanced)
    sizes = {name: balanced[name] for name in ("ratio", "shrinkage")}
    parser.offer("preset", {"preset": preset} | sizes, "objective")
    parts = {choice.name: choice.offer(parser, words) for choice in (LOSS, REGULARIZER)}
    parser.offer("objective", options_of(Objective), "objective")

    def make(typed: Typed) -> Objective | Balanced:
        given = dict(typed["preset"])
        name = given.pop("preset", "balanced" if given else "")
        typed_too = [(part, key) for part in (*parts, "objective") for key in typed[part]]
        if not name and typed_too:
            made = {part: make_part(typed) for part, make_part in parts.items()}
            return Objective(**made, **typed["objective"])
        for part, key in typed_too:
            if name != "balanced" or part != "objective" or key not in balanced:
                flag = parser.offered[part][key].flag
                raise OptionError(
                    f"{flag}: --preset {name} gives the objective already; leave one of them out"
                )
            given[key] = typed[part][key]
        if given and name not in ("", "balanced"):
            raise OptionError(f"--{next(iter(given))} is for --preset balanced only")
        return PRESETS[name or "balanced"](**given)

    return make


def _report(parser: Parser, words: Sequence[str]) -> Maker:
    parser.offer("report", options_of(Report))
    return lambda typed: Report(**typed["report"])


def _search(parser: Parser, words: Sequence[str]) -> Maker:
    parser.offer("search", options_of(SearchOptions))
    return lambda typed: SearchOptions(**typed["search"])


def _model(parser: Parser, words: Sequence[str]) -> Maker:
    parser.offer_positional("model", "File that `twofold fit` wrote.")
    parser.offer("model", options_of(load_model, skip=("path",), flags={"classes": "--class"}))
    return lambda typed: load_model(Path(typed[""].pop("model")), **typed["model"])


def _source(parser: Parser, words: Sequence[str]) -> Maker:
    parser.offer_positional("source", SOURCE_HELP)
    options = parser.offer("reading", reader_options(), "reading")
    return lambda typed: partial(read_source, typed[""].pop("source"), options, **typed["reading"])


# In the order in which they offer options: one whose name is taken by then is renamed.
_PARTS: dict[Any, Callable[[Parser, Sequence[str]], Maker]] = {
    Report: _report, SearchOptions: _search, FactorModel: _model,
    Objective | Balanced: _objective, Solver: SOLVER.offer, Reading: _source,
}  # fmt: skip


def run_command(name: str, function: Callable[..., None], words: Sequence[str]) -> None:
    """Call the function of a command with what was typed.

    Parameters with a type of `_PARTS` are made from options of their own. Of the others, those that
    are keyword-only are options, and the rest positional.
    """
    if "" not in sys.path:
        sys.path.append("")  # as for `python -m`, but last: for classes in the current folder
    texts, hints = documentation(function), get_type_hints(function)
    parser = Parser(name, texts[""])
    parameters = inspect.signature(function).parameters
    plain = [key for key in parameters if hints[key] not in _PARTS]
    positional = [key for key in plain if parameters[key].kind is not parameters[key].KEYWORD_ONLY]
    for key in positional:
        parser.offer_positional(key, texts[key], several=hints[key] == list[str])
    parser.offer("command", options_of(function, skip=positional))
    keys = {hint: key for key, hint in hints.items()}
    makers = {keys[kind]: part(parser, words) for kind, part in _PARTS.items() if kind in keys}
    typed = parser.typed(words)
    others = [table.values() for part, table in parser.offered.items() if part != "reading"]
    with in_terms_of([*chain(*others)]):
        made = {key: make(typed) for key, make in makers.items()}
        function(**made, **typed[""], **typed["command"])


def load_model(path: Path, classes: list[str] | None = None) -> FactorModel:
    """Load a model.

    Parameters
    ----------
    path : Path
        The file.
    classes : list of str, optional
        Class of your own that the model was made with, as module:Class; can be repeated.
    """
    check_is_model(path)
    found = []
    for text in classes or []:
        module, _, name = text.partition(":")
        try:
            found.append(getattr(importlib.import_module(module), name))
        except (ImportError, AttributeError, ValueError) as error:
            reason = str(error) if name else "write it as module:Class"
            raise OptionError(f"--class {text}: {reason}") from error
    return FactorModel.load(path, classes=found)
