"""From slices to a submission: by the command line, and by Python with `Popularity`."""

import gzip

import numpy as np
import pytest
from test_submission import TEAM, uri, violations

from twofold import FactorModel, Pairings, split_challenge
from twofold.cli import main
from twofold.datasets import make_playlists
from twofold.io import read_mpd, write_submission
from twofold.model import Popularity
from twofold.solvers import ALS

SEEDS = (0, 1, 5, 10, 25)
NEW = uri(5_000)  # a track that no slice has


@pytest.fixture(scope="module")
def generated():
    """Track URIs of 460 playlists by playlist id."""
    pairings = make_playlists(460, 700, mean_length=50.0, rng=3).pairings
    uris = np.array([uri(track) for track in pairings.col_ids])
    rows = np.split(uris[pairings.matrix.indices], pairings.matrix.indptr[1:-1])
    return dict(zip(pairings.row_ids.tolist(), map(list, rows), strict=True))


@pytest.fixture
def challenge(generated):
    """The first tracks of 60 playlists, and one with an unknown track only."""
    numbers = list(generated)[400:]
    seeds = {pid: generated[pid][: SEEDS[pid % len(SEEDS)]] for pid in numbers}
    return seeds | {9_999: [NEW]}


@pytest.fixture
def slices(make_slice, generated):
    """Four slices, of the playlists that are not in the challenge."""
    numbers = list(generated)[:400]
    return [
        make_slice(
            {pid: generated[pid] for pid in numbers[start : start + 100]},
            f"mpd.slice.{start}-{start + 99}.json",
        )
        for start in range(0, 400, 100)
    ]


def run(*words):
    with pytest.raises(SystemExit) as done:
        main([*map(str, words)])
    return done.value.code


@pytest.mark.usefixtures("slices")
def test_submission_from_the_command_line(tmp_path, make_slice, challenge, monkeypatch, capsys):
    make_slice(challenge, "challenge_set.json")
    monkeypatch.chdir(tmp_path)
    words = ("--n-factors", 8, "--max-epochs", 3, "--quiet", "-o", "m.twofold")
    assert run("fit", "mpd.slice.*.json", *words) == 0
    capsys.readouterr()
    words = ("--team", TEAM[0], "--email", TEAM[1], "--quiet")
    assert run("submit", "m.twofold", "challenge_set.json", *words) == 0
    text = gzip.decompress((tmp_path / "submission.csv.gz").read_bytes()).decode("utf-8")
    assert violations(text, challenge) == []
    n_without = sum(not set(seeds) - {NEW} for seeds in challenge.values())
    assert 5 < n_without < 20
    assert f"61 playlists are in submission.csv.gz; {n_without} of them" in capsys.readouterr().out
    by_popularity = Popularity().fit(read_mpd("mpd.slice.*.json"))
    lines = dict(line.split(",", 1) for line in text.splitlines()[1:])
    seeds = Pairings.from_arrays([0], [NEW])
    expected = by_popularity.recommend(seeds, 500).col_ids[0].tolist()
    assert lines["9999"].split(",") == expected


def test_a_model_of_other_ids_is_an_error(tmp_path, make_slice, challenge, capsys):
    make_slice(challenge, "challenge_set.json")
    FactorModel().fit(Pairings.from_arrays([1, 2], [3, 4])).save(tmp_path / "m")
    words = ("--team", "us", "--email", "us@mail.org", "-o", tmp_path / "a.csv")
    assert run("submit", tmp_path / "m", tmp_path / "challenge_set.json", *words) == 2
    assert "integers" in capsys.readouterr().err
    assert not (tmp_path / "a.csv").exists()


def test_submission_from_python(tmp_path, slices):
    playlists = read_mpd(slices, positions=True)
    train, tasks = split_challenge(playlists, 8, tasks=range(1, 9))
    model = FactorModel(solver=ALS(n_factors=8, max_epochs=3, rng=0)).fit(train)
    popularity = Popularity().fit(train)
    for number, (seeds, _) in tasks.items():
        lists = dict(popularity.recommend(seeds, 500))
        lists |= {pid: found for pid, found in model.recommend(seeds, 500) if found}
        path = tmp_path / f"{number}.csv"
        write_submission(path, *TEAM, lists.items(), seeds)
        given = np.split(seeds.col_ids[seeds.matrix.indices], seeds.matrix.indptr[1:-1])
        challenge = dict(zip(seeds.row_ids.tolist(), map(list, given), strict=True))
        assert violations(path.read_text("utf-8"), challenge) == []
        ranking = model.recommend(seeds, 500, fallback="popular")
        write_submission(tmp_path / "same.csv", *TEAM, ranking, seeds)
        assert (tmp_path / "same.csv").read_bytes() == path.read_bytes()
