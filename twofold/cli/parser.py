"""Conversion of the words of a command line to the arguments of a command."""

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

from twofold.cli.names import Names
from twofold.cli.options import (
    Option,
    OptionError,
    check_owners,
    documentation,
    join_words,
    options_of,
    translate_errors,
    with_owners,
)
from twofold.cli.output import Report
from twofold.cli.program import program_name
from twofold.cli.search_options import SearchOptions
from twofold.cli.sources import SOURCE_HELP, Reading, check_is_model, read_source, reader_options
from twofold.model import FactorModel
from twofold.objective import L1, L2, Balanced, HuberLoss, LogisticLoss, Objective, SquaredLoss
from twofold.objective.objective import PUBLISHED
from twofold.solvers import ALS, GD, SGD, Solver, available_solvers, get_solver

__all__ = ["Command"]

ParsedValues = Mapping[str, dict[str, Any]]
"""Given values by part of the command and parameter; the part "" is positional."""
Factory = Callable[[ParsedValues], Any]


class Parser(argparse.ArgumentParser):
    """Parser of one command, with groups of options and one-line errors."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            f"{program_name()} {command}",
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
        self.switches = {"-h", "--help"}
        """Options without a value."""
        self.options: dict[str, dict[str, Option]] = {}

    def add_positional(
        self, name: str, text: str, *, several: bool = False, optional: bool = False
    ) -> None:
        """Add a positional argument, which may have several values or be left out."""
        shown = name.upper() + "..." * several
        self._positional.append(f"[{shown}]" if optional else shown)
        self.usage = f"{self.prog} [options] {' '.join(self._positional)}"
        nargs: Any = "+" if several else "?" if optional else None
        self.add_argument(name, metavar=name.upper(), help=text, nargs=nargs)

    def add_options(
        self, part: str, options: Mapping[str, Option], group: str = "", owner: str = ""
    ) -> dict[str, Option]:
        """Add the options of a part of the command; return them with their flags.

        If a flag exists, the name of the part is prepended. If the owner does not have an option,
        its help text lists the owners that have it.
        """
        added = self.options.setdefault(part, {})
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
            text += f" Only for {join_words(option.owners)}."
        if isinstance(default, int | float | str | Path) and not isinstance(default, bool):
            text += f" (default: {default})"
        settings: dict[str, Any] = {"metavar": option.metavar, "type": option.parse}
        if "true" in option.choices:
            no = default is not False
            settings = {"action": argparse.BooleanOptionalAction if no else "store_true"}
        elif option.many == "repeat":
            settings["action"] = "append"
        names = {"rng": [option.flag, "--seed"], "output": ["-o", option.flag]}
        action = group.add_argument(
            *names.get(option.name, [option.flag]),
            dest=key,
            help=text.strip().replace("%", "%%"),
            default=argparse.SUPPRESS,
            required=default is inspect.Parameter.empty,
            **settings,
        )
        if action.nargs == 0:
            self.switches.update(action.option_strings)

    def parse_words(self, words: Sequence[str]) -> ParsedValues:
        """Return the given values of positional arguments and options."""
        namespace, unknown = self.parse_known_intermixed_args(words)
        for word in sorted(unknown, key=lambda word: not word.startswith("-"))[:1]:
            matches = get_close_matches(word.partition("=")[0], self._flags, 1)
            advice = f"is it {matches[0]}?" if matches else f"{self.prog} --help lists the options"
            is_option = word.startswith("-")
            problem = f"there is no option {word}" if is_option else f"unexpected argument {word!r}"
            raise OptionError(f"{problem}: {advice}")
        parsed: dict[str, dict[str, Any]] = {part: {} for part in ["", *self.options]}
        for key, value in vars(namespace).items():
            part, _, name = key.rpartition(".")
            parsed[part][name] = value
        return parsed

    def print_help(self, file: Any = None) -> None:
        """Print the help text without suppressing OSError, as argparse does."""
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        """Raise OptionError."""
        message = message.removeprefix("argument ")
        raise OptionError(f"{message} ({self.prog} --help lists the options)")


@dataclass(frozen=True)
class Choice:
    """An option that selects a class, with the fields of the class as further options."""

    name: str
    group: str
    classes: Mapping[str, type]
    """Classes by name, the default first."""
    help: Mapping[str, str] = field(default_factory=dict)
    """Help texts that replace the descriptions of fields."""

    @property
    def names(self) -> list[str]:
        """Valid values of the option."""
        if self.name == "solver":
            return [*available_solvers(), "module:Class"]
        return [*self.classes]

    def find(self, text: str) -> type:
        """Return a class by its name."""
        if text not in self.names and not (self.name == "solver" and ":" in text):
            raise OptionError(f"--{self.name} {text}: it must be {join_words(self.names, 'or')}")
        return self.classes[text] if text in self.classes else get_solver(text)

    def add_options(self, parser: Parser, words: Sequence[str]) -> Factory:
        """Add the options; return a function that creates an instance of the selected class."""
        default = selected = next(iter(self.classes))
        flag = f"--{self.name}"
        for word, next_word in pairwise([*words, ""]):
            if word == flag or word.startswith(f"{flag}="):
                selected = next_word if word == flag else word.partition("=")[2]
        selected = selected if ":" in selected else selected.lower()
        chosen = self.find(selected)
        tables = {
            owner: options_of(kind, skip=("progress",), help=self.help)
            for owner, kind in ({selected: chosen} | dict(self.classes)).items()
        }
        text = f"{join_words(self.names, 'or')}."
        select = {"": Option(self.name, flag, {}, (str,), "", default, text)}
        options = parser.add_options(
            self.name, select | with_owners(tables), self.group, owner=selected
        )

        def make(parsed: ParsedValues) -> Any:
            given = {name: value for name, value in parsed[self.name].items() if name}
            check_owners(options, given, selected, f"the {self.name} is {selected}")
            if "rng" in tables[selected]:
                given.setdefault("rng", tables[selected]["rng"].default)
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
    "balanced; the plain formula if a loss, a regularizer or --unobserved-weight is given."
)


def _objective(parser: Parser, words: Sequence[str]) -> Factory:
    choices = {name: name for name in PRESETS}
    preset = Option("preset", "--preset", choices, (), "", None, _PRESET)
    balanced = options_of(Balanced)
    sizes = {name: balanced[name] for name in ("ratio", "shrinkage")}
    parser.add_options("preset", {"preset": preset} | sizes, "objective")
    parts = {choice.name: choice.add_options(parser, words) for choice in (LOSS, REGULARIZER)}
    parser.add_options("objective", options_of(Objective), "objective")

    def make(parsed: ParsedValues) -> Objective | Balanced:
        given = dict(parsed["preset"])
        named = given.pop("preset", "")
        fields = {key: value for key, value in parsed["objective"].items() if key in balanced}
        plain = [(part, key) for part in (*parts, "objective") for key in parsed[part]]
        plain = [(part, key) for part, key in plain if key not in fields]
        if plain and not named and not given:
            made = {part: make_part(parsed) for part, make_part in parts.items()}
            return Objective(**made, **parsed["objective"])
        preset = named or "balanced"
        if preset == "balanced":
            given |= fields
        else:
            plain += [("objective", key) for key in fields]
        if plain:
            part, key = plain[0]
            why = "" if named else f", which --{next(iter(given))} means,"
            raise OptionError(
                f"{parser.options[part][key].flag}: --preset {preset}{why} gives the objective "
                "already; leave one of them out"
            )
        if given and preset != "balanced":
            raise OptionError(f"--{next(iter(given))} is for --preset balanced only")
        return PRESETS[preset](**given)

    return make


def _report(parser: Parser, words: Sequence[str]) -> Factory:
    parser.add_options("report", options_of(Report))
    return lambda parsed: Report(**parsed["report"])


def _search(parser: Parser, words: Sequence[str]) -> Factory:
    parser.add_options("search", options_of(SearchOptions))
    return lambda parsed: SearchOptions(**parsed["search"])


def _model(parser: Parser, words: Sequence[str]) -> Factory:
    parser.add_positional("model", "File that `twofold fit` wrote.")
    parser.add_options(
        "model", options_of(load_model, skip=("path",), flags={"classes": "--class"})
    )
    return lambda parsed: load_model(Path(parsed[""]["model"]), **parsed["model"])


def _source(parser: Parser, words: Sequence[str]) -> Factory:
    parser.add_positional("source", SOURCE_HELP)
    options = parser.add_options("reading", reader_options(), "reading")
    return lambda parsed: partial(read_source, parsed[""]["source"], options, **parsed["reading"])


def _names(parser: Parser, words: Sequence[str]) -> Factory:
    if "reading" not in parser.options:
        text = "Database with the names of tracks: SQLAlchemy URL or SQLite file."
        parser.add_positional("source", text, optional=True)
    parser.add_options("names", options_of(Names, skip=("source", "reading")))
    return lambda parsed: Names(
        source=parsed[""].get("source"), reading=parsed.get("reading"), **parsed["names"]
    )


# In the order in which options are added, because a duplicate flag is renamed.
_PARTS: dict[Any, Callable[[Parser, Sequence[str]], Factory]] = {
    Report: _report, SearchOptions: _search, FactorModel: _model, Objective | Balanced: _objective,
    Solver: SOLVER.add_options, Reading: _source, Names: _names,
}  # fmt: skip


class Command:
    """The function of a command with the parser of its words.

    Parameters with a type in `_PARTS` are created from the options of that part. Other parameters
    are options if they are keyword-only, and positional otherwise.
    """

    def __init__(self, name: str, function: Callable[..., None], words: Sequence[str]) -> None:
        if "" not in sys.path:
            sys.path.append("")  # For classes in the current folder; last, unlike `python -m`.
        texts, hints = documentation(function), get_type_hints(function)
        self._function, self._words = function, words
        self._parser = parser = Parser(name, texts[""])
        parameters = inspect.signature(function).parameters
        plain = [key for key in parameters if hints[key] not in _PARTS]
        keyword = inspect.Parameter.KEYWORD_ONLY
        self._positional = [key for key in plain if parameters[key].kind is not keyword]
        for key in self._positional:
            parser.add_positional(key, texts[key], several=hints[key] == list[str])
        parser.add_options("command", options_of(function, skip=self._positional))
        keys = {hint: key for key, hint in hints.items()}
        self._factories = {
            keys[kind]: part(parser, words) for kind, part in _PARTS.items() if kind in keys
        }

    def first_argument(self) -> str | None:
        """Return the first word that is neither an option nor the value of one."""
        words = iter(self._words)
        for word in words:
            if word == "--":
                return next(words, None)
            if not word.startswith("-"):
                return word
            if "=" not in word and word not in self._parser.switches:
                next(words, None)
        return None

    def run(self) -> None:
        """Call the function with the arguments of the words."""
        parser = self._parser
        parsed = parser.parse_words(self._words)
        others = [table.values() for part, table in parser.options.items() if part != "reading"]
        with translate_errors([*chain(*others)]):
            instances = {key: make(parsed) for key, make in self._factories.items()}
            typed = {key: parsed[""][key] for key in self._positional}
            self._function(**instances, **typed, **parsed["command"])


def load_model(path: Path, classes: list[str] | None = None) -> FactorModel:
    """Load a model.

    Parameters
    ----------
    path : Path
        The file.
    classes : list of str, optional
        Custom class of the model, as module:Class; can be repeated.
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
