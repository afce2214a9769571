from t2m_edge.training.text_corpus import Synset
from t2m_edge.training.text_tokenizer import train_tokenizer, word_counts

THINGS = ["zebra", "moose", "skyscraper", "teapot", "hamster", "zucchini"]
SYNSETS = [
    *(Synset("noun", "06", (name,), f"a {name} is a thing with a handle and stripes", (), True) for name in THINGS),
    Synset("noun", "05", ("Eubacteriales", "order Eubacteriales"), "an order of bacteria", (), False),
    Synset("verb", "38", ("run",), "move fast by using the feet", ("the zebras run on the plain",), False),
]


def test_names_of_things_are_tokens_of_their_own():
    tokenizer = train_tokenizer(SYNSETS, common_words=(), vocabulary=120)
    for name in THINGS:
        assert tokenizer.encode(name).tokens == [name]


def test_the_vocabulary_has_the_size_asked_for_and_starts_with_the_unknown_token():
    tokenizer = train_tokenizer(SYNSETS, common_words=(), vocabulary=60)
    assert tokenizer.get_vocab_size() <= 60
    assert tokenizer.token_to_id("[UNK]") == 0


def test_common_words_come_before_others_of_the_same_count():
    texts = [
        Synset("verb", "38", ("abc",), f"{word} {word} {word}", (), False)
        for word in ("plumage", "qqqqqqq", "wingtips")
    ]
    tokenizer = train_tokenizer(SYNSETS + texts, common_words={"wingtips"}, vocabulary=72)
    assert len(tokenizer.encode("wingtips").tokens) <= len(tokenizer.encode("plumage").tokens)


def test_case_and_accents_do_not_matter():
    tokenizer = train_tokenizer(SYNSETS, (), 120)
    assert tokenizer.encode("Zébra").tokens == tokenizer.encode("zebra").tokens


def test_other_scripts_are_unknown():
    assert train_tokenizer(SYNSETS, (), 120).encode("犬 сова").tokens == ["[UNK]", "[UNK]"]


def test_proper_names_count_less_than_names_of_things():
    counts = word_counts(SYNSETS, train_tokenizer(SYNSETS, (), 60))
    assert counts["zebra"] > counts["eubacteriales"]
