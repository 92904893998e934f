"""The ``twofold`` command line: `app` puts together one module for each group of commands."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; without typer, say how to get it."""
    try:
        import typer  # noqa: F401 - an extra, so it may not be there

        from twofold.cli.app import run
    except KeyboardInterrupt:  # while modules are loaded
        sys.exit(130)
    except ImportError as error:
        if error.name != "typer":
            raise
        sys.stderr.write(
            "twofold: error: the command line needs typer: pip install 'twofold[cli]'\n"
        )
        sys.exit(2)
    run()
