"""What ``--tune`` tries, and what it leaves in settings.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
from t2m_edge.evaluation import tuning
from t2m_edge.evaluation.jobs import BY_NAME
from t2m_edge.evaluation.tuning import committed, trials, write_choice

NETWORKS = [m for m in BY_NAME.values() if m.seeded]


@pytest.mark.parametrize("method", NETWORKS, ids=lambda m: m.name)
def test_every_network_gets_as_many_trials_its_own_settings_first(method) -> None:
    found = trials(method, 8)
    assert len(found) == 8
    assert all(a != b for i, a in enumerate(found) for b in found[:i])
    if method.settings:
        assert found[0] == {k: method.settings[k] for k in method.grid}


def test_choices_of_one_backbone_serve_where_none_were_made(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "settings.json"
    path.write_text("{}")
    monkeypatch.setattr(tuning, "PATH", path)
    assert committed("DEM", "strict", "grocery").source == "untuned"
    write_choice("mobilenet_v1", "cifar100", "DEM", {"settings": {"hidden": 64}})
    write_choice("strict", "cifar100", "DEM", {"settings": {"hidden": 32}})
    assert committed("DEM", "strict", "cifar100").settings == {"hidden": 32}
    assert committed("DEM", "strict", "grocery").source == "mobilenet_v1 cifar100"
    assert committed("ridge to prototypes (L)", "strict", "cifar100") is None
    assert set(json.loads(path.read_text())) == {"mobilenet_v1", "strict"}


def test_committed_settings_are_of_known_methods_and_within_their_grids() -> None:
    for of_backbone in json.loads(tuning.PATH.read_text("utf-8")).values():
        for of_dataset in of_backbone.values():
            for name, choice in of_dataset.items():
                grid = BY_NAME[name].grid
                assert all(choice["settings"][k] in grid[k] for k in grid), name
