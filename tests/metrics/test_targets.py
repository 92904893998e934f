import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.exceptions import InvalidInputError
from twofold.metrics import mae, rmse

NUMBERS = st.floats(-100, 100)


def test_values_worked_out_by_hand():
    assert rmse([1.0, 2.0], [4.0, 6.0]) == pytest.approx((25 / 2) ** 0.5)
    assert mae([1.0, 2.0], [4.0, 6.0]) == 3.5
    assert rmse([1.0, 2.0], [4.0, 6.0], weights=[1, 3]) == pytest.approx(((9 + 48) / 4) ** 0.5)
    assert mae([1.0, 2.0], [4.0, 6.0], weights=[1, 3]) == (3 + 12) / 4


@given(
    pairs=st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(0, 3)), min_size=1).filter(
        lambda pairs: any(times for *_, times in pairs)
    )
)
def test_a_weight_is_a_number_of_copies(pairs):
    predicted, values, times = map(np.array, zip(*pairs, strict=True))
    copies = np.repeat(predicted, times), np.repeat(values, times)
    for metric in (rmse, mae):
        assert metric(predicted, values, weights=times) == pytest.approx(metric(*copies))
    assert mae(*copies) <= rmse(*copies) + 1e-9


@pytest.mark.parametrize("metric", [rmse, mae])
@pytest.mark.parametrize(
    ("arrays", "weights", "message"),
    [
        (([1.0], [1.0, 2.0]), None, r"predicted has shape \(1,\)"),
        (([], []), None, "at least one number"),
        (([1.0], [1.0]), [1.0, 2.0], r"weights has shape \(2,\)"),
        (([np.nan], [1.0]), None, "predicted has a number that is not finite"),
        (([1.0], [1.0]), [-1.0], "weights are below 0 or all 0"),
        (([1.0], [1.0]), [0.0], "weights are below 0 or all 0"),
    ],
)
def test_bad_arrays_are_refused(metric, arrays, weights, message):
    with pytest.raises(InvalidInputError, match=message):
        metric(*arrays, weights=weights)
