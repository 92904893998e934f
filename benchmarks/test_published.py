"""The command of published tables, and the challenge on generated slices."""

import json
import sys

import numpy as np
import pytest

from benchmarks.published import __main__ as command
from benchmarks.published import challenge
from benchmarks.published.packages import PACKAGES, Setting
from twofold import FactorModel, Pairings, evaluate, metrics, split_challenge, split_pairs
from twofold.datasets import make_playlists
from twofold.model import Popularity
from twofold.solvers import ALS

N_ROWS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two slices of playlists of generated tracks, half of which share an artist."""
    made = tmp_path_factory.mktemp("slices")
    pairings = make_playlists(300, 700, mean_length=80.0, rng=0).pairings
    uris = [f"spotify:track:{track:022d}" for track in pairings.col_ids]
    tracks = [
        {"track_uri": uri, "artist_name": f"artist {number // 2}", "track_name": f"{number}",
         "album_name": "", "duration_ms": 1}
        for number, uri in enumerate(uris)
    ]  # fmt: skip
    rows = np.split(pairings.matrix.indices, pairings.matrix.indptr[1:-1])
    lists = [
        {"pid": pid, "name": "", "tracks": [tracks[col] for col in cols]}
        for pid, cols in enumerate(rows)
    ]
    for start in (0, 150):
        content = json.dumps({"playlists": lists[start : start + 150]})
        (made / f"mpd.slice.{start}-{start + 149}.json").write_text(content)
    return made


def call(monkeypatch, capsys, *words):
    """Run the command; return what it printed and the text of its error."""
    monkeypatch.setattr(sys, "argv", ["published", *map(str, words)])
    try:
        command.main()
    except SystemExit:
        return capsys.readouterr()
    return capsys.readouterr()


def test_tasks_are_judged_over_the_artists_of_the_training_tracks(folder):
    playlists = challenge.read_slices(folder)
    split = split_challenge(playlists, N_ROWS)
    model = FactorModel(solver=ALS(n_factors=4, max_epochs=2, rng=0)).fit(split.train)
    artist_of = {uri: f"artist {int(uri[-22:]) // 2}" for uri in playlists.col_ids}
    found = challenge.judge_tasks(model, split, [artist_of[uri] for uri in model.col_ids])
    assert list(found) == ["twofold", "most popular"]
    assert list(found["twofold"]) == list(range(1, 11))
    seen, heldout = split.tasks[3]
    relevant = heldout.align(split.train).matrix
    ranking = model.recommend(seen, 500)
    artists = [artist_of[uri] for uri in split.train.col_ids]
    assert found["twofold"][3] == pytest.approx((
        metrics.mpd_r_precision(ranking.positions, relevant, artists=artists),
        metrics.ndcg_at_k(ranking.positions, relevant, 500),
        metrics.clicks_at_k(ranking.positions, relevant, 500),
    ))  # fmt: skip
    assert found["twofold"][1] == found["most popular"][1]  # without a seed track
    assert found["twofold"][3][1] > found["most popular"][3][1]


def test_the_command_prints_the_tasks_their_means_and_the_winners(folder, monkeypatch, capsys):
    words = ("challenge", folder, "--rows", N_ROWS, "--n-factors", 4, "--epochs", 2)
    lines = call(monkeypatch, capsys, *words).out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.split() == list(challenge.METRICS))
    tasks = [line.split(": ")[0].strip() for line in lines[start + 1 : start + 11]]
    assert tasks == [str(number) for number in range(1, 11)]
    figures = [[float(word) for word in line.split()[-3:]] for line in lines[start + 1 :][:13]]
    np.testing.assert_allclose(figures[10], np.mean(figures[:10], axis=0), atol=1e-4)
    assert lines[start + 12].split()[:2] == ["most", "popular,"]
    assert lines[start + 13].split() == ["vl6", "(the", "winners)", "0.2241", "0.3946", "1.7839"]
    assert lines[-1].startswith("Minutes: split 0.")


def test_a_submission_is_written_for_the_challenge_set(folder, tmp_path, monkeypatch, capsys):
    for path in folder.glob("mpd.slice.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    lists = json.loads((folder / "mpd.slice.0-149.json").read_text())["playlists"]
    seeds = {1000: [], 1001: lists[0]["tracks"][:5], 1002: lists[1]["tracks"][:1]}
    content = {"playlists": [{"pid": pid, "tracks": tracks} for pid, tracks in seeds.items()]}
    (tmp_path / "challenge_set.json").write_text(json.dumps(content))
    output = tmp_path / "out.csv"
    words = ("--rows", N_ROWS, "--n-factors", 4, "--epochs", 2, "--team", "us", "--output", output)
    assert "out.csv" in call(monkeypatch, capsys, "challenge", tmp_path, *words).out
    head, *lines = output.read_text().splitlines()
    assert head == "team_info,us,team@example.org"
    assert [line.split(",")[0] for line in lines] == ["1000", "1001", "1002"]
    given = {track["track_uri"] for track in seeds[1001]}
    for line in lines:
        assert len(set(line.split(",")[1:])) == 500
    assert not given & set(lines[1].split(","))


def test_completed_rows_without_a_known_column_get_popular_ones():
    pairings = make_playlists(60, 40, rng=0).pairings
    model = FactorModel(solver=ALS(n_factors=2, max_epochs=1, rng=0)).fit(pairings)
    new = Pairings.from_arrays([5], [10**6])
    found = challenge.Completed(model).recommend(new, 3).col_ids
    assert np.array_equal(found, Popularity().fit(pairings).recommend(new, 3).col_ids)
    split = split_challenge(pairings, 4, tasks=[1], order=range(pairings.n_pairs)).tasks[1]
    judged = evaluate(challenge.Completed(model), split, ["recall@5"])
    assert judged["recall@5"] == judged["most popular", "recall@5"]


def test_a_refinement_goes_to_the_best_of_its_grid():
    wanted = Setting(1.5**3 * 0.1, 1.6**-2 * 0.2, 1.0)
    weight = wanted.weight * 50.0**0.4  # the same ridge for a row of size 50 at the exponent 0.6

    def score(setting):
        ridge = setting.weight * 50.0 ** (setting.exponent - wanted.exponent)
        return -(
            np.log(setting.unobserved_weight / wanted.unobserved_weight) ** 2
            + np.log(ridge / wanted.weight) ** 2
            + (setting.exponent - wanted.exponent) ** 2
        )

    start = Setting(0.1, 1.6**2 * weight, 0.6)
    steps = command.moves(PACKAGES["twofold"], 50.0)
    found = command.refined(start, score(start), steps, score, lambda: True)
    np.testing.assert_allclose(
        [found.unobserved_weight, found.weight, found.exponent],
        [wanted.unobserved_weight, wanted.weight, 1.0],
    )
    assert command.refined(start, score(start), steps, score, lambda: False) == start
    assert all(
        move(start).exponent == 0.6 for pair in command.moves(PACKAGES["implicit"], 50.0)
        for move in pair
    )  # fmt: skip
    start = Setting(0.1, 0.1, 0.05)
    found = command.refined(start, -0.05, steps, lambda setting: -setting.exponent, lambda: True)
    assert found.exponent == 0.0


@pytest.mark.parametrize(
    ("limits", "n_trials"), [(["--trials", 2, "--refinements", 3], 6), (["--minutes", 1e-9], 2)]
)
def test_a_ranked_table_ends_with_its_figures(limits, n_trials, tmp_path, monkeypatch, capsys):
    pairings = make_playlists(80, 60, mean_length=12.0, rng=0).pairings
    split = split_pairs(pairings, fraction=0.2, rng=0)
    for name, part in zip(("train", "test"), split, strict=True):
        rows = np.split(part.col_ids[part.matrix.indices], part.matrix.indptr[1:-1])
        lines = [" ".join(map(str, (row, *cols))) for row, cols in enumerate(rows)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
    words = ["gowalla", tmp_path, *limits, "--search-factors", 2, "--n-factors", 3, "--epochs", 2]
    lines = call(monkeypatch, capsys, *words).out.splitlines()
    assert sum(" factors, Setting(" in line for line in lines) == n_trials
    (figures,) = (words[1:] for words in map(str.split, lines) if words[0] == "SimpleX")
    (ours,) = (
        words[1:] for words in map(str.split, lines) if (words[0], len(words)) == ("twofold", 5)
    )
    assert len(figures) == 2
    assert all(0 < float(figure) <= 1 for figure in ours[:2])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["challenge"], "mpd.slice.*.json of the Million Playlist Dataset"),
        (["ml-10m"], "ratings.dat of MovieLens 10M"),
        (["ml-100k"], "u.data"),
        (["yelp2018"], "yelp2018.npz"),
        (["gowalla", "--packages", "none"], "--packages none"),
        (["ml-10m", "--packages", "twofold"], "--packages is not an option of ml-10m: it has --tr"),
        (["challenge", "--trials", "3"], "--trials is not an option of challenge"),
        (["gowalla", "--minutes", "0"], "--minutes must be above 0"),
        (["gowalla", "--rows", "3"], "--rows is not an option of gowalla"),
    ],
)
def test_missing_files_and_options_of_other_tables(words, message, tmp_path, monkeypatch, capsys):
    shown = call(monkeypatch, capsys, words[0], tmp_path, *words[1:]).err
    assert message in shown.splitlines()[-1]
