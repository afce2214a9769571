"""Compile against a converter: ``python -m t2m_bench.converters TASK [--pack PACK --model timm:NAME] [--python PATH]``.

The peer turns the same float model into the same kind of file: litert-torch converts it, ai-edge-quantizer makes it
static int8 on a few calibration images. Both sides run in turn, in new processes (imports included) and once more in
the warm process. Weights are random: they cost a converter the same time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from t2m_bench.main_job import process

WARM = """
import json, sys, time, t2m_edge
times = []
for i in range(6):
    began = time.perf_counter()
    t2m_edge.compile(sys.argv[1], f"{sys.argv[2]}.{i}.tflite", pack=sys.argv[3], min_agreement=0)
    times.append(time.perf_counter() - began)
print(json.dumps(times[1:]))
"""

PEER = """
import json, sys, time
began = time.perf_counter()
import numpy as np, torch
from torch import nn
from t2m_edge.backbones.converting import quantize_tflite, tflite
from t2m_edge.backbones.torch_models import TorchBackbone
name, classes, images, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
torch.manual_seed(0)
if name == "default":
    from t2m_edge.backbones.resnet import INPUT_SIDE, POOLED, ResNet
    side = INPUT_SIDE
    model = nn.Sequential(ResNet(), nn.Linear(POOLED, 256), nn.Linear(256, classes), nn.Softmax(-1))
else:
    import timm
    body = timm.create_model(name.removeprefix("timm:"), pretrained=False, num_classes=classes)
    side = side or body.pretrained_cfg["input_size"][1]
    model = nn.Sequential(body, nn.Softmax(-1))
for norm in model.modules():
    if isinstance(norm, nn.BatchNorm2d):
        nn.init.uniform_(norm.weight, 0.5, 1.5)  # gains of 0 would let the converter drop whole branches
backbone = TorchBackbone(name, model.eval(), (side, side), (127.5,) * 3, (127.5,) * 3)
photos = np.random.default_rng(0).integers(0, 256, (images, side, side, 3), np.uint8)
rounds = []
for _ in range(2):
    started = time.perf_counter()
    floats = tflite(model, backbone)
    converted = time.perf_counter()
    int8 = quantize_tflite(floats, photos)
    ended = time.perf_counter()
    rounds.append({"convert_s": converted - started, "quantise_s": ended - converted, "bytes": len(int8)})
    if len(rounds) == 1:
        cold = ended - began
print(json.dumps({"cold_s": cold, "warm_s": rounds[1]["convert_s"] + rounds[1]["quantise_s"], "rounds": rounds}))
"""


def output(command: list[str]) -> object:
    """The JSON that a process prints last."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(task: Path, pack: str, model: str, images: int, side: int, python: str, times: int) -> dict[str, object]:
    """Seconds of both sides, medians over ``times`` rounds in which they take turns."""
    classes = sum(1 for line in task.read_text("utf-8").splitlines() if line.strip() and not line.startswith("#"))
    ours: dict[str, list[float]] = {"cold_s": [], "warm_s": []}
    peer: dict[str, list[float]] = {"cold_s": [], "warm_s": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(times):
            out = f"{folder}/{number}"
            command = [python, "-m", "t2m_edge.cli", "compile", str(task), "-o", f"{out}.tflite", "--pack", pack]
            ours["cold_s"].append(process([*command, "--min-agreement", "0"])[0])
            found = output([python, "-c", PEER, model, str(classes), str(images), str(side)])
            for key in peer:
                peer[key].append(found[key])
            ours["warm_s"].append(statistics.median(output([python, "-c", WARM, str(task), out, pack])))
    result: dict[str, object] = {"schema_version": 1, "model": model, "pack": pack, "classes": classes, "rounds": times}
    for key in ("cold_s", "warm_s"):
        mine, theirs = statistics.median(ours[key]), statistics.median(peer[key])
        result[key] = {"compile": mine, "converter": theirs, "ratio": theirs / mine}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", type=Path, help="a descriptions file in .txt")
    parser.add_argument("--pack", default="default", help="what compile uses")
    parser.add_argument("--model", default="default", help="what is converted: the default pack's network or timm:NAME")
    parser.add_argument("--side", type=int, default=0, help="of the converted model's input, where it is not its own")
    parser.add_argument("--images", type=int, default=16, help="the converter calibrates with")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has t2m-edge[convert] and timm")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result = measure(args.task, args.pack, args.model, args.images, args.side, args.python, args.times)
    if args.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{args.model}, {result['classes']} classes, medians of {args.times} rounds")
    for key, what in (("cold_s", "new process"), ("warm_s", "warm process")):
        entry = result[key]
        print(
            f"{what:13} compile {entry['compile'] * 1e3:9.1f} ms   litert-torch + ai-edge-quantizer "
            f"{entry['converter']:7.2f} s   {entry['ratio']:6.1f} x"
        )


if __name__ == "__main__":
    main()
