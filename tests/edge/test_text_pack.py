"""Packs whose class weights are a text tower's embeddings: rows, prompts, and what pack.json says of them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import t2m_edge
from t2m_edge.hypernetworks.class_vectors import Prompts, TextCentres, class_vectors, unit
from t2m_edge.hypernetworks.numpy_form import numpy_form
from t2m_edge.packs import load_pack
from t2m_edge.packs.text_pack import read_templates, text_rows
from t2m_runtime import InputError

D = 6


def encode(texts) -> np.ndarray:
    """A vector of its own for each text."""
    return np.stack([unit(np.random.default_rng(list(t.encode())).normal(size=D)) for t in texts]).astype(np.float32)


def test_rows_are_unit_text_directions_times_the_gain() -> None:
    z = np.zeros((2, 2 * D), np.float32)
    z[:, :D] = encode(["a", "b"])
    z[1, D:] = encode(["c"])
    out = numpy_form(text_rows(D, 50.0))(z)
    np.testing.assert_allclose(out["weight"][0], 50 * z[0, :D], rtol=1e-5)
    np.testing.assert_allclose(out["weight"][1], 50 * unit(z[1, :D] - z[1, D:] / 2), rtol=1e-5)
    assert (out["bias"] == 0).all()


def test_a_name_is_the_weighted_mean_of_its_prompts() -> None:
    centres = TextCentres(np.zeros(D, np.float32), np.zeros(D, np.float32))
    prompts = Prompts((("a {}.", 3.0), ("the {} here", 1.0)), name_weight=2)
    z = class_vectors(encode, centres, ["red_fox"], [[]], [[]], prompts)
    whole = 3 * encode(["a red fox."])[0] + encode(["the red fox here"])[0]
    np.testing.assert_allclose(z[0, :D], unit(whole), atol=1e-6)
    described = class_vectors(encode, centres, ["red_fox"], [["bushy tail"]], [[]], prompts)
    expected = unit(2 * unit(whole) + encode(["bushy tail"])[0])
    np.testing.assert_allclose(described[0, :D], expected, atol=1e-6)


def test_templates_are_read_with_their_weights(tmp_path) -> None:
    path = tmp_path / "templates.txt"
    path.write_text("# prompts\n2 a photo of a {}.\n\na sketch of {}\n0.5 3 {}s\n")
    assert read_templates(path) == (("a photo of a {}.", 2.0), ("a sketch of {}", 1.0), ("3 {}s", 0.5))


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a photo\n", "line 1"), (b"{} and {}\n", "line 1"), (b"\n# no\n", "0 templates"), (b"\xff{}", "text")],
)
def test_bad_templates_are_one_line(tmp_path, content, said) -> None:
    path = tmp_path / "templates.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_templates(path)


@pytest.fixture
def changed(tiny_pack, tmp_path):
    """A function that gives the tiny pack with other facts."""

    def change(**facts) -> object:
        folder = tmp_path / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tiny_pack, folder)
        index = json.loads((folder / "pack.json").read_text())
        (folder / "pack.json").write_text(json.dumps({**index, **facts}))
        return load_pack(folder)

    return change


def test_a_packs_logit_interval_is_covered(changed, tmp_path) -> None:
    task = tmp_path / "t.txt"
    task.write_text("apple: a red fruit\nbird: small, with wings\n")
    wide = changed(logits=[-30, 70])
    t2m_edge.compile(task, tmp_path / "wide.t2mh", pack=wide, target="head", min_agreement=0)
    from t2m_runtime.artifact import load_head

    last = load_head(tmp_path / "wide.t2mh")[0].layers[-1]
    ends = (np.array([-128, 127]) - last.output_zero_point) * last.output_scale
    assert ends[0] <= -29.8 and ends[1] >= 69.8


def test_a_packs_prompts_are_used(changed, tmp_path) -> None:
    task = tmp_path / "t.txt"
    task.write_text("apple\nbird\n")
    paths = []
    for prompts in ([["a photo of a {}", 1]], [["{}", 1]]):
        paths.append(tmp_path / f"{len(paths)}.t2mh")
        pack = changed(prompts={"templates": prompts, "name_weight": 2})
        t2m_edge.compile(task, paths[-1], pack=pack, target="head", min_agreement=0)
    from t2m_runtime.artifact import load_head

    first, second = (load_head(path)[0].layers[-1].weight for path in paths)
    assert (first != second).any()


@pytest.mark.parametrize(
    "facts",
    [
        {"prompts": {"templates": [], "name_weight": 2}},
        {"prompts": {"templates": [["{}", -1]], "name_weight": 2}},
        {"prompts": {"templates": [["{}", 1]]}},
        {"prompts": [1]},
        {"logits": [1]},
        {"logits": [5, -5]},
        {"logits": [0, 1e9]},
    ],
)
def test_hostile_facts_are_refused(changed, facts) -> None:
    with pytest.raises(InputError, match="pack.json is off"):
        changed(**facts)
