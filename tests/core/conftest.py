"""The C core, compiled here for the tests, and small models for it."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from t2m_exporters.graph import Add, Conv, Dense, DepthwiseConv, Graph, L2Normalize, Mean, input_form, shapes
from t2m_exporters.quantize import UNIT, QuantizedGraph, QuantizedWeights
from t2m_exporters.ranges import Quantization
from t2m_runtime.core import CoreModel, load_core_library

REPOSITORY = Path(__file__).parents[2]
CORE = REPOSITORY / "runtimes" / "c"
FLAGS = ["-std=c99", "-O2", "-ffp-contract=off", f"-I{CORE / 'include'}"]


def compiler() -> list[str] | None:
    """The command of whatever C compiler is here: $CC, gcc, clang, cc, or the ziglang package."""
    for name in filter(None, (os.environ.get("CC"), "gcc", "clang", "cc")):
        if shutil.which(name):
            return [name]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    return None


def sources() -> list[str]:
    return sorted(str(path) for path in (CORE / "src").glob("*.c"))


def build(target: Path, *arguments: str, command: list[str] | None = None) -> Path:
    """Compiles the core's sources (and what else is named) to a file."""
    command = command or compiler()
    if command is None:
        pytest.skip("no C compiler here; install gcc or clang, or pip install ziglang")
    # A compiler need not run under the sanitizer that these tests may run under.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    words = [*command, *FLAGS, *sources(), *arguments, "-o", str(target)]
    subprocess.run(words, check=True, timeout=900, env=environment)
    return target


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The core: the one that T2M_CORE_LIBRARY names (a build with sanitizers, say), or compiled here."""
    if "T2M_CORE_LIBRARY" in os.environ:
        return load_core_library(os.environ["T2M_CORE_LIBRARY"])
    return load_core_library(str(build(tmp_path_factory.mktemp("core") / "t2m_core.so", "-fPIC", "-shared")))


def kernel_names(library) -> list[str]:
    """The kernels that this machine has."""
    from t2m_runtime.core import CoreError

    found = []
    for name in ("reference", "avx2", "avx512-vnni", "neon", "neon-dotprod"):
        try:
            CoreModel(backbone_bytes(np.random.default_rng(0), int8=True), kernels=name, library=library).close()
            found.append(name)
        except CoreError:
            continue
    return found


def random_graph(rng: np.random.Generator, unit: bool | None = None) -> Graph:
    """A few random operators on a small image, all of those that we write, then a vector named "features"."""

    def weight(*shape: int) -> np.ndarray:
        return rng.normal(0, 1, shape).astype(np.float32)

    height, width = (int(side) for side in rng.integers(1, 14, 2))
    nodes, last, channels = [], "image", 3
    for index in range(int(rng.integers(1, 4))):
        name, out = f"n{index}", int(rng.integers(1, 40))
        kernel, stride = int(rng.integers(1, 6)), int(rng.integers(1, 4))
        relu = bool(rng.integers(2))
        if rng.integers(4) == 0:
            nodes.append(DepthwiseConv(name, last, weight(kernel, kernel, channels), weight(channels), stride, relu))
            out = channels
        elif rng.integers(2):
            nodes.append(Conv(name, last, weight(out, kernel, kernel, channels), weight(out), stride, relu))
        else:
            nodes.append(Conv(f"{name}a", last, weight(out, kernel, kernel, channels), weight(out), stride))
            nodes.append(Conv(f"{name}b", last, weight(out, 1, 1, channels), weight(out), stride, True))
            nodes.append(Add(name, f"{name}a", f"{name}b", relu))
        last, channels = name, out
    nodes.append(Mean("mean", last))
    nodes.append(
        Dense("dense", "mean", weight(d := int(rng.integers(1, 60)), channels), weight(d), bool(rng.integers(2)))
    )
    if unit if unit is not None else rng.integers(2):
        nodes.append(L2Normalize("unit", "dense"))
    mean = (128.0,) * 3 if rng.integers(4) else (float(rng.integers(0, 256)),) * 3
    return Graph((height, width, 3), mean, (128.0,) * 3, tuple(nodes), nodes[-1].name)


def random_quantized(rng: np.random.Generator, graph: Graph) -> QuantizedGraph:
    """An int8 form whose scales, zero points and weights are random: parity does not need them to be sensible."""
    form = input_form(graph)
    activations = {"image": Quantization(form.scale, form.zero_point - 128)}
    weights = {}
    plain = Graph(graph.input_shape, graph.mean, graph.std, form.nodes, graph.output)
    assert set(shapes(plain)) >= {node.name for node in form.nodes}
    for node in form.nodes:
        scale = float(np.float32(np.exp(rng.normal(-3, 1))))
        activations[node.name] = Quantization(scale, int(rng.integers(-128, 128)))
        if isinstance(node, L2Normalize):
            activations[node.name] = UNIT
        if hasattr(node, "weight"):
            low = -128 if rng.integers(4) == 0 else -127
            source = activations[node.input].scale
            k = len(node.bias)
            gain = np.exp(rng.normal(0, 1.5, k)) * scale / source / 2000
            weights[node.name] = QuantizedWeights(
                rng.integers(low, 128, node.weight.shape).astype(np.int8),
                gain.astype(np.float32),
                rng.integers(-(2**15), 2**15, k).astype(np.int32),
            )
    return QuantizedGraph(graph, activations, weights)


def backbone_bytes(rng: np.random.Generator, int8: bool) -> bytes:
    """A random backbone as a .tflite."""
    from t2m_exporters.tflite import write_backbone_tflite

    graph = random_graph(rng)
    return write_backbone_tflite(random_quantized(rng, graph) if int8 else graph)


def litert_reference(model: bytes, image: np.ndarray, tensor: str | None = None) -> np.ndarray:
    """What LiteRT's reference kernels give for a uint8 (h, w, 3) image: the output, or a named tensor."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=tensor is not None,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
    interpreter.invoke()
    details = {item["name"]: item for item in interpreter.get_tensor_details()}
    index = interpreter.get_output_details()[0]["index"] if tensor is None else details[tensor]["index"]
    return interpreter.get_tensor(index)[0]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> dict[str, bytes]:
    """The grocery example compiled with the default pack: precision -> .tflite bytes."""
    import t2m_edge

    task, folder = REPOSITORY / "examples" / "grocery.txt", tmp_path_factory.mktemp("compiled")
    for precision in ("int8", "fp32"):
        t2m_edge.compile(task, folder / f"{precision}.tflite", precision=precision)
    return {precision: (folder / f"{precision}.tflite").read_bytes() for precision in ("int8", "fp32")}


