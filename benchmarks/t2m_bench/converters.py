"""Compile against a converter: ``python -m t2m_bench.converters TASK [--model timm:NAME] [--python PATH]``.

The peer turns the same float network into the same kind of file: litert-torch converts it, ai-edge-quantizer makes it
static int8 on a few calibration images. Both sides run in turn, in new processes (imports included) and once more in
the warm process. Weights are random: they cost a converter the same time. ``--model timm:fastvit_mci0`` is the image
tower of MobileCLIP2-S0; compile then takes a pack that is made around the same network first.

The suite ``compile`` (suites.py) times new processes of the same peer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from t2m_bench.exits import one_line
from t2m_bench.suite_run import last_line, process, summary_of
from t2m_runtime.errors import InputError, WorkError

IMAGES = 16
"""With which the peer calibrates."""

WARM = """
import json, sys, time, t2m_edge
times = []
for i in range(6):
    began = time.perf_counter()
    t2m_edge.compile(sys.argv[1], f"{sys.argv[2]}.{i}.tflite", pack=sys.argv[3], min_agreement=0)
    times.append(time.perf_counter() - began)
print(json.dumps(times[1:]))
"""

# Both scripts run in processes of their own, perhaps of another Python: nothing here imports torch or the compiler.
NETWORK = """
import json, sys, time
began = time.perf_counter()
import numpy as np, torch
from torch import nn
from t2m_edge.backbones.converting import deployed, quantize_tflite, tflite
from t2m_edge.backbones.torch_models import TorchBackbone

def network(name, side):
    torch.manual_seed(0)
    if name == "default":
        from t2m_edge.backbones.resnet import INPUT_SIDE, POOLED, ResNet
        body, side, width = ResNet(), INPUT_SIDE, POOLED
    else:
        import timm
        body = timm.create_model(name.removeprefix("timm:"), pretrained=False, num_classes=0)
        side, width = side or body.pretrained_cfg["input_size"][1], body.num_features
        if hasattr(body, "head_hidden_size"):
            width = body.head_hidden_size
    for norm in body.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)  # gains of 0 would let the converter drop whole branches
    model = deployed(nn.Sequential(body, nn.Linear(width, 256))).eval()
    photos = np.random.default_rng(0).integers(0, 256, (int(sys.argv[2]), side, side, 3), np.uint8)
    return TorchBackbone(name, model, (side, side), (127.5,) * 3, (127.5,) * 3), photos
"""

PEER = (
    NETWORK
    + """
backbone, photos = network(sys.argv[1], int(sys.argv[3]))
model = nn.Sequential(backbone.model, nn.Linear(256, int(sys.argv[4])), nn.Softmax(-1)).eval()
rounds = []
for _ in range(int(sys.argv[5])):
    started = time.perf_counter()
    floats = tflite(model, backbone)
    converted = time.perf_counter()
    int8 = quantize_tflite(floats, photos)
    ended = time.perf_counter()
    rounds.append({"convert_s": converted - started, "quantise_s": ended - converted, "bytes": len(int8)})
    if len(rounds) == 1:
        cold = ended - began
if len(sys.argv) > 6:
    open(sys.argv[6], "wb").write(int8)
print(json.dumps({"cold_s": cold, "warm_s": rounds[-1]["convert_s"] + rounds[-1]["quantise_s"], "rounds": rounds}))
"""
)

RANDOM_PACK = (
    NETWORK
    + """
from pathlib import Path
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save
from t2m_edge.backbones.adopted import AdoptedBackbone
from t2m_edge.packs import load_pack
from t2m_edge.packs.adopting import float_features, pack_facts, quantised
from t2m_edge.packs.writing import write_pack
from t2m_exporters.foreign_tflite import adopt_tflite, ends

