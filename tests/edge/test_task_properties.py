"""Properties of every form: what is written reads back, and no input raises anything but InputError."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2m_edge.task import (
    ClassDescription,
    format_csv,
    format_json,
    format_text,
    format_yaml,
    parse_csv,
    parse_json,
    parse_text,
    parse_yaml,
    read_task,
)
from t2m_edge.task.checks import split_negation
from t2m_edge.task.description import RESERVED
from t2m_edge.task.source import clean
from t2m_runtime.errors import InputError

FORMS = {
    "txt": (parse_text, format_text),
    "csv": (parse_csv, format_csv),
    "json": (parse_json, format_json),
    "yaml": (parse_yaml, format_yaml),
}
TRICKY = "\\:;#,\"'|>-?{}[]&*!%@`~ \t\n"
characters = st.one_of(st.sampled_from(TRICKY), st.characters(exclude_categories=["C"]))


def visible(text):
    return any(char.isprintable() and not char.isspace() for char in text)


texts = st.text(characters, min_size=1, max_size=30).map(clean).filter(visible)
names = texts.filter(lambda name: name.casefold() not in RESERVED)
descriptions = st.builds(
    ClassDescription,
    name=names,
    texts=st.lists(texts, max_size=3).map(tuple),
    negatives=st.lists(texts, max_size=2).map(tuple),
    threshold=st.none() | st.floats(0, 1).map(abs),
)
tasks = st.lists(descriptions, min_size=2, max_size=5, unique_by=lambda item: item.name)


def bare(classes):
    return [(item.name, item.texts, item.negatives, item.threshold) for item in classes]


@pytest.mark.parametrize("form", FORMS)
@given(classes=tasks)
def test_what_is_written_reads_back(form, classes):
    parse, write = FORMS[form]
    assert bare(parse(write(classes)).classes) == bare(classes)


@given(classes=tasks)
def test_all_forms_say_the_same(classes):
    tasks = [parse(write(classes)) for parse, write in FORMS.values()]
    assert all(bare(task.classes) == bare(tasks[0].classes) for task in tasks)


SYNTAX = st.sampled_from(
    ["name", "texts", "not", "threshold", ":", ";", ",", "\n", '"', "{", "}", "[", "]", "- ", "  ", "0.5", "a", "b"]
    + ["\\", "#", "&x", "*x", "!!str", "null", "---", "|", "\r", "\ufeff", "\\u0000", "é"]
)
almost = st.lists(SYNTAX, max_size=40).map("".join)


@pytest.mark.parametrize("form", FORMS)
@given(text=st.one_of(st.text(max_size=200), almost))
@settings(max_examples=300)
def test_no_text_raises_anything_but_an_input_error(form, text):
    try:
        task = FORMS[form][0](text, "file")
    except InputError as error:
        assert str(error).startswith("file")
        assert len(str(error).splitlines()) == 1
    else:
        assert len(task.classes) >= 2


@given(
    st.lists(
        st.sampled_from(["no", "not a", "without", "never", "a", "dog", ",", "(", ")", "and", " "]), max_size=8
    ).map(" ".join)
)
def test_a_text_freed_of_its_negations_has_none(text):
    split = split_negation(text)
    if split is None:
        return
    positive, negatives = split
    assert split_negation(positive) == (positive, [])
    assert all(split_negation(negative) == (negative, []) for negative in negatives)


@pytest.mark.parametrize("form", FORMS)
@given(data=st.binary(max_size=300))
def test_no_bytes_raise_anything_but_an_input_error(form, data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / f"garbage.{form}"
    path.write_bytes(data)
    try:
        task = read_task(path)
    except InputError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert len(task.classes) >= 2
