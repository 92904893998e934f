"""The ``twofold`` command: its parts, and how it ends."""

import sys
from typing import Annotated

import typer

from twofold import __version__
from twofold.cli.apply import evaluate, fold_in
from twofold.cli.demo import demo
from twofold.cli.load import import_mpd
from twofold.cli.output import say
from twofold.cli.train import fit, tune
from twofold.cli.warm_up import warm_up
from twofold.exceptions import TwofoldError

app = typer.Typer(
    name="twofold",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Factorise playlists: train on (playlist, track) pairs from SQL, fold new playlists in, "
    "complete them.\n\nStart with: twofold demo",
)
for name, command in (
    ("demo", demo),
    ("fit", fit),
    ("fold-in", fold_in),
    ("evaluate", evaluate),
    ("tune", tune),
    ("import-mpd", import_mpd),
    ("warm-up", warm_up),
):
    app.command(name)(command)


_INTERRUPTED = 130


def run() -> None:
    """Run the command line: one line and exit code 2 for an error, 130 for an interrupt."""
    try:
        # An interrupt comes back as the code 130, and an exit of a command as its code.
        code = app(standalone_mode=False)
    except TwofoldError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except typer.Abort:
        code = _INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of the output has gone, as `| head` does
        code = 0
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's usage errors have one
            raise
        message = error.format_message()
        if not message.strip():
            sys.exit(2)  # the help was shown
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "twofold"
        _fail(f"{message} ({command} --help shows how)", 2)
    if code == _INTERRUPTED:
        _fail("interrupted; nothing is left half-written", code)
    if isinstance(code, int) and code:
        sys.exit(code)


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"twofold: error: {' '.join(message.split())}\n")
    sys.exit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Options before the command."""
