"""Options of ``benchopt test``."""

import os
import shutil

import pytest


def check_test_solver_run(solver_class):
    """Spark needs Java."""
    if solver_class.name == "Spark MLlib" and not (
        shutil.which("java") or os.environ.get("JAVA_HOME")
    ):
        pytest.skip("Java is not installed")


def check_test_solver_install(solver_class):
    """``pip install -e ".[bench,peers]"`` installs the packages, not benchopt."""
    pytest.skip("Installed by pip with the extras of twofold")


check_test_dataset_install = check_test_solver_install
