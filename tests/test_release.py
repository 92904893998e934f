"""The version, the changelog and the citation agree; for a release, the tag and the dates, too."""

import os
import re
from datetime import date
from pathlib import Path

import pytest

import twofold

ROOT = Path(__file__).parents[1]
TAG = os.environ.get("RELEASE_TAG")
VERSION, STATE = re.search(
    r"^## (\S+) \((.+)\)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M
).groups()


def citation(field):
    found = re.search(rf"^{field}: (\S+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.M)
    return found and found.group(1)


def test_the_first_section_of_the_changelog_is_that_of_the_version():
    assert twofold.__version__ == VERSION
    assert STATE == "unreleased" or date.fromisoformat(STATE)


def test_the_citation_has_the_version_and_its_date():
    assert citation("version") == twofold.__version__
    assert citation("date-released") == (None if STATE == "unreleased" else STATE)


@pytest.mark.skipif(TAG is None, reason="RELEASE_TAG is not set: this is not a release")
def test_a_tag_has_the_version_and_a_dated_section():
    assert f"v{twofold.__version__}" == TAG
    assert date.fromisoformat(STATE)
