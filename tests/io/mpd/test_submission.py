"""Submissions, checked by the published rules of the challenge.

`violations` is written from the section "Submission Format" of
https://www.aicrowd.com/challenges/spotify-million-playlist-dataset-challenge, not from the writer.
"""

import gzip

import numpy as np
import pytest

from twofold import FactorModel, Objective, Pairings
from twofold.exceptions import InvalidInputError
from twofold.io import read_mpd, write_submission
from twofold.solvers import ALS

TEAM = ("my awesome team name", "my_awesome_team@email.com")


def violations(text, challenge):
    """Return the rules that a submission violates, given the seed tracks of each playlist."""
    found = []
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    fields = [[field.strip() for field in line.split(",")] for line in lines]
    header, *playlists = fields or [[]]
    if len(header) != 3 or header[0] != "team_info" or not header[1] or "@" not in header[2]:
        found.append("the first line is team_info, the team name and an email address")
    if sorted(line[0] for line in playlists) != sorted(map(str, challenge)):
        found.append("each challenge playlist has a line")
    for pid, *tracks in playlists:
        if len(tracks) != 500:
            found.append("exactly 500 tracks")
        if len(set(tracks)) != len(tracks):
            found.append("no duplicated tracks")
        if set(tracks) & set(challenge.get(int(pid), [])):
            found.append("no seed tracks")
        for track in tracks:
            site, kind, name = [*track.split(":"), "", ""][:3]
            if (site, kind, len(name)) != ("spotify", "track", 22) or not name.isalnum():
                found.append("tracks are URIs")
    return found


def uri(number):
    return f"spotify:track:{number:022d}"


URIS = [uri(number) for number in range(520)]
CHALLENGE = {1_000_000: [], 1_000_003: URIS[:5], 1_000_001: [URIS[519], uri(999)]}


@pytest.fixture
def challenge(make_slice):
    return read_mpd(make_slice(CHALLENGE, "challenge_set.json"))


def lists():
    return {
        pid: [uri for uri in reversed(URIS) if uri not in seeds][:500]
        for pid, seeds in CHALLENGE.items()
    }


def ranking_of(found):
    return [(pid, [(uri, 1.0) for uri in uris]) for pid, uris in found.items()]


def test_the_rules_are_satisfied(tmp_path, challenge):
    path = tmp_path / "a.csv"
    write_submission(path, *TEAM, ranking_of(lists()), challenge)
    text = path.read_text("utf-8")
    assert violations(text, CHALLENGE) == []
    assert text.splitlines()[0] == "team_info,my awesome team name,my_awesome_team@email.com"
    first = text.splitlines()[1].split(",")
    assert (first[0], first[1:]) == ("1000000", lists()[1_000_000])


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda text: text.replace("team_info,", "team_info,main,", 1), "the first line"),
        (lambda text: text.partition("\n")[2], "the first line"),
        (lambda text: text.rstrip().rpartition("\n")[0], "each challenge playlist"),
        (lambda text: text.rstrip().rpartition(",")[0], "exactly 500"),
        (lambda text: text.rstrip() + "," + uri(9999), "exactly 500"),
        (lambda text: text.replace(URIS[100], URIS[101]), "no duplicated"),
        (lambda text: text.replace(URIS[100], URIS[0]), "no seed"),
        (lambda text: text.replace(URIS[100], "100"), "tracks are URIs"),
    ],
)
def test_the_check_of_this_test_can_fail(tmp_path, challenge, change, rule):
    path = tmp_path / "a.csv"
    write_submission(path, *TEAM, ranking_of(lists()), challenge)
    assert rule in "; ".join(violations(change(path.read_text("utf-8")), CHALLENGE))


def test_a_model_and_a_fallback(tmp_path, make_slice, challenge):
    """A playlist without seed tracks gets other tracks: here those of another playlist."""
    rng = np.random.default_rng(0)
    rows, cols = np.divmod(np.flatnonzero(rng.random(40 * 520) < 0.3), 520)
    trained = Pairings.from_arrays(rows, [URIS[col] for col in cols])
    model = FactorModel(Objective(), ALS(n_factors=2, max_epochs=2, rng=0)).fit(trained)
    ranking = model.recommend(challenge, n=500)
    path = tmp_path / "a.csv.gz"
    with pytest.raises(
        InvalidInputError, match=r"playlist 1000000 has 0 recommendations, but 500 .* most popular"
    ):
        write_submission(path, *TEAM, ranking, challenge)
    assert not path.exists()
    completed = dict(ranking)
    completed[1_000_000] = completed[1_000_003]
    write_submission(path, *TEAM, completed.items(), challenge)
    assert violations(gzip.decompress(path.read_bytes()).decode("utf-8"), CHALLENGE) == []
    assert path.read_bytes()[4:8] == bytes(4)  # no time: the same bytes whenever it is written


def test_more_than_500_are_cut(tmp_path, challenge):
    found = lists()
    found[1_000_000] = list(reversed(URIS))
    write_submission(tmp_path / "a.csv", *TEAM, ranking_of(found), challenge)
    assert violations((tmp_path / "a.csv").read_text("utf-8"), CHALLENGE) == []


def changed(pid, uris):
    return ranking_of(lists() | {pid: uris})


@pytest.mark.parametrize(
    ("ranking", "message"),
    [
        (changed(1_000_001, URIS[:499]), "playlist 1000001 has 499 recommendations"),
        (changed(1_000_001, URIS[:499] + URIS[:1]), rf"1000001 has the track '{URIS[0]}' twice"),
        (changed(1_000_003, URIS[4:504]), rf"1000003 has its seed track '{URIS[4]}' among"),
        (changed(1_000_003, list(range(500))), "1000003 has the track 0: ids must be URIs"),
        (changed(1_000_003, ["spotify:local:a"] * 500), "1000003 has the track 'spotify:local:a'"),
        (changed(5, URIS[:500]), "playlist 5 is not in the challenge set"),
        (ranking_of(lists()) * 2, "playlist 1000000 has two lists"),
        (ranking_of(lists())[:-1], "1 playlists .* have no list, the first is 1000001"),
    ],
)
def test_what_the_scoring_system_rejects_is_an_error(tmp_path, challenge, ranking, message):
    with pytest.raises(InvalidInputError, match=message):
        write_submission(tmp_path / "a.csv", *TEAM, ranking, challenge)
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize("text", ["", " ", "a,b", "a\nb", None])
def test_the_first_line_must_have_its_fields(tmp_path, challenge, text):
    for fields in ((text, TEAM[1]), (TEAM[0], text)):
        with pytest.raises(InvalidInputError, match="without commas"):
            write_submission(tmp_path / "a.csv", *fields, ranking_of(lists()), challenge)


def test_seeds_must_be_pairings(tmp_path, challenge):
    with pytest.raises(InvalidInputError, match="make Pairings of it"):
        write_submission(tmp_path / "a.csv", *TEAM, ranking_of(lists()), challenge.matrix)
