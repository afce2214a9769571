"""One backbone, many heads: swapped in, and refused where they belong to another."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace

import numpy as np
import pytest

from t2m_exporters.graph import Conv, Dense, Graph, L2Normalize, Mean, run
from t2m_exporters.onnx import append_head_onnx, write_backbone_onnx
from t2m_exporters.quantize import quantize_graph, quantize_head
from t2m_exporters.tflite import append_head_tflite, write_backbone_tflite
from t2m_runtime import Backbone, Classifier, Head, InputError, Layer, Manifest, save_head
from t2m_runtime.manifest import InputSpec, OutputSpec, PackRef

SIDE, D = 24, 12
CELLS = [(t, p) for t in ("tflite", "onnx") for p in ("int8", "fp32")]
WRITERS = {
    "tflite": (write_backbone_tflite, append_head_tflite),
    "onnx": (write_backbone_onnx, append_head_onnx),
}


def manifest(labels, target, precision, backbone="b" * 64):
    return Manifest(
        schema_version=1,
        name="task",
        labels=labels,
        thresholds=(None,) * len(labels),
        target=target,
        precision=precision,
        input=InputSpec(SIDE, SIDE),
        output=OutputSpec(),
        pack=PackRef("test", "1", "0" * 64),
        backbone_sha256=backbone,
        tool_version="0.1.0",
    )


@pytest.fixture(scope="module")
def parts():
    """Graphs of both precisions, images, the bank, and a maker of heads."""
    rng = np.random.default_rng(0)

    def weights(*shape):
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    nodes = (
        Conv("stem", "image", weights(8, 3, 3, 3), weights(8), 2, True),
        Mean("pooled", "stem"),
        Dense("projected", "pooled", weights(D, 8), weights(D)),
        L2Normalize("features", "projected"),
    )
    graph = Graph((SIDE, SIDE, 3), (128.0,) * 3, (128.0,) * 3, nodes, "features")
    images = rng.integers(0, 256, (20, SIDE, SIDE, 3), dtype=np.uint8)
    quantized = quantize_graph(graph, images)
    bank = quantized.features.quantize(run(graph, images, ["features"])["features"])

    def head(k, precision, hidden=0, seed=1):
        r = np.random.default_rng(seed)
        sizes = [D, *([hidden] if hidden else []), k]
        layers = [
            Layer(r.normal(size=(out, n)).astype(np.float32) * 3, r.normal(size=out).astype(np.float32))
            for n, out in itertools.pairwise(sizes)
        ]
        made = Head(tuple(f"{seed} class {i}" for i in range(k)), tuple(layers))
        return quantize_head(made, bank, 1 / 128) if precision == "int8" else made

    return {"fp32": graph, "int8": quantized}, images, head


@pytest.fixture(scope="module", params=CELLS, ids=["-".join(cell) for cell in CELLS])
def model(request, parts):
    """(target, precision, bytes of a full model)."""
    target, precision = request.param
    graphs, _, head = parts
    write, append = WRITERS[target]
    first = head(4, precision)
    return target, precision, append(write(graphs[precision]), first, manifest(first.labels, target, precision))


@pytest.mark.parametrize("hidden", [0, 6], ids=["linear", "hidden"])
def test_a_head_on_the_backbone_scores_like_the_full_model(model, parts, hidden):
    target, precision, data = model
    graphs, images, head = parts
    write, append = WRITERS[target]
    other = head(7, precision, hidden, seed=2)
    full = append(write(graphs[precision]), other, manifest(other.labels, target, precision))
    file = save_head(other, manifest(other.labels, "head", precision))
    with Backbone.load(data) as backbone, Classifier.load(full) as classifier:
        swapped = backbone.with_head(file)
        assert swapped.labels == other.labels and backbone.n_features == D
        for image in images:
            np.testing.assert_allclose(swapped.scores(image), classifier.scores(image), atol=2e-6)
        assert swapped.classify(images[0]).names[0] == classifier.classify(images[0]).names[0]


def test_two_heads_live_on_one_backbone_at_the_same_time(model, parts):
    _, precision, data = model
    _, images, head = parts
    files = [save_head(h, manifest(h.labels, "head", precision)) for h in (head(3, precision), head(5, precision))]
    with Backbone.load(data) as backbone:
        classifiers = [backbone.with_head(file) for file in files]
        alone = [[c.scores(image) for image in images] for c in classifiers]
        found = [[], []]

        def work(i):
            found[i] += [classifiers[i].scores(image) for image in images]

        threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for a, b in zip(alone, found):
            np.testing.assert_array_equal(a, b)
        classifiers[0].close()
        assert backbone.features(images[0]).shape == (D,)
    with pytest.raises(InputError, match="closed"):
        classifiers[1].scores(images[0])


def test_a_head_of_another_backbone_precision_or_kind_is_refused(model, parts, tmp_path):
    _, precision, data = model
    _, _, head = parts
    other = "fp32" if precision == "int8" else "int8"
    own, wrong = head(3, precision), head(3, other)
    path = tmp_path / "h.t2mh"
    path.write_bytes(save_head(own, manifest(own.labels, "head", precision, "c" * 64)))
    with Backbone.load(data) as backbone:
        with pytest.raises(InputError, match=r"h\.t2mh was made for another backbone .*cccc.* the model has bbbb"):
            backbone.with_head(path)
        with pytest.raises(InputError, match=f"compile the head with --precision {precision}"):
            backbone.with_head(save_head(wrong, manifest(wrong.labels, "head", other)))
        with pytest.raises(InputError, match="not a head file"):
            backbone.with_head(data)
        if precision == "int8":
            scaled = replace(own, input_scale=own.input_scale * 2)
            with pytest.raises(InputError, match="another scale"):
                backbone.with_head(save_head(scaled, manifest(own.labels, "head", precision)))
    with pytest.raises(InputError, match="without a backbone"):
        Backbone.load(path)
