"""Run code in a process of its own, for tests of what may hang or crash."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

import twofold

__all__ = ["run_python"]

SCRIPT = """
import sys
import numpy as np
from scipy import sparse
"""


def run_python(code, *arguments, timeout=60.0):
    """Run a script with the tested copy of twofold, and return what it prints.

    numpy, sparse and sys are imported. The test fails if the script does not end within the
    timeout (in seconds) or ends with an error. The whole process group is ended on a timeout. The
    environment variable TIMEOUT_FACTOR multiplies it, for runs that measure coverage.
    """
    timeout *= float(os.environ.get("TIMEOUT_FACTOR", "1"))
    root = str(Path(twofold.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(SCRIPT + textwrap.dedent(code))
        process = subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            output = _end_group(process)
            pytest.fail(f"the process did not end within {timeout:g} seconds: {output[-2000:]}")
    if process.returncode:
        pytest.fail(
            f"the process ended with {process.returncode}: {output[-2000:]}{errors[-3000:]}"
        )
    return output


def _end_group(process):
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    return process.communicate()[0]
