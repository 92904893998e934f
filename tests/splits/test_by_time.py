import time
import warnings
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from split_data import make_pairings

from twofold import Pairings
from twofold.exceptions import InvalidInputError, LeakWarning
from twofold.splits import Unknown, split_time

NOON = datetime(2017, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NOON_SECONDS = 1_496_318_400


@pytest.fixture(params=["UTC", "America/New_York", "Pacific/Kiritimati"])
def _zone(request, monkeypatch):
    """Run a test in a time zone of the system."""
    if not hasattr(time, "tzset"):
        pytest.skip("time.tzset is needed")
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    assert (time.timezone == 0) == (request.param == "UTC")
    yield
    monkeypatch.undo()
    time.tzset()


def timed(times):
    """One row of which each column has one of the times."""
    n = len(times)
    return Pairings.from_arrays([1] * n, range(n), times=times)


@pytest.mark.usefixtures("_zone")
@pytest.mark.parametrize(
    "cut",
    [
        NOON,
        NOON.replace(tzinfo=None),
        NOON.astimezone(timezone(timedelta(hours=5, minutes=30))),
        "2017-06-01T12:00",
        "2017-06-01 12:00:00Z",
        "2017-06-01T14:00:00+02:00",
        np.datetime64("2017-06-01T12:00"),
        np.datetime64("2017-06-01T12", "h"),
        NOON_SECONDS,
        float(NOON_SECONDS),
        np.int64(NOON_SECONDS),
    ],
    ids=repr,
)
@pytest.mark.parametrize("kind", ["aware", "naive", "seconds"])
def test_every_cut_is_in_utc(cut, kind):
    moments = [NOON - SECOND, NOON, NOON + SECOND]
    times = {
        "aware": [moment.astimezone(timezone(timedelta(hours=-8))) for moment in moments],
        "naive": [moment.replace(tzinfo=None) for moment in moments],
        "seconds": [NOON_SECONDS - 1, NOON_SECONDS, NOON_SECONDS + 1],
    }[kind]
    with pytest.warns(LeakWarning):
        seen, heldout = split_time(timed(times), cut)
    assert seen.matrix.toarray().tolist() == [[1, 0, 0]]
    assert heldout.matrix.toarray().tolist() == [[0, 1, 1]]


@pytest.mark.usefixtures("_zone")
@pytest.mark.parametrize("cut", [date(2017, 6, 1), "2017-06-01"])
def test_a_date_is_its_midnight_in_utc(cut):
    midnight = datetime(2017, 6, 1)
    moments = [midnight - timedelta(microseconds=1), midnight]
    with pytest.warns(LeakWarning):
        assert split_time(timed(moments), cut).heldout.matrix.toarray().tolist() == [[0, 1]]


def test_cuts_are_exact_to_the_microsecond():
    moments = [NOON + timedelta(microseconds=n) for n in range(4)]
    for n in range(1, 4):
        with pytest.warns(LeakWarning):
            assert split_time(timed(moments), moments[n]).seen.n_pairs == n
        with pytest.warns(LeakWarning):
            assert split_time(timed(moments), NOON_SECONDS + n / 1e6).seen.n_pairs == n


def test_integer_times_have_any_unit():
    times = [2**62, 2**62 + 1, 2**62 + 2]  # float64 cannot tell them apart
    with pytest.warns(LeakWarning):
        assert split_time(timed(times), 2**62 + 1).seen.n_pairs == 1
    with pytest.warns(LeakWarning):
        assert split_time(timed([-1, 0, 1]), 0.5).seen.n_pairs == 2
    late = NOON + timedelta(milliseconds=1)  # between two integers
    with pytest.warns(LeakWarning):
        assert split_time(timed([NOON_SECONDS, NOON_SECONDS + 1]), late).seen.n_pairs == 1


@given(st.lists(st.integers(0, 8), min_size=2, max_size=30), st.floats(0.001, 0.999))
def test_a_fraction_holds_out_the_latest_pairs_with_their_ties(times, fraction):
    cut = sorted(times)[len(times) - max(1, round(fraction * len(times)))]
    if cut == min(times):
        with pytest.raises(InvalidInputError, match="are not before the cut"):
            split_time(timed(times), fraction=fraction)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)
        split = split_time(timed(times), fraction=fraction)
    assert split.heldout.matrix.indices.tolist() == [
        position for position, moment in enumerate(times) if moment >= cut
    ]
    assert split.heldout.n_pairs >= round(fraction * len(times))


