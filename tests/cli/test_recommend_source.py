"""``twofold recommend SOURCE --into URL``: from pairs to a table in one command."""

import json
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from twofold import Balanced, FactorModel, split_rows
from twofold.io import TrackName, read_sql, write_names, write_sql
from twofold.solvers import ALS
from twofold.tuning import Grid, search

QUICK = ("--n-factors", 4, "--max-epochs", 3, "--quiet")


def lines_of(database, table="recommendations"):
    engine = sa.create_engine(f"sqlite:///{database}")
    with engine.connect() as connection:
        query = f"SELECT * FROM {table} ORDER BY pid, place"
        lines = [tuple(line) for line in connection.exec_driver_sql(query)]
    engine.dispose()
    return lines


def expected(model, top):
    return [
        (row, place, track, pytest.approx(score))
        for row, found in model.recommend(model.row_ids, top)
        for place, (track, score) in enumerate(found, 1)
    ]


@pytest.fixture
def into(twofold, url):
    """Run ``twofold recommend`` on the playlists of the tests, into out.db."""
    return lambda *words: twofold("recommend", url, "--into", "out.db", *words, *QUICK)


def test_one_command_is_fit_and_recommend(twofold, into, url):
    query = ("--query", "SELECT pid, tid FROM pairings WHERE pid <= 50")
    result = into(*query, "--top", 3, "--model", "kept")
    assert twofold("fit", url, *query, *QUICK).code == 0
    model = FactorModel.load("model.twofold")
    assert lines_of("out.db") == sorted(expected(model, 3), key=lambda line: line[:2])
    lines = result.out.splitlines()
    assert lines[0] == "50 playlists, 134 tracks, 683 pairs"
    assert lines[-2:] == [
        "The model is in kept.",
        "The recommendations for 50 playlists are in the table recommendations of out.db.",
    ]
    kept = FactorModel.load("kept")
    assert kept.col_factors.tobytes() == model.col_factors.tobytes()


def test_the_table_of_the_source_and_that_of_the_lists(twofold, playlists):
    """Source, names and lists in one database."""
    write_sql(playlists.pairings, "sqlite:///music.db", "likes", "user", "song")
    write_names(
        {track: TrackName(f"song {track}") for track in range(1, 151)}, "sqlite:///music.db"
    )
    reading = ("--table", "likes", "--row", "user", "--col", "song", "--names", "tracks:tid:name")
    words = (*reading, "--into", "music.db", "--into-table", "best", "--top", 2, "--json", *QUICK)
    values = json.loads(twofold("recommend", "--quiet", "music.db", *words).out)
    assert (values["into"], values["table"], values["playlists"]) == ("music.db", "best", 300)
    assert (values["model"], values["pairs"]) == (None, playlists.pairings.n_pairs)
    found = lines_of("music.db", "best")
    assert {name for *_, name, _ in found} == {f"song {track}" for _, _, track, *_ in found}
    assert read_sql("sqlite:///music.db", "likes", "user", "song").n_pairs == values["pairs"]


@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_from_and_to_a_server(request, twofold, playlists, server):
    url = request.getfixturevalue(server)
    write_sql(playlists.pairings, url)
    query = ("--query", "SELECT pid, tid FROM pairings WHERE pid <= 50")
    words = ("recommend", url, *query, "--into", url, "--top", 2, "--model", "kept", *QUICK)
    for _ in range(2):
        assert twofold(*words).code == 0
    model, engine = FactorModel.load("kept"), sa.create_engine(url)
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT * FROM recommendations ORDER BY pid, place")
        assert [tuple(line) for line in found] == expected(model, 2)
    engine.dispose()


def test_a_search_and_its_early_stop_give_the_parameters(into, url):
    grid = ("--grid", "ratio=2,50", "--early-stopping", 1, "--validation", 0.3)
    values = json.loads(into(*grid, "--score", "recall@10", "--top", 2, "--json").out)
    pairings = read_sql(url)
    parts = split_rows(pairings, validation=0.3, test=0.0, rng=0)
    solver = ALS(n_factors=4, max_epochs=3, rng=0)
    result = search(
        solver, Balanced(), parts.train, parts.validation, Grid({"ratio": [2.0, 50.0]}),
        score="recall@10", patience=1,
    )  # fmt: skip
    assert values["search"]["best"] == result.best.number
    assert values["playlists"] == pairings.shape[0]  # validation playlists included
    assert lines_of("out.db") == expected(result.refit(pairings), 2)
    out = into("--early-stopping", 1, "--into-table", "other", "--top", 2).out
    assert out.splitlines()[2].startswith("Best:")


@pytest.fixture
def blocks(monkeypatch):
    """The first row of each block that is ranked; interrupted at the second one."""
    monkeypatch.setattr("twofold.model.export.BLOCK", 100)
    monkeypatch.setattr("twofold.cli.recommend_source.BLOCK", 100)
    recommend, asked = FactorModel.recommend, []

    def interrupted(model, rows, n, **options):
        if isinstance(rows, np.ndarray):  # not the new rows of a search
            asked.append(rows[0])
            if len(asked) == 2:
                raise KeyboardInterrupt
        return recommend(model, rows, n, **options)

    monkeypatch.setattr(FactorModel, "recommend", interrupted)
    return asked


