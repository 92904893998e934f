import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from twofold import Pairings
from twofold.exceptions import InvalidInputError
from twofold.io import read_csv

DAYS = ["2024-01-01T00:00:00.000000", "2024-01-02T05:06:00.000000"]
COLUMNS = [
    ([3, 1], [3, 1]),
    (["3", "-1"], [3, -1]),
    (["2024-01-01", "2024-01-02T05:06"], DAYS),
    (["2024-01-01T02:00+02:00", "2024-01-02T05:06Z"], DAYS),
]


def written(path, times):
    lines = ["pid,tid,at", *(f"{row},7,{time}" for row, time in enumerate(times, 1))]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(("times", "expected"), COLUMNS)
@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_times_of_frames(make, times, expected):
    found = Pairings.from_frame(make({"pid": [1, 2], "tid": [7, 7], "at": times}), time="at")
    assert found.times.astype(type(expected[0])).tolist() == expected


@pytest.mark.parametrize(("times", "expected"), COLUMNS)
def test_times_of_files(times, expected, tmp_path):
    found = read_csv(written(tmp_path / "a.csv", times), time="at", id_type="integer")
    assert found.row_ids.tolist() == [1, 2]
    assert found.times.astype(type(expected[0])).tolist() == expected


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_dates_of_frames(make):
    days = [datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)]
    found = Pairings.from_frame(make({"pid": [1, 2], "tid": [7, 7], "at": days}), time="at")
    assert found.times.astype("datetime64[D]").tolist() == days


@pytest.mark.parametrize(
    ("times", "shown"),
    [
        ([1, "x"], "'1' where pid is '1'"),
        (["2024-01-01", "x"], "'x' where pid is '2'"),
        (["2024-01-01", ""], "NULL where pid is '2'"),
        ([1.5, 2], "'1.5' where pid is '1'"),
        (["2024-01-01", "NaT"], "'NaT' where pid is '2'"),
        ([1, 2**64], "'1' where pid is '1'"),
    ],
)
def test_what_is_no_time_in_a_file(times, shown, tmp_path):
    message = f"column 'at' holds {shown}.*: times must be 64-bit integers, or dates and times"
    with pytest.raises(InvalidInputError, match=message):
        read_csv(written(tmp_path / "a.csv", times), time="at", id_type="integer")


@pytest.mark.parametrize(
    ("times", "shown"),
    [
        (pa.array([1, 2**63], pa.uint64()), f"{2**63} where pid is 2 .*64-bit integers"),
        (pa.array([1, None]), "NULL where pid is 2"),
        (pa.array([1.0, 2.0]), "1.0 where pid is 1"),
        ([datetime.time(1), datetime.time(2)], "01:00:00 where pid is 1"),
    ],
)
def test_what_is_no_time_in_a_frame(times, shown):
    frame = pa.table({"pid": [1, 2], "tid": [7, 7], "at": times})
    with pytest.raises(InvalidInputError, match=f"column 'at' holds {shown}"):
        Pairings.from_frame(frame, time="at")


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1, 2**70], r"times\[1\] cannot be used: times must be 64-bit integers"),
        ([None, 1], r"times\[0\] cannot be used: times must be 64-bit integers"),
        ([datetime.datetime(2024, 1, 1), 2**70], r"times\[1\] cannot be used"),
        (np.array([1, 2**63], np.uint64), rf"times\[1\] is {2**63}: times must be 64-bit integers"),
        (np.array(["2024-01-01", "NaT"], "datetime64[D]"), "without NaT"),
    ],
)
def test_what_is_no_time_in_arrays(times, message):
    with pytest.raises(InvalidInputError, match=message):
        Pairings.from_arrays([1, 2], [7, 7], times=times)


def test_small_unsigned_integers_are_times():
    times = np.array([3, 2**63 - 1], np.uint64)
    assert Pairings.from_arrays([1, 2], [7, 7], times=times).times.tolist() == times.tolist()
