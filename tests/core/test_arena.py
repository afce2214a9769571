"""The arena's size: one number, from C and from Python."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2m_edge.cli.main import run
from t2m_runtime.arena import Room, arena_size
from t2m_runtime.core import CoreModel, native_arena_size
from t2m_runtime.errors import InputError

ROOMS = st.builds(Room, st.integers(0, 3000), st.integers(0, 500), st.integers(0, 5000))


@given(seed=st.integers(0, 2**32 - 1), int8=st.booleans(), room=ROOMS)
@settings(max_examples=80, deadline=None)
def test_python_and_c_plan_the_same_arena(library, tools, seed, int8, room):
    model = tools.backbone_bytes(np.random.default_rng(seed), int8)
    assert arena_size(model, room) == native_arena_size(model, room, library)


@given(room=ROOMS, precision=st.sampled_from(["int8", "fp32"]))
@settings(max_examples=20, deadline=None)
def test_python_and_c_plan_the_same_arena_for_a_compiled_model(library, compiled, room, precision):
    assert arena_size(compiled[precision], room) == native_arena_size(compiled[precision], room, library)


@pytest.mark.parametrize("options", [["--multi-label"], ["--output-type", "uint8"], ["--output-type", "int8"]])
def test_inspect_tells_the_arena_whatever_the_output_is(library, tools, tmp_path, options, capsys):
    task, model = str(tools.CORE.parents[1] / "examples" / "grocery.txt"), tmp_path / "m.tflite"
    assert run(["compile", task, "-o", str(model), *options]) == 0
    capsys.readouterr()
    assert run(["inspect", str(model), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["arena_bytes"]
    assert found == native_arena_size(model.read_bytes(), library=library)
    CoreModel(model.read_bytes(), library=library).close()


def test_the_default_model_needs_under_100_kb(compiled):
    assert arena_size(compiled["int8"]) < 100_000


@pytest.mark.parametrize("data", [b"", b"\0" * 64, b"\x10\0\0\0TFL3" + b"\0" * 60])
def test_other_bytes_are_refused(data):
    with pytest.raises(InputError):
        arena_size(data)
