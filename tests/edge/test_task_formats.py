"""Reading and writing descriptions files: what each form says, and where each error points."""

import json

import pytest

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
from t2m_runtime.errors import InputError


def bare(task):
    """(name, texts, negatives, threshold) of each class."""
    return [(item.name, item.texts, item.negatives, item.threshold) for item in task.classes]


EXPECTED = [
    ("zebra", ("black and white stripes", "seen in grassland"), (), None),
    ("horse", ("hooves and a mane",), ("stripes", "antlers"), 0.6),
    ("cat", (), (), None),
]

TXT = """# animals
zebra: black and white stripes; seen in grassland

  # indented comment
horse: hooves and a mane; not: stripes; not: antlers; threshold: 0.6
cat
"""
CSV = """name,texts,not,threshold
zebra,black and white stripes; seen in grassland,,
horse,"hooves and a mane","stripes; antlers",0.6
cat
"""
JSON = """{
  "zebra": ["black and white stripes", "seen in grassland"],
  "horse": {"texts": "hooves and a mane", "not": ["stripes", "antlers"], "threshold": 0.6},
  "cat": null
}"""
YAML = """# animals
zebra:
  - black and white stripes
  - seen in grassland
horse: {texts: hooves and a mane, not: [stripes, antlers], threshold: 0.6}
cat:
"""
FORMS = {"txt": (parse_text, TXT), "csv": (parse_csv, CSV), "json": (parse_json, JSON), "yaml": (parse_yaml, YAML)}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_carries_the_same_fields(form):
    parse, text = FORMS[form]
    assert bare(parse(text)) == EXPECTED


@pytest.mark.parametrize("form", FORMS)
def test_crlf_and_bom_are_accepted(form, tmp_path):
    path = tmp_path / f"animals.{form}"
    path.write_bytes(b"\xef\xbb\xbf" + FORMS[form][1].replace("\n", "\r\n").encode())
    task = read_task(path)
    assert bare(task) == EXPECTED
    assert task.name == "animals"
    assert task.source == str(path)


@pytest.mark.parametrize("form", FORMS)
def test_lines_are_kept(form):
    parse, text = FORMS[form]
    first = {"txt": [2, 5, 6], "csv": [2, 3, 4], "json": [2, 3, 4], "yaml": [2, 5, 6]}
    assert [item.line for item in parse(text).classes] == first[form]


@pytest.mark.parametrize("form", FORMS)
def test_any_language(form):
    classes = [
        ClassDescription("シマウマ", ("白と黒の縞模様の動物",), ("角",)),
        ClassDescription("лось", ("очень большой олень с рогами",)),
        ClassDescription("حصان", ("حيوان كبير",), (), 0.5),
        ClassDescription("Käse 🧀"),
    ]
    write = {"txt": format_text, "csv": format_csv, "json": format_json, "yaml": format_yaml}[form]
    assert bare(FORMS[form][0](write(classes))) == [(c.name, c.texts, c.negatives, c.threshold) for c in classes]


def test_escapes():
    task = parse_text("ratio 4\\:3: wide\\; flat; at 10\\:30\n\\#hash: a\\\\b \\x\nnot\\: a key: x")
    assert bare(task) == [
        ("ratio 4:3", ("wide; flat", "at 10:30"), (), None),
        ("#hash", ("a\\b \\x",), (), None),
        ("not: a key", ("x",), (), None),
    ]


def test_composed_and_decomposed_letters_are_the_same_name():
    with pytest.raises(InputError, match=r"line 2, column 1.*a second time \(first in line 1\)"):
        parse_text("caf\u00e9: a\ncafe\u0301: b")


def test_json_list_form():
    text = '["cat", {"name": "dog", "texts": "barks", "not": "stripes"}]'
    assert bare(parse_json(text)) == [("cat", (), (), None), ("dog", ("barks",), ("stripes",), None)]


def test_yaml_keeps_words_that_look_like_other_types():
    task = parse_yaml("no: a road sign\n1.0: a label\non:\n2001-01-01: a date\nyes: [no, 12]")
    assert [item.name for item in task.classes] == ["no", "1.0", "on", "2001-01-01", "yes"]
    assert task.classes[-1].texts == ("no", "12")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_separators_of_spreadsheets(separator):
    text = CSV.replace(",", separator).replace("zebra" + separator, "zebra" + separator)
    if separator == ";":
        text = text.replace(
            "black and white stripes; seen in grassland", '"black and white stripes; seen in grassland"'
        )
    assert bare(parse_csv(text)) == EXPECTED


