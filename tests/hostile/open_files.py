"""Opens each file of a folder with everything that reads such files: python open_files.py FOLDER [FIRST].

One JSON line for each file: name, CPU seconds of the slowest reader, MB of memory that the process has grown by, and
the errors that were none of ours. The line of a file comes before it is opened too, so that a crash names it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from t2m_edge.compiler.editing import merge, remove
from t2m_edge.compiler.verifying import verify_head
from t2m_edge.packs import load_pack
from t2m_exporters.heads import backbone_of, read_head
from t2m_exporters.onnx_derived import derive_onnx
from t2m_exporters.tflite_derived import derive_tflite
from t2m_runtime import Backbone, Classifier, InputError, WorkError, load_head, read_manifest
from t2m_runtime.tflite_file import check_model, read_constant, read_tensor


def classify(path: Path) -> None:
    with Classifier.load(path) as classifier:
        classifier.self_test()


def backbone(path: Path) -> None:
    Backbone.load(path).close()


def edit(path: Path) -> None:
    manifest = read_manifest(path)
    remove(path, [manifest.labels[0]], path.with_name("out"), overwrite=True)


def constants(path: Path) -> None:
    data = path.read_bytes()
    tables = check_model(data)
    for position in tables.tensors:
        tensor = read_tensor(data, position)
        if tensor.buffer:
            read_constant(data, tables, tensor)


def head(kind: str):
    return lambda path: read_head(path.read_bytes(), kind, read_manifest(path))


def use_pack(path: Path) -> None:
    pack = load_pack(path)
    pack.verify()
    for part in (pack.bank, pack.probes, pack.text_encoder):
        assert part


MODEL = [read_manifest, classify, backbone, edit]
READERS = {
    ".tflite": [
        *MODEL,
        constants,
        head("tflite"),
        lambda path: backbone_of(path.read_bytes(), "tflite"),
        lambda path: derive_tflite(path.read_bytes(), "fp16"),
    ],
    ".onnx": [
        *MODEL,
        head("onnx"),
        lambda path: backbone_of(path.read_bytes(), "onnx"),
        lambda path: derive_onnx(path.read_bytes(), "int8-dynamic"),
    ],
    ".t2mh": [read_manifest, load_head, edit, verify_head, lambda path: merge(path, path, path.with_name("out"))],
    ".t2mpack": [use_pack],
}


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(folder: Path, first: int) -> None:
    before = peak()
    for number, path in enumerate(sorted(p for p in folder.iterdir() if p.suffix in READERS)):
        if number < first:
            continue
        print(json.dumps({"opening": path.name, "number": number}), flush=True)
        slowest, strange = 0.0, []
        for read in READERS[path.suffix]:
            began = time.process_time()
            try:
                read(path)
            except (InputError, WorkError) as error:
                if "\n" in str(error) or len(str(error)) > 600:
                    strange.append(f"not one line: {str(error)[:80]!r}")
            except BaseException as error:
                strange.append(f"{type(error).__name__}: {str(error)[:200]}")
            slowest = max(slowest, time.process_time() - began)
        print(
            json.dumps({"file": path.name, "seconds": slowest, "mb": peak() - before, "strange": strange}), flush=True
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
