"""The hypernetwork in numpy gives what ONNX Runtime gives, for every form that onnx_form writes."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from t2m_edge.hypernetworks.numpy_form import numpy_form
from t2m_edge.packs import load_pack
from t2m_runtime import InputError

FORMS = [
    {},
    {"mixing": False, "skip": True, "members": 2},
    {"cosine": False},
    {"hidden": 6},
    {"hidden": 6, "cosine": False, "reduction": "sum", "mixing": False},
]


@pytest.mark.parametrize("options", FORMS, ids=[",".join(form) or "plain" for form in FORMS])
def test_numpy_and_onnx_runtime_agree(options):
    torch = pytest.importorskip("torch")
    from t2m_edge.hypernetworks.hypernetwork import Hypernetwork, HypernetworkConfig
    from t2m_edge.hypernetworks.onnx_form import onnx_form

    torch.manual_seed(0)
    model = onnx_form(Hypernetwork(HypernetworkConfig(12, 8, width=16, **options)).eval())
    compare(model, 12)


def test_the_default_packs_hypernetwork_runs_in_numpy():
    pack = load_pack()
    compare(pack.read("hypernetwork/hypernetwork.onnx"), 2 * len(pack.centres.name))


def compare(model: bytes, inputs: int) -> None:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    form = numpy_form(model)
    for k in (1, 2, 10, 100):
        classes = np.random.default_rng(k).normal(size=(k, inputs)).astype(np.float32)
        classes[0, inputs // 2 :] = 0
        expected, found = session.run(names, {"classes": classes}), form(classes)
        for name, value in zip(names, expected, strict=True):
            assert found[name].dtype == np.float32 and found[name].shape == value.shape
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5 * max(np.abs(value).max(), 1))


def test_operators_that_numpy_does_not_know_are_left_to_onnx_runtime():
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Erf", ["classes"], ["weight"])],
        "g",
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["k", 4])],
        [helper.make_tensor_value_info("weight", TensorProto.FLOAT, ["k", 4])],
    )
    assert numpy_form(helper.make_model(graph).SerializeToString()) is None


def test_what_is_no_model_is_refused():
    with pytest.raises(InputError):
        numpy_form(b"nonsense that is no protobuf")
