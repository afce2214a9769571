"""Warnings, limits and hostile files."""

import os
import re
import time
import tracemalloc

import pytest

from t2m_edge.task import parse_csv, parse_json, parse_text, parse_yaml, read_task
from t2m_edge.task.checks import near_identical, split_negation
from t2m_runtime.errors import InputError


def test_a_negation_word_is_answered_with_the_text_to_write():
    task = parse_text("horse: a large animal without stripes; a mane\nzebra: stripes", "animals.txt")
    assert task.warnings == (
        "animals.txt, line 1: 'horse' has the text 'a large animal without stripes'; the text encoder does not "
        "understand 'without'; write: a large animal; not: stripes",
    )


def test_the_proposed_text_reads_back_without_a_warning():
    task = parse_text("horse: a large animal with no stripes, never spotted\nzebra: stripes")
    text = task.warnings[0].split("write: ")[1]
    again = parse_text(f"horse: {text}; not: antlers\nzebra: stripes")
    assert again.warnings == ()
    assert again.classes[0].texts == ("a large animal",)
    assert again.classes[0].negatives == ("stripes", "spotted", "antlers")


@pytest.mark.parametrize("text", ["a cat without a tail " + "and with long whiskers " * 100, "a cat without a tail"])
def test_a_warning_of_a_negation_is_short_whatever_the_class_has(text):
    texts = "; ".join([text, *(f"a cat with {i} stripes" for i in range(40)), "no tail"])
    (warning,) = parse_text(f"cat: {texts}\nzebra: stripes").warnings
    assert len(warning) < 300
    assert "(and 1 more of its texts)" in warning and "3 stripes" not in warning


@pytest.mark.parametrize(
    "text",
    [
        "a train that is no longer in use",
        "no idea",
        "There is no definitive answer",
        "an apple, not to be confused with a pear",
        "a fruit that you should not eat",
        "a leaf that is not very long",
        "a dog without a tail and with long ears",
        "a sign that says no parking",
        "Mambo No. 5",
        "says no",
        "no two are alike",
    ],
)
def test_a_negation_that_cannot_be_moved_is_not_rewritten(text):
    assert split_negation(text) is None
    (warning,) = parse_text(f"one: {text}\nother: stripes").warnings
    assert warning.endswith("write what a photo shows, and what it does not show behind `not:`")


@pytest.mark.parametrize("text", ["not only red", "not just a dog", "no doubt a dog", "a bird that cannot fly"])
def test_what_negates_nothing_is_no_negation(text):
    assert parse_text(f"one: {text}\nother: stripes").warnings == ()


@pytest.mark.parametrize(
    "text, positive, negatives",
    [
        ("a horse without stripes", "a horse", ["stripes"]),
        ("a mug with no handle, and a lid", "a mug, a lid", ["handle"]),
        ("it is not a striped animal", "", ["striped animal"]),
        ("never green", "", ["green"]),
        ("not striped, not spotted and without horns", "", ["striped", "spotted", "horns"]),
        ("a horse with no stripes at all", "a horse", ["stripes"]),
        ("a dog (not a wolf) in snow", "a dog in snow", ["wolf"]),
        ("a bag without logo or handle", "a bag", ["logo", "handle"]),
        ("a car that does not have doors", "a car", ["doors"]),
        ("Not ripe; still hard", "still hard", ["ripe"]),
    ],
)
def test_splitting_a_negation(text, positive, negatives):
    if positive == "":
        assert split_negation(text)[1] == negatives
    else:
        assert split_negation(text) == (positive, negatives)


@pytest.mark.parametrize("text", ["knot of wood", "northern nose", "a nothing", "notable notes"])
def test_words_that_contain_a_negation_are_no_negation(text):
    assert parse_text(f"a: {text}\nb: other").warnings == ()


def test_descriptions_with_the_same_words_are_named():
    task = parse_text("gala: a red apple\nlime: a small green fruit\nfuji: an apple, a red\n", "fruit.txt")
    assert task.warnings == ()
    task = parse_text("one: black on white\nlime: green\ntwo: white on black\n", "fruit.txt")
    assert len(task.warnings) == 1
    assert "line 3: 'two' and 'one' (line 1) have nearly the same words" in task.warnings[0]


@pytest.mark.parametrize(
    "text",
    [
        "cat: fur\ndog: fur",
        "cat: fur; fur\ndog: fur",
        "cat: not: fur\ndog: not: fur",
        "cat: a tail; not: fur\ndog: a tail; not: fur",
    ],
)
def test_classes_with_the_same_texts_are_named(text):
    assert [w for w in parse_text(text).warnings if "nearly the same words" in w and "'dog' and 'cat' (line 1)" in w]