def test_leaks_are_counted():
    rows = ["both", "both", "both", "before", "after", "after", "after"]
    cols = [1, 2, 3, 1, 1, 3, 4]
    pairings = Pairings.from_arrays(rows, cols, times=[1, 5, 5, 1, 5, 6, 7])
    with pytest.warns(LeakWarning) as caught:
        split = split_time(pairings, 5)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert str(caught[0].message) == (
        "1 rows (3 pairs) and 3 columns (4 pairs) occur only from the cut 5 on, so a model of the "
        "pairs before it does not have them; 1 rows occur on both sides, so they are not new to it"
    )
    assert split.unknown == Unknown(3, 4)
    assert split.train.col_ids.tolist() == [1]
    assert split.train.row_ids.tolist() == pairings.row_ids.tolist()


def test_a_warning_of_rows_on_both_sides_only():
    pairings = Pairings.from_arrays([1, 1, 2, 2], [7, 8, 8, 7], times=[1, 2, 1, 2])
    with pytest.warns(LeakWarning, match=r"^0 rows .* 0 columns .*; 2 rows occur on both sides"):
        split_time(pairings, 2)


def test_pairs_of_one_time_can_not_be_divided():
    with pytest.raises(InvalidInputError, match="all 2 pairs are not before the cut 3"):
        split_time(timed([3, 3]), fraction=0.5)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ("2016", "write a date and time as"),
        ("June", "write a date and time as"),
        (True, "cut is True: give a datetime"),
        ([1], r"cut is \[1\]: give a datetime"),
        (float("nan"), "cut is nan: it must be a finite number"),
        (np.datetime64("NaT", "s"), "NaT.*: give a datetime"),
        ("2017-06-02", "all 2 pairs are before the cut 2017-06-02T.*2017-06-01T12:00:01"),
        (NOON, "all 2 pairs are not before the cut 2017-06-01T12.*are from 2017-06-01T12:00:00"),
        (1e300, "all 2 pairs are before the cut"),
        (-1e300, "all 2 pairs are not before the cut"),
        (np.datetime64("20000-01-01"), "all 2 pairs are before the cut"),
    ],
    ids=repr,
)
def test_a_wrong_cut_is_an_error(cut, message):
    with pytest.raises(InvalidInputError, match=message):
        split_time(timed([NOON, NOON + SECOND]), cut)


def test_a_date_for_times_in_milliseconds_is_an_error():
    times = [NOON_SECONDS * 1000, NOON_SECONDS * 1000 + 1]
    with pytest.raises(InvalidInputError, match="a date becomes seconds since 1970"):
        split_time(timed(times), NOON)


def test_missing_pandas_times_are_an_error():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(InvalidInputError, match="cut is NaT: give a datetime"):
        split_time(timed([NOON, NOON + SECOND]), pandas.NaT)
    with pytest.warns(LeakWarning):
        assert split_time(
            timed([NOON, NOON + SECOND]), pandas.Timestamp(NOON + SECOND)
        ).seen.n_pairs


@pytest.mark.parametrize("fraction", [0, 1, -0.5, np.nan, "0.2", True])
def test_a_wrong_fraction_is_an_error(fraction):
    with pytest.raises(InvalidInputError, match="fraction is"):
        split_time(timed([1, 2]), fraction=fraction)


def test_there_must_be_pairs_with_times_and_one_cut():
    with pytest.raises(InvalidInputError, match="either a cut or a fraction"):
        split_time(timed([1, 2]))
    with pytest.raises(InvalidInputError, match="either a cut or a fraction"):
        split_time(timed([1, 2]), 1, fraction=0.5)
    with pytest.raises(InvalidInputError, match="have no times"):
        split_time(make_pairings([3]), 1)
    empty = timed([1]).take_rows([])
    for cut in ({"cut": 1}, {"fraction": 0.5}):
        with pytest.raises(InvalidInputError, match="there are no pairs"):
            split_time(empty, **cut)
