import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.data.texts import TextNumbers, encode_arrow

TEXTS = st.text(max_size=20) | st.text(st.sampled_from("a\0é\U0001f3b5\ud800\uffff"), max_size=9)
BATCHES = st.lists(st.lists(TEXTS, max_size=30), max_size=4)


def check(texts, encoded):
    ids, places = encoded
    assert ids.tolist() == sorted(set(texts))
    assert ids[places].tolist() == texts


@given(BATCHES)
def test_numbers_and_order_are_those_of_python(batches):
    """Batch after batch, beside a dictionary."""
    texts, known, numbers = TextNumbers(), {}, []
    for batch in batches:
        numbers += texts.add(batch).tolist()
        assert numbers[len(numbers) - len(batch) :] == [
            known.setdefault(text, len(known)) for text in batch
        ]
    whole = [text for batch in batches for text in batch]
    check(whole, texts.encoded(np.array(numbers, np.int32)))


@given(st.lists(st.lists(st.text(max_size=20), max_size=30), max_size=4))
def test_texts_of_arrow(batches):
    pa = pytest.importorskip("pyarrow")
    whole = [text for batch in batches for text in batch]
    for kind in ("string", "large_string"):
        # Of slices, whose buffers begin before them.
        chunks = [pa.array(["", *batch], kind)[1:] for batch in batches]
        check(whole, encode_arrow(pa.chunked_array(chunks, kind)))


@pytest.mark.parametrize("data", [b"\xff", b"\xc3", b"\xed\xa0\x80"])
def test_bytes_that_are_no_text(data):
    pa = pytest.importorskip("pyarrow")
    array = pa.chunked_array([pa.array([b"a", data]).view("string")])
    with pytest.raises(ValueError, match="UTF8"):
        encode_arrow(array)