def head_file(model: bytes, k: int, hidden: int = 0, seed: int = 0, **changes) -> bytes:
    """A .t2mh for the same backbone as a compiled model, with random weights and awkward labels."""
    import dataclasses

    from t2m_exporters.quantize import quantize_head
    from t2m_runtime.artifact import manifest_of, save_head
    from t2m_runtime.head import Head, Layer

    rng = np.random.default_rng(seed)
    manifest = manifest_of(model, "the model")
    sizes = [256, hidden, k] if hidden else [256, k]
    layers = tuple(
        Layer(rng.normal(0, 1, (out, width)).astype(np.float32), rng.normal(0, 1, out).astype(np.float32))
        for width, out in itertools.pairwise(sizes)
    )
    head = Head(tuple(f'{i} "é\\😀" / {{[' for i in range(k)), layers)
    if manifest.precision == "int8":
        head = quantize_head(head, rng.integers(-128, 128, (50, 256)).astype(np.int8), 1 / 128)
    thresholds = tuple(None if i % 3 else round(float(rng.uniform()), 17) for i in range(k))
    changes = {"labels": head.labels, "thresholds": thresholds, "target": "head", "self_test": None, **changes}
    return save_head(head, dataclasses.replace(manifest, **changes))


def package_library(package: str, pattern: str) -> str:
    """A shared library inside a Python package."""
    found = importlib.util.find_spec(package)
    files = sorted(Path(found.origin).parent.glob(pattern)) if found else []
    if not files:
        pytest.skip(f"{package} has no {pattern} here")
    return str(files[0])


@pytest.fixture(scope="session")
def engines_program(tmp_path_factory) -> Path:
    """examples/engines.c: the one that T2M_ENGINES_PROGRAM names (a build with sanitizers, say), or compiled here."""
    if "T2M_ENGINES_PROGRAM" in os.environ:
        return Path(os.environ["T2M_ENGINES_PROGRAM"])
    engines = CORE / "engines"
    return build(
        tmp_path_factory.mktemp("engines") / "engines",
        *("-std=c11", f"-I{engines}", str(CORE / "examples" / "engines.c")),
        *(str(path) for path in sorted(engines.glob("*.c"))),
        "-ldl",
    )


@pytest.fixture(scope="session")
def tools():
    """The functions of this file, for tests (which cannot import it by name)."""
    from types import SimpleNamespace

    return SimpleNamespace(
        CORE=CORE,
        FLAGS=FLAGS,
        backbone_bytes=backbone_bytes,
        build=build,
        compiler=compiler,
        head_file=head_file,
        kernel_names=kernel_names,
        litert_reference=litert_reference,
        package_library=package_library,
        random_graph=random_graph,
        random_quantized=random_quantized,
        sources=sources,
    )
