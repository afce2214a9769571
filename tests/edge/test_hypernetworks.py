"""A hypernetwork treats the classes of a task as a set, in torch and in the ONNX form that compile runs."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from t2m_edge.hypernetworks.hypernetwork import (  # noqa: E402
    Hypernetwork,
    HypernetworkConfig,
    load_hypernetwork,
    save_hypernetwork,
)
from t2m_edge.hypernetworks.layers import InvariantLinear  # noqa: E402
from t2m_edge.hypernetworks.onnx_form import onnx_form  # noqa: E402

CONFIGS = {
    "EV": HypernetworkConfig(12, 9, width=16),
    "EV plain": HypernetworkConfig(12, 9, width=16, cosine=False),
    "per class": HypernetworkConfig(12, 9, width=16, mixing=False),
    "averaged": HypernetworkConfig(12, 9, width=16, members=3),
    "skip": HypernetworkConfig(12, 9, width=16, members=2, mixing=False, skip=True),
    "averaged plain": HypernetworkConfig(12, 9, width=16, members=2, cosine=False),
    "IVEV": HypernetworkConfig(12, 9, width=16, hidden=7),
    "IVEV published": HypernetworkConfig(12, 9, width=16, hidden=7, cosine=False, reduction="sum"),
}
NETWORKS: dict[str, tuple[Hypernetwork, onnxruntime.InferenceSession]] = {}


def network(name: str) -> tuple[Hypernetwork, onnxruntime.InferenceSession]:
    if name not in NETWORKS:
        torch.manual_seed(3)
        model = Hypernetwork(CONFIGS[name]).eval()
        NETWORKS[name] = (model, onnxruntime.InferenceSession(onnx_form(model)))
    return NETWORKS[name]


def torch_logits(model: Hypernetwork, classes: np.ndarray, features: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(classes)).logits(torch.from_numpy(features)).numpy()


def onnx_logits(session: onnxruntime.InferenceSession, classes: np.ndarray, features: np.ndarray) -> np.ndarray:
    out = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"classes": classes}), strict=True))
    if "hidden_weight" in out:
        features = np.maximum(features @ out["hidden_weight"].T + out["hidden_bias"], 0)
    return features @ out["weight"].T + out["bias"]


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=20, deadline=None)
@given(k=st.integers(2, 40), seed=st.integers(0, 2**32 - 1))
def test_permuting_the_classes_permutes_the_logits(name: str, k: int, seed: int) -> None:
    model, session = network(name)
    rng = np.random.default_rng(seed)
    classes = rng.normal(size=(k, 12)).astype(np.float32)
    features = rng.normal(size=(5, 9)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    order = rng.permutation(k)
    for logits in (lambda c: torch_logits(model, c, features), lambda c: onnx_logits(session, c, features)):
        straight = logits(classes)
        np.testing.assert_allclose(
            logits(classes[order]), straight[:, order], atol=1e-5 * max(1, np.abs(straight).max())
        )


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("k", [2, 10, 1000])
def test_the_onnx_form_gives_the_logits_of_the_torch_form(name: str, k: int) -> None:
    model, session = network(name)
    rng = np.random.default_rng(k)
    classes = rng.normal(size=(k, 12)).astype(np.float32)
    features = rng.normal(size=(3, 9)).astype(np.float32)
    expected = torch_logits(model, classes, features)
    np.testing.assert_allclose(onnx_logits(session, classes, features), expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("reduction", "growth"), [("mean", 1.0), ("sum", 50.0)])
def test_the_invariant_part_grows_with_the_classes_only_in_the_published_form(reduction: str, growth: float) -> None:
    torch.manual_seed(0)
    layer = InvariantLinear(6, 32, 4, reduction=reduction)
    with torch.no_grad():
        layer.outer.bias.zero_()
        one = torch.randn(1, 6)
        assert torch.allclose(layer(one.repeat(50, 1)), layer(one) * growth, rtol=1e-4, atol=1e-6)


def test_cosine_rows_all_have_the_same_length_and_no_bias() -> None:
    model, _ = network("averaged")
    with torch.no_grad():
        head = model(torch.randn(7, 12))
        assert torch.allclose(head.weight.norm(dim=1), model.log_scale.exp().expand(7), rtol=1e-5)
        assert not head.bias.any()


def test_a_saved_network_comes_back_the_same(tmp_path) -> None:
    model, _ = network("IVEV")
    save_hypernetwork(model, tmp_path / "h.safetensors")
    again = load_hypernetwork(tmp_path / "h.safetensors")
    z = torch.randn(4, 12)
    assert again.config == model.config
    assert torch.equal(again(z).weight, model(z).weight)


def test_averaging_heads_with_a_hidden_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="members=1"):
        Hypernetwork(HypernetworkConfig(12, 9, hidden=7, members=2))