def test_a_repeat_after_an_interrupt_completes_the_table(into, blocks, monkeypatch):
    words = ("--top", 2, "--model", "kept", "--grid", "ratio=5")
    assert into(*words).code == 130
    kept = Path("kept").read_bytes()
    assert len({pid for pid, *_ in lines_of("out.db")}) == 100
    with monkeypatch.context() as patched:
        patched.setattr(FactorModel, "fit", None)  # it is not trained again
        values = json.loads(into(*words, "--json").out)
    assert "search" not in values
    assert not values["trained"]
    assert len(blocks) == 4
    model = FactorModel.load("kept")
    assert lines_of("out.db") == expected(model, 2)
    assert Path("kept").read_bytes() == kept
    values = json.loads(into(*words, "--json", "--rng", 1).out)  # the next night
    assert "search" in values
    assert values["trained"]
    assert lines_of("out.db") == expected(FactorModel.load("kept"), 2) != expected(model, 2)


@pytest.mark.parametrize(
    "given",
    [
        ("--ratio", 3),
        ("--unobserved-weight", 0.1, "--biases"),
        ("--solver", "sgd", "--preset", "notebook"),
    ],
)
def test_a_repeat_without_a_search_says_that_it_reads_the_model(into, blocks, given):
    words = ("--top", 2, "--model", "kept", *given)
    assert into(*words).code == 130
    kept = Path("kept").read_bytes()
    lines = into(*words).out.splitlines()
    assert lines[0] == "The model is read from kept, because its table is incomplete."
    assert len(lines) == 2
    assert Path("kept").read_bytes() == kept


@pytest.mark.parametrize("other", [("--rng", 1), ("--ratio", 3), ("--solver", "gd")])
def test_a_repeat_with_another_solver_or_objective_trains_again(into, blocks, other):
    assert into("--top", 2, "--model", "kept").code == 130
    values = json.loads(into("--top", 2, "--model", "kept", *other, "--json").out)
    assert values["trained"]
    assert lines_of("out.db") == expected(FactorModel.load("kept"), 2)


def test_a_repeat_with_another_length_or_without_a_file_trains_again(into, blocks):
    assert into("--top", 2, "--model", "kept").code == 130
    assert "search" not in json.loads(into("--top", 3, "--model", "kept", "--json").out)
    assert "history" in json.loads(into("--top", 3, "--model", "kept", "--json").out)
    assert "history" in json.loads(into("--top", 3, "--json").out)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--top", 0), ["--top is 0"]),
        (("--strategy", "random"), ["--strategy is for a search", "--grid"]),
        (("--n-trials", 3), ["--n-trials is for"]),
        (("--early-stopping", 2, "--warm-start"), ["--warm-start is for a search"]),
        (("--score", "rmse"), ["--score is for a search"]),
        (("--validation", 0.1), ["--validation is for a search"]),
        (("--early-stopping", 0), ["--early-stopping is 0"]),
        (("--grid", "ratio=1:9"), ["--strategy random"]),
        (("--into", "sqlite://"), ["in memory"]),
        (("--into-table", ""), ["--into-table is ''"]),
        (("--model", "none/m"), ["'none'"]),
        (("--track", 3), ["no option --track"]),
        (("--solver", "gd", "--learning-rate", 1e5), ["diverged"]),
    ],
)
def test_errors(words, parts, into, tmp_path):
    into(*words).failed(*parts)
    assert not list(tmp_path.iterdir())


def test_a_model_or_a_source_is_found_among_the_words(twofold, url, playlists):
    twofold("recommend", url).failed("--into URL", "in place of SOURCE")
    twofold("recommend", "--json", url, "--nonnegative").failed("--into URL")
    twofold("recommend", "--into", url, "none.db", *QUICK).failed("none.db")
    twofold("recommend", "none.twofold", "--row", 1).failed("no file 'none.twofold'")
    FactorModel(solver=ALS(n_factors=2, rng=0)).fit(playlists.pairings).save("m.db")
    assert twofold("recommend", "--row", 4, "--top=2", "m.db").out.count("\n") == 3
    assert twofold("recommend", "--row", 4, "--top=2", "--", "m.db").out.count("\n") == 3
    words = ("--into", "out.db", "--top", 1, *QUICK, "--", url)
    assert twofold("recommend", *words).code == 0


def test_a_table_of_something_else_is_noticed_before_the_fit(twofold, into, playlists, monkeypatch):
    write_sql(playlists.pairings, "sqlite:///out.db", "recommendations")
    monkeypatch.setattr(FactorModel, "fit", None)
    into().failed("'recommendations' exists", "drop it, or give another name")


def test_a_file_of_pairs_is_a_source(twofold, playlists):
    rows = np.repeat(playlists.pairings.row_ids, np.diff(playlists.pairings.matrix.indptr))
    cols = playlists.pairings.col_ids[playlists.pairings.matrix.indices]
    lines = "".join(f"{row},{col}\n" for row, col in zip(rows, cols, strict=True))
    Path("a.csv").write_text("pid,tid\n" + lines)
    result = twofold("recommend", "a.csv", "--into", "out.db", "--top", 1, *QUICK)
    assert (result.code, len(lines_of("out.db"))) == (0, 300)
