"""torch models by name as backbones: converted to int8 and back. Small random models; nothing is downloaded."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import t2m_edge
from t2m_edge.packs import load_pack
from t2m_runtime import Classifier, InputError
from t2m_runtime.head import softmax

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
litert_torch = pytest.importorskip("litert_torch")
pytest.importorskip("ai_edge_quantizer")

from t2m_edge.backbones.converting import convert  # noqa: E402
from t2m_edge.backbones.torch_models import load_torch_backbone  # noqa: E402

pytestmark = pytest.mark.slow
SIDE = 64
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
CONVOLUTIONAL = {
    "embed_dim": 64,
    "vision_cfg": {
        "timm_model_name": "resnet10t",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "image_size": SIDE,
    },
    "text_cfg": TEXT,
}
TRANSFORMER = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": SIDE, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": TEXT,
}


def pictures(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 8, 8, 3), np.uint8).repeat(SIDE // 8, 1).repeat(SIDE // 8, 2)


def alive(model: torch.nn.Module) -> torch.nn.Module:
    """Gains that initialisation leaves at 0 would let the converter drop whole branches."""
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    return model


def embeddings(backbone, images: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.mean, backbone.std))
    with torch.no_grad():
        return backbone.model((x - mean) / std).numpy()


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_a_timm_model_becomes_four_graphs_with_its_numbers(tmp_path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "weights.pth"
    torch.save(alive(timm.create_model("resnet10t")).state_dict(), path)
    source = replace(load_torch_backbone(f"timm:resnet10t@{path}"), size=(SIDE, SIDE))
    found = convert(source, pictures(8))
    images = pictures(5, seed=1)
    expected = embeddings(source, images)
    for key in ("fp32.tflite", "fp32.onnx"):
        np.testing.assert_allclose(found.run(images, key), expected, atol=1e-4 * np.abs(expected).max())
    for key in ("int8.tflite", "int8.onnx"):
        assert cosines(found.run(images, key), expected).min() > 0.99
    from t2m_exporters.tflite_tree import read_tree

    graph = read_tree(found.files["int8.tflite"]).subgraphs[0]
    real = [t.name for t in graph.tensors if t.type == 0]
    assert real == [], "a float island inside the int8 graph"


@pytest.mark.parametrize(("config", "options"), [(CONVOLUTIONAL, []), (TRANSFORMER, ["--calibration", "photos"])])
def test_an_open_clip_model_classifies_by_its_own_text_tower(config, options, tmp_path, monkeypatch, capsys) -> None:
    open_clip = pytest.importorskip("open_clip")
    from PIL import Image

    from t2m_edge.cli.main import run

    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny-test.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-test.json")
    torch.manual_seed(0)
    model = alive(open_clip.create_model("tiny-test")).eval()
    torch.save(model.state_dict(), tmp_path / "tiny.pt")
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(pictures(12)):
        Image.fromarray(image).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "prompts.txt").write_text("2 a photo of a {}.\na drawing of a {}.\n")
    arguments = ["pack", "build", "--backbone", "open_clip:tiny-test/tiny.pt", "-o", "p", "--templates", "prompts.txt"]
    assert run([*arguments, *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == "p"
    pack = load_pack("p")
    pack.verify()
    assert pack.info.provenance["calibration"] == ("real" if options else "synthesised")
    parity = pack.info.parity
    assert min(parity[key]["cosine"] for key in ("fp32.tflite", "fp32.onnx")) > 0.9999
    assert min(parity[key]["cosine"] for key in ("int8.tflite", "int8.onnx")) > 0.98

    (tmp_path / "t.txt").write_text("zebra\nmoose\nred fox\nwatermelon: green outside and red inside\n")
    tokenizer = open_clip.get_tokenizer("tiny-test")
    image = pack.probes.images[0]
    facts = open_clip.get_model_preprocess_cfg(model)
    mean, std = (torch.tensor(facts[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    with torch.no_grad():

        def text(*prompts: str) -> torch.Tensor:
            return model.encode_text(tokenizer(list(prompts)), normalize=True)

        def unit(x: torch.Tensor) -> torch.Tensor:
            return x / x.norm(dim=-1, keepdim=True)

        rows = []
        for name in ("zebra", "moose", "red fox", "watermelon"):
            a, b = text(f"a photo of a {name}.", f"a drawing of a {name}.")
            rows.append(unit(2 * a + b))
        rows[3] = unit(2 * rows[3] + text("green outside and red inside")[0])
        x = (torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255 - mean) / std
        features = model.encode_image(x)[0]
    mean_length = np.linalg.norm(pack.probes.features, axis=1).mean()
    logits = model.logit_scale.exp().detach() * torch.stack(rows) @ features / mean_length
    expected = softmax(logits.detach().numpy()[None])[0]
    for target in ("tflite", "onnx"):
        for precision, tolerance in (("fp32", 1e-3), ("fp16", 5e-3), ("int8", 0.05), ("int8-dynamic", 0.05)):
            out = tmp_path / f"{precision}.{target}"
            t2m_edge.compile("t.txt", out, pack=pack, target=target, precision=precision, min_agreement=0)
            with Classifier.load(out) as classifier:
                np.testing.assert_allclose(classifier.scores(image), expected, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:resnet10t@other.pth", "lacks [0-9]+ tensors of resnet10t"),
        ("timm:no_such_model", "timm cannot load"),
        ("timm:resnet10t@nothing.pth", "no file nothing.pth"),
        ("open_clip:ViT-B-32", "names no weights"),
        ("open_clip:no-such/model", "open_clip cannot load"),
    ],
)
def test_unknown_models_are_one_line(name, said, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"x": torch.zeros(1)}, "other.pth")
    with pytest.raises(InputError, match=said) as error:
        load_torch_backbone(name)
    assert "\n" not in str(error.value)
