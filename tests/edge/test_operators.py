"""What is inside the files: operators, versions, and the types of their tensors, in every cell."""

from __future__ import annotations

from pathlib import Path

import pytest

import t2m_edge
from t2m_edge.compiler.cells import OUTPUT_TYPES, PRECISIONS, SCORES, TARGETS, not_int8, why_not
from t2m_runtime import InputError
from t2m_runtime.tflite_file import read_operator, read_tables, read_tensor

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
OUTPUTS = [(t, s) for t in OUTPUT_TYPES for s in SCORES]
# The highest version that tflite-runtime 2.14 (TensorFlow 2.14) registers.
OLDEST_READER = {
    "ADD": 4,
    "CONV_2D": 8,
    "DEPTHWISE_CONV_2D": 7,
    "DEQUANTIZE": 6,
    "FULLY_CONNECTED": 11,
    "L2_NORMALIZATION": 2,
    "MEAN": 3,
    "QUANTIZE": 3,
    "SOFTMAX": 3,
}


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "animals.txt"
    path.write_text("zebra: a horse like animal with stripes\nmoose: a large deer with antlers\nhorse: a mane\n")
    return path


def operators(model: bytes) -> list[tuple[str, int, list, list]]:
    """(name, version, inputs, outputs) in order, tensors as tflite_file.Tensor."""
    tables = read_tables(model)
    tensors = [read_tensor(model, position) for position in tables.tensors]
    found = []
    for position in tables.operators:
        index, inputs, outputs = read_operator(model, position)
        code, version = tables.operator_codes[index]
        found.append((NAMES[code], version, [tensors[i] for i in inputs], [tensors[i] for i in outputs]))
    return found


@pytest.mark.parametrize("output_type, scores", OUTPUTS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_operators_are_old_enough_and_there_is_no_transpose(tiny_pack, task, tmp_path, precision, output_type, scores):
    if why_not("tflite", precision, output_type, scores):
        return
    path = tmp_path / "m.tflite"
    t2m_edge.compile(
        task, path, pack=tiny_pack, precision=precision, output_type=output_type, scores=scores, min_agreement=0
    )
    found = operators(path.read_bytes())
    assert all(version <= OLDEST_READER[name] for name, version, _, _ in found)
    assert "TRANSPOSE" not in {name for name, _, _, _ in found}


@pytest.mark.parametrize("output_type, scores", OUTPUTS)
def test_an_int8_model_is_int8_but_for_what_the_report_says(tiny_pack, task, tmp_path, output_type, scores):
    path = tmp_path / "m.tflite"
    report = t2m_edge.compile(task, path, pack=tiny_pack, output_type=output_type, scores=scores)
    found = operators(path.read_bytes())
    others = {}
    for _, _, inputs, outputs in found:
        for tensor in (*inputs, *outputs):
            if tensor.dtype != "int8" and not tensor.name.endswith("/axes"):
                what = "biases" if tensor.name.endswith("/bias") else tensor.name.removeprefix("head/")
                others[what] = tensor.dtype
    # The logits are the scores where no softmax follows.
    expected = dict(report.not_int8)
    if scores == "logits" and output_type == "float32":
        expected["scores"] = expected.pop("logits")
    assert {name: why.split(",")[0].split(":")[0] for name, why in expected.items()} == others
    floats = [name for name, _, inputs, _ in found if inputs[0].dtype == "float32"]
    assert floats == (["SOFTMAX"] if (output_type, scores) == ("float32", "softmax") else [])


def test_the_report_of_a_float_model_lists_nothing(tiny_pack, task, tmp_path):
    report = t2m_edge.compile(task, tmp_path / "m.tflite", pack=tiny_pack, precision="fp16")
    assert report.not_int8 == {} and not_int8("tflite", "int8", "logits").keys() == {"image", "biases"}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_cell_is_written_or_refused_with_the_reason(tiny_pack, task, tmp_path, target, precision):
    path = tmp_path / "m"
    reason = why_not(target, precision)
    if reason is None:
        report = t2m_edge.compile(task, path, pack=tiny_pack, target=target, precision=precision, min_agreement=0)
        assert path.stat().st_size == report.size_bytes
        return
    with pytest.raises(InputError, match="a head file is int8 or fp32"):
        t2m_edge.compile(task, path, pack=tiny_pack, target=target, precision=precision)
    assert not path.exists()