@pytest.mark.parametrize("text", ["cat\nCat", "cat: fur\nCat: hooves", "red pepper: fur\nRed-Pepper: hooves"])
def test_one_name_in_two_spellings_is_a_warning(text):
    (warning,) = parse_text(text, "t.txt").warnings
    assert warning.startswith("t.txt, line 2: ") and "are one name in two spellings" in warning


def test_what_a_class_looks_like_and_does_not_is_a_warning():
    (warning,) = parse_text("cat: Fur; not: stripes; not: fur.\ndog: fur; not: stripes", "t.txt").warnings
    assert warning == "t.txt, line 1: 'cat' has 'Fur' as a text and as a not: text; keep one of them"


def test_a_word_that_stands_more_often_tells_descriptions_apart():
    shape = "a shiny vegetable with a blocky shape and a green stem"
    assert parse_text(f"one: {shape}; a crate of green ones\ntwo: {shape}; a crate of red ones").warnings == ()


def test_negatives_tell_descriptions_apart():
    assert parse_text("a: red fruit; not: leaf\nb: red fruit; not: stem").warnings == ()


def test_near_identical_finds_what_all_pairs_find():
    import random

    random.seed(0)
    words = [f"w{i}" for i in range(30)]
    sets = [frozenset(random.sample(words, random.randint(1, 25))) for _ in range(120)]
    for _ in range(60):
        base = set(random.choice(sets))
        base ^= {random.choice(words)}
        sets.append(frozenset(base) or frozenset(["x"]))

    def jaccard(a, b):
        return len(a & b) / len(a | b)

    expected = {j for j in range(len(sets)) if any(jaccard(sets[i], sets[j]) >= 0.9 for i in range(j))}
    found = near_identical(sets)
    assert {j for _, j in found} == expected
    assert all(jaccard(sets[i], sets[j]) >= 0.9 for i, j in found)


@pytest.mark.parametrize(
    "parse, text",
    [
        (parse_text, "".join(f"class {i}: text {i}\n" for i in range(10_000))),
        (parse_csv, "name\n" + "".join(f"class {i}\n" for i in range(10_000))),
        (parse_json, "[" + ",".join(f'"class {i}"' for i in range(10_000)) + "]"),
        (parse_yaml, "".join(f"class {i}: text {i}\n" for i in range(10_000))),
    ],
)
def test_ten_thousand_classes_are_refused(parse, text):
    with pytest.raises(InputError, match=r"found class number 1,001; keep at most 1,000 classes"):
        parse(text)


def test_a_thousand_classes_take_milliseconds():
    text = "".join(
        f"class {i}: an animal of kind {i} with a long tail and short brown fur seen {i * 7}\n" for i in range(1000)
    )
    start = time.perf_counter()
    task = parse_text(text)
    assert len(task.classes) == 1000
    assert time.perf_counter() - start < 2


def test_a_file_of_nothing_but_negations_takes_seconds():
    text = "".join(f"class {i}: " + "; ".join(["with no " * 490] * 2) + "\n" for i in range(200))
    start = time.perf_counter()
    task = parse_text(text)
    assert time.perf_counter() - start < 10
    assert task.warnings[50].endswith("150 more classes have texts with not, no, without or never")


def test_two_gigabytes_are_refused_unread(tmp_path):
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(2 << 30)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"huge.txt: 2,147,483,648 bytes; a descriptions file has at most"):
        read_task(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no /dev/zero here")
def test_an_endless_file_is_cut_off(tmp_path):
    path = tmp_path / "endless.txt"
    path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="more than"):
        read_task(path)


@pytest.mark.parametrize(
    "name, data, message",
    [
        ("a.txt", b"\x89PNG\r\n\x1a\n\x00\x00", "line 1, column 1: found byte 0x89; save the file as UTF-8"),
        ("a.txt", b"\xef\xbb\xbfok: x\n\xc3\xa9\xff: y", "line 2, column 2: found byte 0xff"),
        ("a.txt", "a: x\nb: y".encode("utf-16"), "found UTF-16 text; save the file as UTF-8"),
        ("a.txt", b"", "the file is empty"),
        ("a.json", b"\xef\xbb\xbf", "the file is empty"),
        ("a.docx", b"PK", "found the ending '.docx'; name the file .txt, .csv, .json or .yaml"),
        ("a", b"a\nb", "found no ending"),
    ],
)
def test_files_that_are_no_descriptions(tmp_path, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_task(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_task(tmp_path / "none.txt")
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path))}: is a folder"):
        read_task(tmp_path)
    with pytest.raises(InputError, match="cannot be read|no such file"):
        read_task("a\0b.txt")


def test_deep_nesting_is_refused_at_once():
    for parse, text in ((parse_json, "[" * 1_000_000), (parse_yaml, "[" * 100_000), (parse_yaml, "- " * 100_000 + "a")):
        with pytest.raises(InputError):
            parse(text)
