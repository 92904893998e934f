"""The ``twofold`` command line."""

import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with code 0, 2 after an error, or 130 after an interrupt.

    Parameters
    ----------
    words : sequence of str, optional
        The command and its arguments; default ``sys.argv[1:]``.
    """
    try:
        from twofold.cli.app import run  # imported here to handle an interrupt of the import

        code = run(sys.argv[1:] if words is None else words)
    except KeyboardInterrupt:
        sys.stderr.write(
            "twofold: error: interrupted; no file is partially written, and recommendations for "
            "all playlists are continued by the same command\n"
        )
        code = 130
    sys.exit(code)
