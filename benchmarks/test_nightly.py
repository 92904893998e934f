"""The command that measures `partial_fit` beside a full fit."""

import sys

import numpy as np

from benchmarks import nightly
from twofold.datasets import make_playlists


def test_it_prints_a_line_for_each_model(capsys, monkeypatch, tmp_path):
    matrix = make_playlists(200, 100, rng=0).pairings.matrix.tocoo()
    path = tmp_path / "pairs.npz"
    np.savez(path, rows=matrix.row, cols=matrix.col)
    words = ["nightly", str(path), "--n-factors", "4", "--repeats", "1", "--updates", "0", "1"]
    monkeypatch.setattr(sys, "argv", words)
    nightly.main()
    lines = capsys.readouterr().out.splitlines()[2:]
    assert lines[0].startswith("update: Changes(n_new_rows=10, n_changed_rows=")
    names = ["first model", "partial_fit, max_epochs=0", "partial_fit, max_epochs=1", "fit"]
    assert [line.partition(":")[0] for line in lines[1:]] == names
    assert lines[-1].endswith("share 1.0000")
    # The first model has none of the new columns.
    assert ", 0.0000, share" in lines[1]
    assert ", 0.0000, share" not in lines[2]
