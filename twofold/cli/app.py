"""The commands and their exit codes. The module of a command is imported when it runs."""

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from twofold import __version__
from twofold.cli.program import program_name
from twofold.exceptions import TwofoldError

if TYPE_CHECKING:
    from twofold.cli.parser import Command

__all__ = ["COMMANDS", "run"]

COMMANDS = {
    "demo": "Make playlists, train on them and complete new ones.",
    "fit": "Train a model on pairs and write it to a file.",
    "fold-in": "Fold playlists into a model and recommend tracks for them.",
    "recommend": "Recommend tracks for playlists of a model or source, or new ones.",
    "similar": "List tracks that are similar to given ones.",
    "explain": "Explain a prediction by the tracks of the playlist.",
    "evaluate": "Score a model by pairs that were held out.",
    "tune": "Search for the best options of the solver and the objective.",
    "import-mpd": "Import the Million Playlist Dataset into a database.",
    "submit": "Write a submission to the Million Playlist Dataset Challenge.",
    "warm-up": "Compile all kernels in advance.",
}
_MODULES = {
    "fit": "train", "fold-in": "apply", "evaluate": "apply",
    "similar": "recommend", "explain": "recommend", "submit": "recommend",
}  # fmt: skip


def run(words: Sequence[str]) -> int:
    """Run a command and return its exit code. Errors are printed as one line on standard error."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = _dispatch(list(words))
        if sys.stdout is not None:
            sys.stdout.flush()  # Errors of buffered output occur here.
        return code
    except BrokenPipeError:  # The reader of the output has exited, as in `| head`.
        message, code = "", 141
    except TwofoldError as error:
        message, code = str(error), 2
    except MemoryError as error:
        message, code = f"there is not enough memory: {error}", 2
    except OSError as error:
        action = "write the output" if error.filename is None else f"use {error.filename!r}"
        message, code = f"cannot {action}: {error.strerror or error}", 2
    _discard_output()
    if message:
        show_error(message)
    return code


def show_error(message: str) -> None:
    """Print an error as one line on standard error, if it is open."""
    with suppress(AttributeError, OSError):
        sys.stderr.write(f"twofold: error: {' '.join(message.split())}\n")


def _discard_output() -> None:
    """Discard the buffered output, so that flushing it at exit does not fail again."""
    try:
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError):
        with suppress(AttributeError, OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_usage())
        return 0 if words else 2
    name, *arguments = words
    if name == "--version":
        print(__version__)
        return 0
    if name not in COMMANDS:
        matches = get_close_matches(name, COMMANDS, 1)
        advice = f"is it {matches[0]}?" if matches else f"there are {', '.join(COMMANDS)}"
        raise TwofoldError(f"there is no command {name!r}: {advice}")
    from twofold.cli.parser import Command

    identifier = name.replace("-", "_")
    module = importlib.import_module(f"twofold.cli.{_MODULES.get(name, identifier)}")
    command = Command(name, getattr(module, identifier), arguments)
    if name == "recommend":
        command = _for_source(command, arguments)
    with suppress(SystemExit):  # raised by --help
        command.run()
    return 0


def _for_source(command: "Command", arguments: list[str]) -> "Command":
    """Return the command ``recommend`` for its first argument: a model, or a source of pairs."""
    from twofold.cli.parser import Command
    from twofold.cli.recommend_source import recommend_source
    from twofold.cli.sources import is_source

    of_source = Command("recommend", recommend_source, arguments)
    first = of_source.first_argument()
    return command if first is None or not is_source(first) else of_source


def _usage() -> str:
    commands = "\n".join(f"  {name:<12}{summary}" for name, summary in COMMANDS.items())
    program = program_name()
    return (
        f"usage: {program} COMMAND [options]\n\n"
        "Factorise playlists: train on pairs of playlists and tracks, fold new\n"
        f"playlists in and complete them. Begin with: {program} demo\n\n"
        f"Commands:\n{commands}\n\n"
        "COMMAND --help lists the options of a command, and --version prints the version."
    )


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    sys.stderr.write(f"twofold: warning: {message}\n")
