"""Options of ``benchopt test``."""

import os
import shutil

import pytest


def check_test_solver_run(solver_class):
    """Skip Spark if Java is not installed."""
    if solver_class.name == "Spark MLlib" and not (
        shutil.which("java") or os.environ.get("JAVA_HOME")
    ):
        pytest.skip("Java is not installed")


def check_test_solver_install(solver_class):
    """Skip, because ``pip install -e ".[bench,peers]"`` installs the packages."""
    pytest.skip("Installed by pip with the extras of twofold")


check_test_dataset_install = check_test_solver_install
