"""The name of the command line, as it can be typed again."""

import shutil
import sys
from pathlib import Path

__all__ = ["program_name"]


def program_name() -> str:
    """Return ``twofold``, or how it was called if that is not found on the PATH.

    In an environment that is not activated that is a path, such as ``.venv/bin/twofold``.
    """
    called = Path(sys.argv[0])
    if called.parts[-2:] == ("twofold", "__main__.py"):
        return f"{Path(sys.executable).name} -m twofold"
    found = shutil.which("twofold")
    if called.stem != "twofold" or (found and Path(found).resolve() == called.resolve()):
        return "twofold"
    return str(called)
