import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2m_edge.text.words import TaughtWords, few_pieces, hash_words, split_words

TAUGHT = ["zebra", "stripe", "big", "happy", "snow", "plough", "leaf", "bake", "striped", "hoof", "the", "hand", "boat"]


@pytest.fixture
def taught():
    return TaughtWords(hash_words(TAUGHT))


def test_words_are_letters_and_digits_with_apostrophes_inside():
    assert split_words("cat's-eye_3; “Zoë” — 犬!") == ["cat's", "eye", "3", "Zoë", "犬"]


@given(st.text())
def test_words_never_hold_blanks(text):
    assert all(word and not any(c.isspace() for c in word) for word in split_words(text))


@pytest.mark.parametrize("word", TAUGHT)
def test_a_taught_word_is_known(taught, word):
    assert word in taught


@pytest.mark.parametrize(
    "word", ["zebras", "zebra's", "stripes", "stripy", "bigger", "biggest", "happily", "happiness"]
)
def test_inflections_and_derivations_of_taught_words_are_known(taught, word):
    assert word in taught


@pytest.mark.parametrize("word", ["baking", "baked", "leafless", "unhappy", "unstriped", "snowplough", "handboats"])
def test_prefixes_and_compounds_of_taught_words_are_known(taught, word):
    assert word in taught


@pytest.mark.parametrize("word", ["pferd", "xj900b", "4711", "犬", "сова", "as", "s", "", "snowxj"])
def test_other_words_codes_and_scripts_are_unknown(taught, word):
    assert word not in taught


@pytest.mark.parametrize(("word", "pieces", "known"), [("cat", 1, True), ("zebras", 2, True), ("pferd", 3, False)])
def test_a_word_of_many_pieces_counts_as_unknown(word, pieces, known):
    assert few_pieces(word, pieces) is known


def test_words_that_follow_from_shorter_ones_take_no_room():
    assert len(hash_words(["zebra", "zebras", "snow", "plough", "snowplough"])) == 3
    assert len(hash_words(["zebras", "mane"])) == 2
