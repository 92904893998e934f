import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold._texts import TextNumbers

FEW_LETTERS = st.text(st.sampled_from("a\0é\U0001f3b5\ud800\uffff"), max_size=12)
TEXTS = st.one_of(
    st.text(max_size=20),
    FEW_LETTERS,
    FEW_LETTERS.map(lambda text: "spotify:track:" + text),
    st.integers(0, 50).map(lambda n: n * "x"),
)


def check(batches):
    """Number the batches one after the other, beside a dictionary and `sorted`."""
    texts = TextNumbers()
    known: dict[str, int] = {}
    for batch in batches:
        numbers = texts.add_strings(batch)
        assert numbers.tolist() == [known.setdefault(text, len(known)) for text in batch]
    ids, places = texts.in_order()
    assert ids.tolist() == sorted(known)
    assert ids[places].tolist() == list(known)


@settings(deadline=None)
@given(st.lists(st.lists(TEXTS, max_size=30), max_size=4))
def test_numbers_and_order_are_those_of_python(batches):
    check(batches)


def test_many_texts_make_everything_grow():
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 30_000, 100_000)
    check([[f"text {n}" for n in part] for part in np.array_split(numbers, 7)])
    check([["x" * 100_000, "", "y" * 200_001, "x" * 100_000]])


def test_texts_that_are_equal_for_long():
    rng = np.random.default_rng(0)
    stems = ["a" * 100 + str(n) * 60 for n in range(3)]
    check([[stems[n % 3] + str(n) for n in rng.permutation(2000).tolist()]])
    check([["a" * n for n in rng.permutation(500).tolist()]])
    check([["\0" * n for n in rng.permutation(100).tolist()]])


@pytest.mark.parametrize(
    ("parts", "valid"),
    [
        ([b"a", b"\xc3\xa9", b""], True),
        ([b"\xff"], False),
        ([b"\xc3", b"\xa9"], False),  # which together would be one character
        ([b"\xed\xa0\x80"], False),
    ],
)
def test_is_utf8(parts, valid):
    texts = TextNumbers()
    ends = np.cumsum([len(part) for part in parts])
    texts.add(np.frombuffer(b"".join(parts), np.uint8), ends)
    assert texts.is_utf8() == valid


def test_texts_with_the_same_hash_stay_apart():
    texts = TextNumbers()

    def mixed(first: bytes) -> int:
        """What the kernel's hash is after the first of two words."""
        word = int(texts._seed) ^ 16 ^ int.from_bytes(first, "big")
        word = word * 0x9E3779B97F4A7C15 % 2**64
        return word ^ (word >> 32)

    words = [b"%08d" % n for n in range(40)]
    same = [word + (mixed(word) ^ 12345).to_bytes(8, "big") for word in words]
    data = np.frombuffer(b"".join(same), np.uint8)
    ends = 16 * np.arange(1, 41)
    assert texts.add(data, ends).tolist() == list(range(40))
    assert texts.add(data, ends).tolist() == list(range(40))
    taken = np.flatnonzero(texts._slots >= 0)
    assert (taken == (taken[0] + np.arange(40)) % texts._slots.size).all() or taken[0] == 0
    assert np.unique(texts._slots[taken] >> 31).size == 1
