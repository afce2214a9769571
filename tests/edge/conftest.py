"""A tiny pack, built here in a moment: random backbone, text encoder and hypernetwork, all of the real formats."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from t2m_edge.packs.writing import write_pack
from t2m_edge.text.encoder import MATRICES, PLACES
from t2m_edge.text.encoder_file import write_tensors
from t2m_edge.text.words import word_hash
from t2m_exporters.graph import Conv, Dense, Graph, L2Normalize, Mean, run
from t2m_exporters.onnx import write_backbone_onnx
from t2m_exporters.quantize import quantize_graph
from t2m_exporters.tflite import write_backbone_tflite

SIDE, D_TEXT, FEATURES = 32, 24, 16
WORDS = [
    "a",
    "an",
    "the",
    "of",
    "with",
    "and",
    "in",
    "on",
    "photo",
    "animal",
    "horse",
    "zebra",
    "moose",
    "cat",
    "dog",
    "bird",
    "fish",
    "fruit",
    "apple",
    "pear",
    "banana",
    "red",
    "green",
    "blue",
    "yellow",
    "black",
    "white",
    "stripes",
    "antlers",
    "large",
    "small",
    "round",
    "long",
    "tail",
    "fur",
    "wings",
    "stem",
    "like",
    "deer",
    "hooves",
    "mane",
    "broad",
]


def random_text_encoder() -> dict[str, bytes]:
    """encoder.json, encoder.safetensors and tokenizer.json of an own encoder with random weights."""
    # One of the seeds whose rows do not lie where the tiny backbone's features hardly differ.
    rng = np.random.default_rng(6)
    letters = [f"{mark}{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789" for mark in ("", "##")]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(["[UNK]", *WORDS, *letters]))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    n, e, h = len(vocabulary), 8, 12
    tensors = {
        "table": rng.integers(-127, 128, (n, e)).astype(np.int8),
        "table_scale": np.full(n, 1 / 127, np.float16),
        "token_weight": rng.uniform(0.5, 1.5, n).astype(np.float32),
        "first_places": np.zeros((1, 2 * PLACES), np.float32),
        "places": np.zeros((2, 2 * PLACES), np.float32),
        "taught_words": np.sort(np.array([word_hash(w) for w in WORDS], np.uint32)),
    }
    shapes = ((e, e), (6, 2 * e), (2 * e, 6), (h, 3 * e), (D_TEXT, 3 * e + h))
    for name, (rows, columns) in zip(MATRICES, shapes):
        tensors[name] = rng.integers(-127, 128, (rows, columns)).astype(np.int8)
        tensors[f"{name}_scale"] = np.full(rows, (0.1 if "query" in name else 1) / 127, np.float32)
        tensors[f"{name}_bias"] = np.zeros(rows, np.float32)
    info = {"schema_version": 1, "kind": "attention", "id": "random", "max_tokens": 20}
    return {
        "text/encoder.json": json.dumps(info).encode(),
        "text/encoder.safetensors": write_tensors(tensors),
        "text/tokenizer.json": tokenizer.to_str().encode(),
    }


def random_hypernetwork() -> dict[str, bytes]:
    """A linear hypernetwork with random weights in its ONNX form, and the text centres."""
    rng = np.random.default_rng(2)
    constants = {
        "w": rng.normal(size=(2 * D_TEXT, FEATURES)).astype(np.float32),
        "c": np.full((2 * D_TEXT, 1), 0.01, np.float32),
        "last": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["classes", "w"], ["weight"]),
        helper.make_node("MatMul", ["classes", "c"], ["column"]),
        helper.make_node("Squeeze", ["column", "last"], ["bias"]),
    ]
    graph = helper.make_graph(
        nodes,
        "hypernetwork",
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["k", 2 * D_TEXT])],
        [
            helper.make_tensor_value_info("weight", TensorProto.FLOAT, ["k", FEATURES]),
            helper.make_tensor_value_info("bias", TensorProto.FLOAT, ["k"]),
        ],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    centres = save({"name": np.zeros(D_TEXT, np.float32), "text": np.zeros(D_TEXT, np.float32)})
    return {
        "hypernetwork/hypernetwork.onnx": model.SerializeToString(),
        "hypernetwork/centres.safetensors": centres,
    }


def random_backbone() -> Graph:
    rng = np.random.default_rng(3)

    def weights(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    nodes = (
        Conv("stem", "image", weights(8, 3, 3, 3), weights(8), 2, True),
        Conv("last", "stem", weights(24, 3, 3, 8), weights(24), 2, True),
        Mean("pooled", "last"),
        Dense("projected", "pooled", weights(FEATURES, 24), weights(FEATURES)),
        L2Normalize("features", "projected"),
    )
    return Graph((SIDE, SIDE, 3), (128.0,) * 3, (128.0,) * 3, nodes, "features")


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny pack for 32 x 32 images and 16 features."""
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (40, SIDE // 8, SIDE // 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    graph = random_backbone()
    quantised = quantize_graph(graph, images)
    features = run(graph, images, ["features"])["features"].astype(np.float32)
    int8 = np.clip(np.rint(features * 128), -128, 127).astype(np.int8)
    files = {
        "backbone/fp32.tflite": write_backbone_tflite(graph),
        "backbone/int8.tflite": write_backbone_tflite(quantised),
        "backbone/fp32.onnx": write_backbone_onnx(graph),
        "backbone/int8.onnx": write_backbone_onnx(quantised),
        "bank.safetensors": save({"features": int8, "labels": np.arange(40, dtype=np.int32) % 4}),
        "bank.json": json.dumps(["a", "b", "c", "d"]).encode(),
        "probes.safetensors": save({"images": images[:6], "features": features[:6], "quantised": int8[:6]}),
        **random_text_encoder(),
        **random_hypernetwork(),
    }
    facts = {
        "schema_version": 1,
        "name": "tiny",
        "version": "0.0.1",
        "licence": "Apache-2.0",
        "input": {
            "height": SIDE,
            "width": SIDE,
            "crop": "center",
            "preparation_version": 1,
            "mean": [128.0] * 3,
            "std": [128.0] * 3,
        },
        "features": {"size": FEATURES, "unit": True, "scale": 1 / 128, "zero_point": 0},
        "max_classes": 1000,
        "provenance": {},
        "accuracy": {},
    }
    folder = tmp_path_factory.mktemp("packs") / "tiny"
    write_pack(folder, facts, files)
    return folder
