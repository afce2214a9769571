"""The study's pages: what a reader sees of measured figures."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
from t2m_edge.evaluation.pages import Page, write_index
from t2m_edge.evaluation.sources import Place

L, OURS = "ridge to prototypes (L)", "hypernetwork"


def page(backbone: str = "mobilenet_v1", splits: tuple[str, ...] = ("0", "1"), joint: bool = True) -> Page:
    """Two methods and two encoders; ours is 3, 5, ... points ahead."""
    places = [Place(backbone, "cifar100", s, e) for e in ("MiniLM", "strict") for s in splits]
    figures, both = {}, {}
    for i, place in enumerate(places):
        for method, gain in ((L, 0.0), (OURS, 3.0 + 2 * (i % 2))):
            accuracy = {c: [30 + gain, 60 + gain, 80 + gain] for c in ("name", "sentence", "descriptions")}
            figures[method, place, 0] = {"accuracy": accuracy, "settings": {"name": {"a": 1}}, "cpu_s": 1.5}
            both[method, place, 0] = {"plain": [1.0, 50.0, 2.0], "calibrated": [30.0, 30.0, 30.0], "cpu_s": 1}
    ids = {"MiniLM": "minilm@1", "strict": "ours@2"}
    return Page(places, [L, OURS], figures, both if joint else None, ids, {OURS: "mobilenet_v1 cifar100"}, 1)


def test_a_page_states_chance_command_and_paired_differences() -> None:
    text = page().markdown()
    flat = " ".join(text.split())
    assert "Chance: 5 % (20-way), 20 % (5-way), 50 % (2-way)" in flat
    assert "saw ImageNet-1k" in flat
    assert "| name | ridge to prototypes (L) | 30.0 ± 0.0 | 60.0 ± 0.0 | 80.0 ± 0.0 | best linear |" in text
    assert "| name | hypernetwork | **34.0 ± 1.4** | 64.0 ± 1.4 | 84.0 ± 1.4 | +4.0 (1.0) |" in text
    assert (
        "--encoder MiniLM --encoder strict \\\n      --backbones mobilenet_v1 --datasets cifar100 --splits 0,1" in text
    )
    assert "30.0 ± 0.0 / 30.0 ± 0.0 / 30.0 ± 0.0" in text and "## 20-way: strict minus MiniLM" in text


def test_one_split_has_no_deviation() -> None:
    text = page(splits=("0",)).markdown()
    assert "Mean per-class top-1 in %, of one split;" in " ".join(text.split())
    assert "| name | hypernetwork | **33.0** | 63.0 | 83.0 | +3.0 |" in text
    assert "30.0 / 30.0 / 30.0" in text
    assert "±" not in text


def test_a_page_of_strict_packs_says_what_their_backbones_saw() -> None:
    flat = " ".join(page("strict").markdown().split())
    assert "taught the pseudo-unseen classes" in flat and "ImageNet" not in flat
    assert "--packs packs" in flat


def test_files_are_a_page_a_json_and_where_it_can_be_a_plot(tmp_path: Path) -> None:
    page().write(tmp_path)
    page(splits=("strict_unseen", "strict_unseen_2"), joint=False).write(tmp_path)
    write_index(tmp_path)
    found = json.loads((tmp_path / "mobilenet_v1-cifar100.json").read_text())
    assert found["schema_version"] == 1 and found["seeds"] == 1 and "numpy" in found["versions"]
    assert len(found["results"]) == 8 and found["results"][0]["name"] == [30, 60, 80]
    assert "| hypernetwork: 34.0 | +4.0 (1.0) |" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "mobilenet_v1-cifar100-strict-sets.md").is_file()
    if importlib.util.find_spec("matplotlib"):
        assert (tmp_path / "mobilenet_v1-cifar100.svg").read_text().startswith("<?xml")