def test_csv_columns_in_any_order():
    task = parse_csv("Texts , Name\nhooves,horse\n,cat\n")
    assert bare(task) == [("horse", ("hooves",), (), None), ("cat", (), (), None)]


TXT_ERRORS = {
    ":": "line 1, column 1: found no class name",
    " : ; ": "line 1, column 2: found no class name",
    "a\nb:": "line 2, column 2: found a colon with no text after it; write `b` alone",
    "a: x; ; y\nb": "line 1, column 7: found an empty text",
    "a: x;\nb": "line 1, column 6: found an empty text",
    "a; b\nc": "line 1, column 2: found ';' in a line with no colon",
    "a: treshold: 0.5\nb": "line 1, column 4: found 'treshold:' as a key; write `threshold:`",
    "a: color: red\nb": r"line 1, column 4: found 'color:' as a key; write `\\:`",
    "a: x; threshold: 60%\nb": "line 1, column 18: found threshold '60%'; write a number from 0 to 1",
    "a: x; threshold: 1.5\nb": "found threshold '1.5'",
    "a: x; threshold: nan\nb": "found threshold 'nan'",
    "a: x; threshold: 0.5; threshold: 0.6\nb": "line 1, column 34: found a second threshold",
    "a: x; not:\nb": "line 1, column 11: found an empty text",
    "a: x\nnot: y": "line 2, column 1: found 'not' as a class name",
    "a: a cat. not: a dog\nb": "line 1, column 11: found 'not:' inside a text; put `;` before `not:`",
    "a: a cat, Not : a dog\nb": "line 1, column 11: found 'Not :' inside a text; put `;` before `Not :`",
    "a: a cat threshold: 0.5\nb": "line 1, column 10: found 'threshold:' inside a text; put `;` before `threshold:`",
    "a: a knot: x\nb": r"line 1, column 4: found 'a knot:' as a key; write `\\:`",
    "a: x": "found only the class 'a'; write at least two classes, one a line .or --multi-label, where one is enough.",
    "# nothing\n": "found no class",
    "": "the file is empty",
    "a: x\na: y": "line 2, column 1: found the name 'a' a second time",
    "a: x\nb\x00: y": r"line 2, column 2: found control character U\+0000",
    "a" * 300 + "\nb": "line 1, column 1: found a class name of 300 characters",
    "a: " + "x" * 5000 + "\nb": "line 1, column 4: found a text of 5,000 characters",
    "\u200b: invisible\nb": "found no class name",
}


@pytest.mark.parametrize("text", TXT_ERRORS, ids=range(len(TXT_ERRORS)))
def test_txt_errors_name_place_and_remedy(text):
    with pytest.raises(InputError, match="^animals.txt.*" + TXT_ERRORS[text]) as caught:
        parse_text(text, "animals.txt")
    assert "\n" not in str(caught.value)


CSV_ERRORS = {
    "zebra,stripes\ncat,fur": "line 1: found no column 'name' in the header 'zebra,stripes'; make the first line `name",
    "name,text\na,x\nb,y": "line 1, column 2: found the column 'text'; write texts",
    "name,name\na,x\nb,y": "line 1, column 2: found a second column",
    "name,texts\na,big, brown\nb,y": "line 2, column 3: found 3 cells where the header has 2; put a text that has",
    'name,texts\na,"open\nb,y': "line 2: found a row that is not CSV",
    "name,texts\n,x\nb,y": "line 2, column 'name': found no class name",
    "name,texts\na,x;;y\nb,y": "line 2, column 'texts': found an empty text",
    "name,threshold\na,0.5\nb,high": "line 3, column 'threshold': found threshold 'high'",
    'name,texts\n"a","two\nlines"\na,y': r"line 4, column 'name': found the name 'a' a second time \(first in line 2\)",
}


@pytest.mark.parametrize("text", CSV_ERRORS, ids=range(len(CSV_ERRORS)))
def test_csv_errors_name_line_and_column(text):
    with pytest.raises(InputError, match="^animals.csv.*" + CSV_ERRORS[text]):
        parse_csv(text, "animals.csv")


