"""A pack whose class weights are a text tower's own embeddings: no training, no data.

For models that were trained to put images and texts into one space (CLIP, SigLIP, MobileCLIP): a class's row is the
mean embedding of its prompts and texts, of unit length, times the model's logit scale over the mean length of an image
embedding (Radford et al. 2021, arXiv 2103.00020, section 3.1.4, prompt ensembles).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save

from t2m_edge.hypernetworks.class_vectors import Prompts
from t2m_edge.packs.adopting import adopted_parity, float_features, pack_facts, quantised
from t2m_edge.packs.pack import MAX_TEMPLATES, SELF_TEST, load_pack
from t2m_edge.packs.store import MAX_FILE_BYTES
from t2m_edge.packs.writing import write_pack
from t2m_runtime import InputError
from t2m_runtime.preparation import prepare
from t2m_runtime.self_test import SelfTest

if TYPE_CHECKING:
    from t2m_edge.backbones.adopted import AdoptedBackbone
    from t2m_edge.backbones.torch_models import TorchBackbone

TEMPLATES = (
    ("a photo of a {}.", 2.0),
    ("itap of a {}.", 1.0),
    ("a close-up photo of a {}.", 1.0),
)
"""Few, because a text tower takes a tenth of a second for a text; --templates takes more."""
COSINES = (-0.1, 0.45)
"""Of an image and a text: what int8 logits cover at least, since calibration images show none of a task's classes."""
MAX_TEMPLATES_BYTES = 65_536


def build_text_pack(
    source: TorchBackbone,
    backbone: AdoptedBackbone,
    images: np.ndarray,
    calibration: str,
    prompts: Prompts,
    name: str,
    version: str,
    output: Path,
) -> None:
    """Write the pack of a model with a text tower (replaced if it exists).

    Args:
        images: uint8 (n, H, W, 3), those that the int8 graphs were calibrated with; they and the default pack's probe
            photos are the feature bank.
        calibration: where they come from, for the pack's provenance.
    """
    assert source.text is not None
    probes = np.stack([prepare(image, *backbone.size) for image in load_pack().probes.images])
    real, seen = float_features(backbone, probes), backbone.run(probes)
    gain = source.logit_scale / float(np.linalg.norm(real, axis=1).mean())
    rows = np.concatenate([backbone.run(images), seen])
    d = backbone.features
    centres = save({"name": np.zeros(d, np.float32), "text": np.zeros(d, np.float32)})
    floats = {key: data for key, data in backbone.files.items() if len(data) <= MAX_FILE_BYTES}
    if missing := sorted(set(backbone.files) - set(floats)):
        raise InputError(
            f"{backbone.name}: {', '.join(missing)} would have over {MAX_FILE_BYTES} bytes; too large here"
        )
    bank = {
        "features": quantised(rows, backbone.scale, backbone.zero_point),
        "labels": np.zeros(len(rows), np.int32),
    }
    probe_tensors = {
        "images": probes,
        "features": real,
        "quantised": quantised(seen, backbone.scale, backbone.zero_point),
    }
    files = {
        **{f"backbone/{key}": data for key, data in backbone.files.items()},
        "text/encoder.json": json.dumps(source.text).encode(),
        "hypernetwork/hypernetwork.onnx": text_rows(d, gain),
        "hypernetwork/centres.safetensors": centres,
        "bank.safetensors": save(bank),
        "bank.json": json.dumps(["unlabelled"]).encode(),
        "probes.safetensors": save(probe_tensors),
        SELF_TEST: SelfTest.from_image(probes[0], (), 0.0).png(),
    }
    provenance = {"backbone": backbone.name, "calibration": calibration, "calibration_images": len(images)}
    facts = {
        **pack_facts(backbone, name, version, provenance),
        "independent_classes": True,
        "backbone_parity": adopted_parity(backbone, probes, real),
        "prompts": asdict(prompts),
        "logits": [source.logit_scale * cosine for cosine in COSINES],
    }
    write_pack(output, facts, files, overwrite=True)


def text_rows(d: int, gain: float) -> bytes:
    """The "hypernetwork" of such a pack as ONNX: unit(positive half - negative half / 2) * gain, biases of 0.

    Args:
        d: length of an embedding, and of an image's.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from t2m_edge.hypernetworks.onnx_form import IR_VERSION, OPSET

    both = np.concatenate([np.eye(d, dtype=np.float32), -np.eye(d, dtype=np.float32) / 2])
    constants = {
        "both": both,
        "gain": np.array(gain, np.float32),
        "zeros": np.zeros((2 * d, 1), np.float32),
        "last": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["classes", "both"], ["row"]),
        helper.make_node("LpNormalization", ["row"], ["unit"], axis=1, p=2),
        helper.make_node("Mul", ["unit", "gain"], ["weight"]),
        helper.make_node("MatMul", ["classes", "zeros"], ["column"]),
        helper.make_node("Squeeze", ["column", "last"], ["bias"]),
    ]
    graph = helper.make_graph(
        nodes,
        "text rows",
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["k", 2 * d])],
        [
            helper.make_tensor_value_info("weight", TensorProto.FLOAT, ["k", d]),
            helper.make_tensor_value_info("bias", TensorProto.FLOAT, ["k"]),
        ],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def read_templates(path: Path) -> tuple[tuple[str, float], ...]:
    """Prompt templates of a text file: one a line, {} for the class name, a weight in front where it is not 1.

    ``2 a photo of a {}.`` counts twice. Empty lines and lines that start with # are left out.

    Raises:
        InputError: no such file, a line without {}, or too many lines.
    """
    try:
        if path.stat().st_size > MAX_TEMPLATES_BYTES:
            raise InputError(f"{path} has over {MAX_TEMPLATES_BYTES} bytes; give one template a line")
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text ({error}); give one template a line") from None
    found = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        first, _, rest = line.partition(" ")
        weight, template = (float(first), rest.strip()) if _is_weight(first) else (1.0, line)
        if template.count("{}") != 1:
            raise InputError(f"{path}, line {number}: {line[:60]!r} has no single {{}} for the class name")
        found.append((template, weight))
    if not 1 <= len(found) <= MAX_TEMPLATES:
        raise InputError(f"{path} has {len(found)} templates; give 1 to {MAX_TEMPLATES}")
    return tuple(found)


def _is_weight(word: str) -> bool:
    try:
        return 0 < float(word) < 1e6
    except ValueError:
        return False
