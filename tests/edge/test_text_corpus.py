from itertools import islice

import pytest

from t2m_edge.training.text_corpus import composed_lines, read_irregular_forms, read_wordnet, training_lines
from t2m_runtime.errors import InputError

LICENCE = "  1 This software and database is being provided\n"
ZEBRA = (
    "02391049 05 n 01 zebra 0 002 @ 02374451 n 0000 %m 02376089 n 0000 | any of several fleet "
    'black-and-white striped African equines (wild); seen on plains; "a herd of zebras"  \n'
)
LOVELACE = "11137480 18 n 02 Ada_Lovelace 0 Lovelace 1 001 @i 10307234 n 0000 | English mathematician  \n"
DEER = "02430045 05 n 02 deer 0 cervid 0 001 @ 02399000 n 0000 | ruminants with a pair of antlers  \n"
GALORE = "00014358 00 s 02 abounding 0 galore(ip) 0 001 & 00013887 a 0000 | existing in abundance  \n"
RUN = '01926311 38 v 01 run 0 001 @ 01835496 v 0000 01 + 02 00 | move fast by using the feet; "Don\'t run"  \n'


@pytest.fixture
def folder(tmp_path):
    parts = {"noun": ZEBRA + LOVELACE + DEER, "verb": RUN, "adj": GALORE, "adv": ""}
    for part, lines in parts.items():
        (tmp_path / f"data.{part}").write_text(LICENCE + lines)
    (tmp_path / "noun.exc").write_text("geese goose\nhooves hoof\n")
    return tmp_path


def test_synsets_have_words_definition_and_examples(folder):
    zebra, lovelace, _, run, abounding = read_wordnet(folder)
    assert zebra.words == ("zebra",)
    assert zebra.definition.startswith("any of several fleet") and zebra.definition.endswith("seen on plains")
    assert zebra.examples == ("a herd of zebras",)
    assert run.examples == ("Don't run",)
    assert abounding.words == ("abounding", "galore")
    assert (zebra.thing, lovelace.thing, run.thing) == (True, False, False)


def test_lines_of_a_thing_have_the_forms_of_class_descriptions(folder):
    lines = training_lines(read_wordnet(folder))
    expected = {
        "zebra",
        "a photo of a zebra",
        "a herd of zebras",
        "seen on plains",
        "with a pair of antlers",
        "deer; cervid",
    }
    assert expected <= set(lines)
    assert any(line.startswith("A zebra is any of several") for line in lines)
    assert "a photo of an Ada Lovelace" not in lines


def test_the_order_of_the_lines_depends_on_the_seed_alone(folder):
    synsets = read_wordnet(folder)
    assert training_lines(synsets, 1) == training_lines(synsets, 1) != training_lines(synsets, 2)
    assert len(set(training_lines(synsets))) == len(training_lines(synsets))


def test_composed_lines_are_names_and_passages_that_the_dictionary_does_not_hold(folder):
    synsets = read_wordnet(folder)
    lines = list(islice(composed_lines(synsets, 1), 300))
    assert lines == list(islice(composed_lines(synsets, 1), 300)) != list(islice(composed_lines(synsets, 2), 300))
    assert not set(lines) & set(training_lines(synsets))
    assert any(line.count(". ") >= 2 for line in lines)
    assert {"abounding", "galore", "zebra", "deer"} <= {
        word for line in lines for word in line.replace(".", "").split()
    }


def test_irregular_forms_are_the_first_word_of_each_line(folder):
    assert read_irregular_forms(folder) == ["geese", "hooves"]


def test_a_folder_that_is_not_wordnet_says_how_to_get_it(tmp_path):
    with pytest.raises(InputError, match="wordnet-base"):
        read_wordnet(tmp_path)


@pytest.mark.parametrize("line", ["nonsense", "02391049 05 n zz zebra 0 | gloss", "02391049 05 n 09 zebra 0"])
def test_a_line_of_another_format_is_named(folder, line):
    (folder / "data.verb").write_text(LICENCE + RUN + line + "\n")
    with pytest.raises(InputError, match=r"data\.verb, line 3"):
        read_wordnet(folder)
