"""Progress bars without a console."""

import sys

from twofold._common.progress import progress_bar


def test_without_a_console_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    for shown in (False, True):
        assert list(progress_bar(range(2), shown=shown)) == [0, 1]