JSON_ERRORS = {
    '{"a": "x", "b": }': "line 1, column 17: found '}'; write a text in double quotes",
    '{"a": "x"\n "b": "y"}': 'line 2, column 2: found \'"b": "y"}\'; write `,` or `}`',
    '{"a": "x",}': "line 1, column 11: found '}'; write a key in double quotes",
    '{"a": 5, "b": "y"}': "line 1, column 7: found a number '5'; write a text",
    '{"a": ["x", 5], "b": "y"}': r"line 1, column 13: found a number '5'; write a text \(in double quotes\)",
    '{"a": true, "b": "y"}': "line 1, column 7: found a word 'true'",
    '{"a": {"text": "x"}, "b": "y"}': "line 1, column 8: found the key 'text'; write texts",
    '{"a": {"threshold": "x"}, "b": "y"}': "line 1, column 21: found threshold 'x'",
    '{"a": {"threshold": -1}, "b": "y"}': "line 1, column 21: found threshold '-1'",
    '{"a": "x", "a": "y"}': "line 1, column 12: found the name 'a' a second time",
    '{"a": "x": "b"}': "line 1, column 10: found ':",
    '{"a": "x\ny", "b": "y"}': "line 1, column 9: found a broken string",
    '{"a": "\\ud800", "b": "y"}': r"line 1, column 7: found control character U\+D800",
    '{"a": "x"': "line 1, column 10: found the end of the file; write `,` or `}`",
    '"zebra"': "line 1, column 1: found a text 'zebra'; write a mapping",
    '["a", ["b"]]': "line 1, column 7: found a list; write a class name",
    '[{"texts": "x"}, "b"]': "line 1, column 2: found a class with no key 'name'",
    '{"a": "x", "b": "y"} z': "line 1, column 22: found 'z'; end the file here",
    "[[[[[[[[": "line 1, column 5: found '.*'; write at most",
    '{"a": 1e999999999, "b": "y"}': "found a number",
}


@pytest.mark.parametrize("text", JSON_ERRORS, ids=range(len(JSON_ERRORS)))
def test_json_errors_name_line_and_column(text):
    with pytest.raises(InputError, match="^animals.json.*" + JSON_ERRORS[text]):
        parse_json(text, "animals.json")


YAML_ERRORS = {
    "a: x: y\nb: z": "line 1, column 5: found no valid YAML .*put a text with `: `",
    "a: &x text\nb: *x": r"line 2, column 4: found the alias '\*x'",
    "a: !!python/object/apply:os.system [ls]\nb: y": "line 1, column 4: found the tag",
    "a: [[[[[x]]]]]\nb: y": "line 1, column 7: found one more level",
    "a: x\nb: y\n---\nc: z": "line 3, column 1: found a second document",
    "? [a]\n: x\nb: y": "line 1, column 3: found a key that is no text",
    "a: {nto: x}\nb: y": "line 1, column 5: found the key 'nto'; write not",
    "a: x\n\tb: y": "line 2, column 1: found no valid YAML",
    "- a\n- b: x": "line 2, column 3: found the key 'b'",
    "just words": "line 1, column 1: found a text 'just words'; write a mapping",
    "# only a comment": "found no document",
    "a: x\na: y": r"line 2, column 1: found the name 'a' a second time \(first in line 1\)",
}


@pytest.mark.parametrize("text", YAML_ERRORS, ids=range(len(YAML_ERRORS)))
def test_yaml_errors_name_line_and_column(text):
    with pytest.raises(InputError, match="^animals.yaml.*" + YAML_ERRORS[text]):
        parse_yaml(text, "animals.yaml")


def test_json_files_of_sentences_read_as_they_are(tmp_path):
    path = tmp_path / "sentences.json"
    path.write_text(json.dumps({f"class {i}": [f"sentence {j} of {i}" for j in range(140)] for i in range(100)}))
    task = read_task(path)
    assert len(task.classes) == 100
    assert task.classes[99].texts[139] == "sentence 139 of 99"


@pytest.mark.shared
def test_gpt_descriptions_read_as_they_are(shared_data):
    task = read_task(shared_data / "descriptions" / "cifar100_gpt.json")
    assert len(task.classes) == 100
    assert sum(len(item.texts) for item in task.classes) == 14_000
