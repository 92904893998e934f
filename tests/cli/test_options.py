"""Options from dataclasses and functions, their help texts, and errors in their terms."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pytest

from twofold.cli.app import COMMANDS
from twofold.cli.options import Option, OptionError, options_of, translate_errors
from twofold.cli.sources import reader_options
from twofold.exceptions import InvalidInputError, TwofoldError
from twofold.model.description import CENTERS
from twofold.objective import L1, L2, HuberLoss, Objective
from twofold.solvers import ALS, GD, SGD


@dataclass
class Base:
    """A class.

    Parameters
    ----------
    size : int
        Its size.
    scale : float, default 1.0
        Short. More of it with `marks`, and see nothing. Not this; see `Base`.
    """

    size: int
    scale: float = 1.0


@dataclass
class Thing(Base):
    """A thing.

    Parameters
    ----------
    scale : float, default 2.0
        As for every class.
    kind, other : {"a", "b"}
        One of two; see `Base`.
    """

    scale: float = 2.0
    kind: Literal["a", "b"] = "a"
    other: Literal["a", "b"] | None = None
    names: Sequence[str] | None = None
    repeated: list[int] = field(default_factory=list)
    path: Path = Path("here")
    is_on: bool = False
    maybe: bool | None = None
    either: int | str = 1
    mapping: dict[str, int] = field(default_factory=dict)
    anything: Any = None


def test_names_types_and_help_come_from_fields_and_docstrings():
    options = options_of(Thing, skip=("path",), flags={"size": "--how-large"})
    assert [*options] == [
        "size", "scale", "kind", "other", "names", "repeated", "is_on", "maybe", "either"
    ]  # fmt: skip
    assert options["size"].flag == "--how-large"
    assert options["is_on"].flag == "--is-on"
    assert options["size"].help == "Its size."
    assert options["scale"].help == "Short. More of it with marks, and see nothing."
    assert options["kind"].help == options["other"].help == "One of two."
    assert (options["scale"].default, options["kind"].default) == (2.0, "a")


@dataclass
class Undefined:
    """A class with a type that is imported for type checkers only."""

    size: int = 3
    other: "Nowhere" = None  # noqa: F821


def test_types_that_cannot_be_resolved_are_those_of_the_defaults():
    options = options_of(Undefined)
    assert [*options] == ["size"]
    assert options["size"].types == (int,)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("size", "3", 3), ("scale", "1", 1.0), ("kind", "b", "b"), ("other", "none", None),
        ("names", "a, b,c", ["a", "b", "c"]), ("repeated", "4", 4), ("path", "x/y", Path("x/y")),
        ("maybe", "none", None), ("either", "4", 4), ("either", "four", "four"),
    ],
)  # fmt: skip
def test_texts_become_values(name, text, value):
    found = options_of(Thing)[name].parse(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("size", "3.5", "--size 3.5: it must be a whole number"),
        ("scale", "much", "--scale much: it must be a number"),
        ("kind", "c", "--kind c: it must be a or b"),
        ("other", "c", "--other c: it must be a, b or none"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_option(name, text, words):
    with pytest.raises(OptionError, match=words):
        options_of(Thing)[name].parse(text)


@pytest.mark.parametrize("owner", [ALS, SGD, GD, Objective, HuberLoss, L1, L2])
def test_every_field_of_ours_is_an_option_with_a_description(owner):
    options = options_of(owner)
    assert {*options} >= {one.name for one in fields(owner)} - {
        "loss",
        "regularizer",
        "_",
        *CENTERS,
    }
    assert all(len(option.help) > 5 for option in options.values())


def test_options_of_readers_name_the_sources_that_have_them():
    options = reader_options()
    assert options["where"].owners == ("databases",)
    assert {"databases", "CSV", "Parquet"} <= {*options["duplicates"].owners}
    assert options["engine"].metavar == "{sqlalchemy,connectorx}"
    assert options["weight"].flag == "--weight-column"
    assert all(len(option.help) > 5 for option in options.values())
    assert not {"source", "path", "paths", "progress"} & {*options}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ('pid is NULL: use on_null="drop" to leave it out', "pid is NULL: use --on-null drop to"),
        ("use duplicates='count', or none", "use --duplicates count, or none"),
        ("n_factors is 0: it must be >= 1", "--n-factors is 0: it must be >= 1"),
        ("n_factors=3 needs max_epochs=2", "--n-factors 3 needs --max-epochs 2"),
        ("weight is -1", "--weight is -1"),
        ("the regularizer's weight is -1", "--weight is -1"),
        ("does not support nonnegative=True: use GD", "not support --nonnegative: use GD"),
        ("has no pairs that `where` leaves", "has no pairs that --where leaves"),
        ("column 'on_null' has no weight", "column 'on_null' has no weight"),
        ("FactorModel.load(path, classes=[Mine])", "by --class module:Mine"),
        ('drop it by if_exists="replace"', "drop it by --replace"),
    ],
)
def test_errors_name_options_instead_of_parameters(message, words):
    names = ("on_null", "duplicates", "n_factors", "max_epochs", "weight", "nonnegative", "where")
    options = [
        Option(name, "--" + name.replace("_", "-"), {}, (str,), "", None, "") for name in names
    ]
    with pytest.raises(TwofoldError) as caught, translate_errors(options):
        raise InvalidInputError(message)
    assert words in str(caught.value)


@pytest.mark.parametrize("command", [*COMMANDS, ""])
def test_help_fits_80_columns(command, twofold, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = twofold(*filter(None, [command]), "--help")
    assert result.code == 0
    assert max(map(len, result.out.splitlines())) <= 80
    assert "`" not in result.out.replace("`twofold fit`", "")


def test_help_has_groups_and_no_option_of_ours_is_renamed(twofold):
    out = twofold("fit", "--help").out
    places = [out.index(f"\n{title}:\n") for title in ("Reading", "Objective", "Solver")]
    assert places == sorted(places)
    for name in ("reading", "objective", "solver", "loss", "regularizer", "report", "command"):
        assert f"--{name}-" not in out
    assert (
        "--max-epochs INT          Maximum number of epochs, >= 0. (default: 100)"
        in twofold("fit", "--solver", "gd", "--help").out
    )