backbone, photos = network(sys.argv[1], int(sys.argv[3]))
floats = tflite(backbone.model, backbone)
int8 = adopt_tflite(quantize_tflite(floats, photos))
scale, zero_point = ends(int8)[3:]
graphs = {"fp32.tflite": adopt_tflite(floats), "int8.tflite": int8}
found = AdoptedBackbone(
    backbone.name, graphs, backbone.size, 256, scale, zero_point, backbone.mean, backbone.std
)
default, rng = load_pack(), np.random.default_rng(0)
real, seen = float_features(found, photos), quantised(found.run(photos), scale, zero_point)
bank = np.clip(rng.normal(seen.mean(0), seen.std(0) + 4, (len(default.bank.features), 256)), -128, 127)
width = 2 * default.text_encoder.d_text
rows = {"weights": rng.normal(size=(width, 256)), "biases": np.zeros((width, 1)), "axis": np.array([1])}
nodes = [
    helper.make_node("MatMul", ["classes", "weights"], ["weight"]),
    helper.make_node("MatMul", ["classes", "biases"], ["column"]),
    helper.make_node("Squeeze", ["column", "axis"], ["bias"]),
]
shapes = {"classes": ["k", width], "weight": ["k", 256], "bias": ["k"]}
info = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
constants = [
    numpy_helper.from_array(value.astype(np.int64 if name == "axis" else np.float32), name)
    for name, value in rows.items()
]
graph = helper.make_graph(nodes, "hypernetwork", [info["classes"]], [info["weight"], info["bias"]], constants)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
files = {name: default.read(name) for name in default.files if name.startswith(("text/", "bank.json"))}
files["hypernetwork/centres.safetensors"] = default.read("hypernetwork/centres.safetensors")
files["hypernetwork/hypernetwork.onnx"] = model.SerializeToString()
files |= {f"backbone/{name}": data for name, data in graphs.items()}
files["bank.safetensors"] = save({"features": bank.astype(np.int8), "labels": default.bank.labels})
files["probes.safetensors"] = save({"images": photos, "features": real, "quantised": seen})
write_pack(Path(sys.argv[4]), pack_facts(found, "random", "0", {}), files, overwrite=True)
print(json.dumps({"features": 256}))
"""
)


def check() -> None:
    """Raises InputError where the converter is not installed."""
    for package in ("litert_torch", "ai_edge_quantizer", "torch"):
        if find_spec(package) is None:
            raise InputError(f"the suite needs {package}: pip install 't2m-edge[convert]'")


def convert(model: Path, classes: int, processes: int) -> dict[str, object]:
    """Writes the default pack's network as the peer does; what new processes of that take, after one to warm the disk.

    Raises:
        WorkError: it failed.
    """
    command = [sys.executable, "-c", PEER, "default", str(IMAGES), "0", str(classes), "1", str(model)]
    process(command)
    runs = [process(command) for _ in range(processes)]
    return {"command": "litert-torch + ai-edge-quantizer", **summary_of(runs)}


def measure(task: Path, model: str, images: int, side: int, python: str, times: int, warm: bool) -> dict[str, object]:
    """Seconds of both sides, medians over ``times`` rounds in which they take turns.

    Raises:
        InputError: the task cannot be read.
        WorkError: one of the sides failed.
    """
    try:
        lines = task.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{task} cannot be read ({error}); give a descriptions file in .txt") from None
    classes = sum(1 for line in lines if line.strip() and not line.startswith("#"))
    kinds = ("cold_s", "warm_s") if warm else ("cold_s",)
    ours: dict[str, list[float]] = {kind: [] for kind in kinds}
    peer: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        pack = "default"
        if model != "default":
            pack = f"{folder}/pack"
            _output([python, "-c", RANDOM_PACK, model, str(images), str(side), pack])
        for number in range(times):
            out = f"{folder}/{number}"
            command = [python, "-m", "t2m_edge.cli", "compile", str(task), "-o", f"{out}.tflite", "--pack", pack]
            ours["cold_s"].append(process([*command, "--min-agreement", "0"])[0])
            rounds = "2" if warm else "1"
            found = _output([python, "-c", PEER, model, str(images), str(side), str(classes), rounds])
            for kind in kinds:
                peer[kind].append(found[kind])
            if warm:
                ours["warm_s"].append(statistics.median(_output([python, "-c", WARM, str(task), out, pack])))
    result: dict[str, object] = {"schema_version": 1, "model": model, "classes": classes, "rounds": times}
    for kind in kinds:
        mine, theirs = statistics.median(ours[kind]), statistics.median(peer[kind])
        result[kind] = {"compile": mine, "converter": theirs, "ratio": theirs / mine}
    return result


def _output(command: list[str]) -> object:
    """The JSON that a process prints last."""
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        raise WorkError(f"{command[0]} failed: {last_line(done.stderr)}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", type=Path, help="a descriptions file in .txt")
    parser.add_argument("--model", default="default", help="the network: the default pack's or timm:NAME")
    parser.add_argument("--side", type=int, default=0, help="of the network's input, where it is not its own")
    parser.add_argument("--images", type=int, default=IMAGES, help="the converter calibrates with")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has t2m-edge[convert] and timm")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="new processes alone")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with one_line():
        result = measure(args.task, args.model, args.images, args.side, args.python, args.times, not args.cold)
    if args.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{args.model}, {result['classes']} classes, medians of {args.times} rounds")
    for kind, what in (("cold_s", "new process"), ("warm_s", "warm process")):
        if kind in result:
            entry = result[kind]
            print(
                f"{what:13} compile {entry['compile'] * 1e3:9.1f} ms   litert-torch + ai-edge-quantizer "
                f"{entry['converter']:7.2f} s   {entry['ratio']:6.1f} x"
            )


if __name__ == "__main__":
    main()
