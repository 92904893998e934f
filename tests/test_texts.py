import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from twofold._kernels.texts import _hash
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


hashed = njit(lambda address, size, key: _hash(address, size, key))


def naive_hash(data: bytes, key: tuple[int, int]) -> int:
    def fold(a: int, b: int) -> int:
        return a * b % 2**64 ^ a * b >> 64

    hashed = key[0] ^ len(data)
    for start in range(0, len(data), 8):
        word = int.from_bytes(data[start : start + 8].ljust(8, b"\0"), "big")
        hashed = fold(hashed ^ word, key[1])
    return fold(hashed, key[1])


@given(st.binary(max_size=40), st.tuples(*[st.integers(0, 2**64 - 1)] * 2))
@settings(deadline=None)
def test_the_hash(data, key):
    array = np.frombuffer(data + b" ", np.uint8)
    found = hashed(array.ctypes.data, len(data), tuple(map(np.uint64, key)))
    assert found == naive_hash(data, key)


def test_texts_that_differ_in_the_same_bits_have_different_hashes():
    # Pairs of words that would cancel in a product of 64 bits, whatever it is multiplied by.
    one = [b"0abcdefg0bcd0fgh", b"pabcdefgpbcdpfgh"]
    two = [bytes(16), (1 << 63).to_bytes(8, "big") + ((1 << 63) | (1 << 31)).to_bytes(8, "big")]
    for halves in (one, two):
        texts = TextNumbers()
        parts = [b"".join(halves[n >> i & 1] for i in range(12)) for n in range(1 << 12)]
        data = np.frombuffer(b"".join(parts), np.uint8)
        texts.add(data, 192 * np.arange(1, 1 + (1 << 12)))
        assert np.unique(texts._slots[texts._slots >= 0] >> 31).size > (1 << 12) - 10
