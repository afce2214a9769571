"""Engines: chosen by kind and name, imported only when used, quiet, and strict about the models they take."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2m_runtime import engines
from t2m_runtime.engines import EngineStatus, available_engines, load_engine
from t2m_runtime.errors import InputError, WorkError

IMAGE = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)


def test_available_engines_tell_a_version_or_a_reason():
    found = available_engines()
    assert set(found) == {"litert", "tflite_runtime", "onnxruntime", "core"}
    for status in found.values():
        assert (status.version is None) != (status.reason is None)
        assert str(status) == (status.version or status.reason)
    assert found["onnxruntime"].version and found["litert"].version


def test_an_engine_that_is_missing_or_broken_says_why(monkeypatch):
    missing = ("no_such_module.interpreter", *engines._ENGINES["litert"][1:])
    monkeypatch.setitem(engines._ENGINES, "litert", missing)
    assert available_engines()["litert"] == EngineStatus(None, "not installed; pip install ai-edge-litert")
    with pytest.raises(InputError, match="ai-edge-litert: No module named .*; pip install ai-edge-litert"):
        load_engine("tflite", b"", engine="litert")


def test_the_default_engine_is_the_first_that_works(models, monkeypatch):
    assert load_engine("tflite", models.colour_tflite()).name == "litert"
    litert = engines._ENGINES["litert"]
    monkeypatch.setitem(engines._ENGINES, "litert", ("no_such_module", "no-such", "litert", "tflite"))
    monkeypatch.setitem(engines._ENGINES, "tflite_runtime", litert)
    assert load_engine("tflite", models.colour_tflite()).name == "tflite_runtime"


def test_reference_kernels_agree_with_the_others(models):
    model = models.colour_tflite()
    fast, reference = (load_engine("tflite", model, engine=name).run(IMAGE) for name in ("litert", "litert-reference"))
    np.testing.assert_allclose(fast, reference, atol=1e-6)


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
@pytest.mark.parametrize("threads", [1, 2])
def test_more_threads_give_the_same_scores(models, kind, threads):
    model = models.colour_tflite() if kind == "tflite" else models.colour_onnx(None)
    scores = load_engine(kind, model, num_threads=threads).run(IMAGE)
    np.testing.assert_allclose(scores, models.expected_scores(IMAGE[0]), atol=1e-5)


def test_wrong_names_and_numbers_are_refused(models):
    for options in ({"engine": "torch"}, {"engine": "onnxruntime"}, {"num_threads": 0}, {"num_threads": 1.5}):
        with pytest.raises(InputError, match="give"):
            load_engine("tflite", models.colour_tflite(), **options)


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
@pytest.mark.parametrize("data", [b"", b"\x1c\0\0\0TFL3", b"\x08\x08garbage", b"\x1c\0\0\0TFL3" + bytes(1000)])
def test_broken_models_are_refused_in_one_line(kind, data):
    with pytest.raises(InputError, match="the model") as caught:
        load_engine(kind, data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", [1, 2, 4], ids=["operator_codes", "subgraphs", "buffers"])
def test_a_tflite_with_a_missing_part_is_refused_and_does_not_crash(models, field):
    data = bytearray(models.colour_tflite())
    root = int.from_bytes(data[:4], "little")
    table = root - int.from_bytes(data[root : root + 4], "little", signed=True)
    data[table + 4 + 2 * field : table + 6 + 2 * field] = b"\0\0"
    with pytest.raises(InputError, match="missing"):
        load_engine("tflite", bytes(data))


def test_a_tflite_with_text_that_is_not_utf8_is_refused(models):
    data = models.colour_tflite().replace(b"features", b"f\xff\xffures")
    with pytest.raises(InputError, match="damaged"):
        load_engine("tflite", data)


def test_an_onnx_with_text_that_is_not_utf8_is_refused_without_printing(models, capfd):
    with pytest.raises(InputError, match="cannot load"):
        load_engine("onnx", models.colour_onnx(None).replace(b"features", b"f\xff\xffures"))
    assert capfd.readouterr() == ("", "")


def test_models_with_another_input_or_output_are_refused(models):
    with pytest.raises(InputError, match="input is float32"):
        load_engine("tflite", models.colour_tflite(input_type="FLOAT32"))
    with pytest.raises(InputError, match="expected"):
        load_engine("tflite", models.head_tflite(small_int8_head()))
    with pytest.raises(InputError, match="expected uint8"):
        load_engine("onnx", float_input_onnx())


def test_a_model_that_claims_terabytes_is_refused_before_they_are_allocated(models):
    with pytest.raises(InputError, match="claim"):
        load_engine("tflite", models.colour_tflite(side=2**15))


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 8, 9, 3), (2, 8, 8, 3)])
@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_images_of_another_shape_are_refused(models, kind, shape):
    engine = load_engine(kind, models.colour_tflite() if kind == "tflite" else models.colour_onnx(None))
    for image in (np.zeros(shape, np.uint8), IMAGE.astype(np.int8), IMAGE.tolist()):
        with pytest.raises(InputError, match="prepare"):
            engine.run(image)


def test_outputs_that_are_not_as_many_as_promised_are_a_failure(models):
    engine = load_engine("onnx", models.colour_onnx(None, classes=4))
    engine.n_outputs = 3
    with pytest.raises(WorkError, match="promised"):
        engine.run(IMAGE)


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_images_that_are_not_contiguous_are_run(models, kind):
    engine = load_engine(kind, models.colour_tflite() if kind == "tflite" else models.colour_onnx(None))
    flipped = IMAGE[:, ::-1, ::-1]
    np.testing.assert_array_equal(engine.run(flipped), engine.run(flipped.copy()))


@given(st.integers(0, 10**6), st.integers(0, 255))
@settings(max_examples=40, deadline=None)
def test_a_damaged_onnx_loads_or_is_refused(models, position, value):
    data = bytearray(models.colour_onnx(None))
    data[position % len(data)] = value
    with contextlib.suppress(InputError):
        load_engine("onnx", bytes(data))


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)


def test_loading_and_running_writes_nothing_to_the_terminal(model_bytes, tmp_path):
    (tmp_path / "model").write_bytes(model_bytes)
    code = (
        "import sys; from t2m_runtime import Classifier\n"
        "for _ in range(2):\n"
        "    with Classifier.load(sys.argv[1]) as c: c.self_test()\n"
        "print('still here', file=sys.stderr)"
    )
    done = run_python(code, str(tmp_path / "model"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "still here\n")


def test_loading_works_where_standard_error_is_closed(models, tmp_path):
    (tmp_path / "model").write_bytes(models.attach(models.colour_tflite(), models.manifest()))
    code = "import os, sys; os.close(2); from t2m_runtime import Classifier; Classifier.load(sys.argv[1]); print('ok')"
    assert run_python(code, str(tmp_path / "model")).stdout == "ok\n"


def test_what_others_write_while_a_model_loads_is_passed_on():
    code = (
        "import os\n"
        "from t2m_runtime.engines import litert\n"
        "with litert.without_announcement():\n"
        "    os.write(2, b'INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\\nERROR: kept\\n')\n"
        "with litert.without_announcement():\n"
        "    os.write(2, b'later\\n')\n"
    )
    assert run_python(code).stderr == "ERROR: kept\nlater\n"


def test_importing_the_runtime_imports_no_engine():
    code = (
        "import sys, t2m_runtime.classifier, t2m_runtime.artifact\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'ai_edge_litert', 'tflite_runtime', 'tensorflow'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert run_python(code).stdout == "[]\n"


def small_int8_head():
    from t2m_runtime.head import QuantizedHead, QuantizedLayer

    layer = QuantizedLayer(np.ones((2, 3), np.int8), np.ones(2, np.float32), np.zeros(2, np.int32), 1.0, 0)
    return QuantizedHead(("a", "b"), 1.0, 0, (layer,))


def float_input_onnx() -> bytes:
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Softmax", ["x"], ["y"], axis=1)],
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()
