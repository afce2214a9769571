"""Makes a folder of hostile files from good ones: python make_files.py GOOD FOLDER.

GOOD holds m.tflite, m.onnx, h.t2mh and pack/. Each file made is something that a careless reader crashes, hangs or
runs out of memory on.
"""

from __future__ import annotations

import io
import json
import random
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np

from t2m_runtime import onnx_wire as wire
from t2m_runtime.tflite_file import field, read_tables, u32

HUGE = 0xFFFFFFFF


def tflite_files(good: bytes) -> dict[str, bytes]:
    """Flatbuffers with offsets, sizes and indices that lie, and zips behind them that do."""
    tables, found = read_tables(good), {}

    def patched(name: str, position: int, form: str, value: int) -> None:
        data = bytearray(good)
        struct.pack_into(form, data, position, value)
        found[name] = bytes(data)

    root = u32(good, 0)
    patched("root-outside", 0, "<I", HUGE)
    patched("root-at-itself", 0, "<I", 0)
    patched("vtable-before-the-file", root, "<i", 2**31 - 1)
    patched("vtable-after-the-file", root, "<i", -(2**31))
    for name, slot in (("codes", 1), ("subgraphs", 2), ("buffers", 4)):
        place = field(good, root, slot)
        patched(f"{name}-4-gigabyte-vector", place + u32(good, place), "<I", HUGE)
        patched(f"{name}-vector-outside", place, "<I", HUGE)
        patched(f"{name}-empty", place + u32(good, place), "<I", 0)
        patched(f"{name}-cycle", place, "<I", 0)
    patched("operators-4-gigabyte-vector", tables.operators_at, "<I", HUGE)
    patched("outputs-4-gigabyte-vector", tables.outputs_at, "<I", HUGE)
    patched("output-is-no-tensor", tables.outputs_at + 4, "<i", 10**6)
    patched("output-is-negative", tables.outputs_at + 4, "<i", -7)
    for index in (0, len(tables.tensors) - 1):
        tensor = tables.tensors[index]
        for name, slot in (("shape", 0), ("name", 3), ("quantization", 4)):
            place = field(good, tensor, slot)
            if place:
                patched(f"tensor-{index}-{name}-outside", place, "<I", HUGE)
        place = field(good, tensor, 0)
        vector = place + u32(good, place)
        for side in range(u32(good, vector)):
            patched(f"tensor-{index}-side-{side}-huge", vector + 4 + 4 * side, "<i", 2**31 - 1)
            patched(f"tensor-{index}-side-{side}-negative", vector + 4 + 4 * side, "<i", -5)
        place = field(good, tensor, 2)
        if place:
            patched(f"tensor-{index}-no-buffer", place, "<I", HUGE)
    operator = tables.operators[len(tables.operators) // 2]
    for name, slot in (("inputs", 1), ("outputs", 2)):
        place = field(good, operator, slot)
        patched(f"operator-{name}-outside", place, "<I", HUGE)
        patched(f"operator-{name}-are-no-tensors", place + u32(good, place) + 4, "<i", 10**7)
    place = field(good, operator, 0)
    if place:
        patched("operator-without-code", place, "<I", 9999)
    for index, position in enumerate(tables.buffers):
        place = field(good, position, 0)
        if place:
            patched(f"buffer-{index}-4-gigabytes", place + u32(good, place), "<I", HUGE)
            patched(f"buffer-{index}-outside", place, "<I", HUGE)
            break
    return {**found, **zip_files(good)}


def zip_files(good: bytes) -> dict[str, bytes]:
    """Archives at the end of a model that escape, bomb, or claim what is not there."""
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        start = min(entry.header_offset for entry in archive.infolist())
        manifest = archive.read("t2m_manifest.json")
    model, found = good[:start], {}

    def archived(members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", kind) as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name), content, kind)
        return model + data.getvalue()

    found["zip-bomb"] = archived({"t2m_manifest.json": b" " * 2**27}, zipfile.ZIP_DEFLATED)
    found["zip-path-escape"] = archived({"../../t2m_manifest.json": manifest, "/etc/passwd": b"x"})
    found["zip-many-members"] = archived({f"{i}.txt": b"" for i in range(5000)})
    whole = archived({"t2m_manifest.json": manifest})
    end, central = whole.rfind(b"PK\x05\x06"), whole.rfind(b"PK\x01\x02")
    for name, position, form in (
        ("zip-directory-4-gigabytes", end + 12, "<I"),
        ("zip-directory-outside", end + 16, "<I"),
        ("zip-65535-members", end + 8, "<H"),
        ("zip-member-4-gigabytes", central + 20, "<I"),
        ("zip-member-outside", central + 42, "<I"),
        ("zip-name-64-kilobytes", central + 28, "<H"),
    ):
        data = bytearray(whole)
        struct.pack_into(form, data, position, HUGE if form == "<I" else 0xFFFF)
        found[name] = bytes(data)
    for name, text in manifests(manifest).items():
        found[f"manifest-{name}"] = archived({"t2m_manifest.json": text})
    return found


def manifests(good: bytes) -> dict[str, bytes]:
    """JSON that is too deep, too long, too large, or of other types."""
    facts = json.loads(good)

    def changed(**values: object) -> bytes:
        return json.dumps({**facts, **values}).encode()

    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBBI", 13, b"IHDR", 60000, 60000, 8, 2, 0, 0, 0, 0)
    import base64

    test = {**(facts.get("self_test") or {}), "input": base64.b64encode(bomb).decode(), "input_sha256": "0" * 64}
    return {
        "nested": b"[" * 100_000,
        "nested-objects": b'{"a":' * 100_000,
        "number-of-a-million-digits": good[:-1] + b',"x":' + b"9" * 1_000_000 + b"}",
        "number-1e999": good[:-1] + b',"schema_version":1e999}',
        "nan": good.replace(b'"schema_version":1', b'"schema_version":NaN'),
        "a-million-labels": changed(labels=[str(i) for i in range(10**6)]),
        "label-of-a-megabyte": changed(labels=["a" * 2**20, *facts["labels"][1:]]),
        "label-with-escape-codes": changed(labels=["\x1b[2J", *facts["labels"][1:]]),
        "labels-of-numbers": changed(labels=[1] * len(facts["labels"])),
        "image-of-10000000-pixels-a-side": changed(input={**facts["input"], "height": 10**7, "width": 10**7}),
        "not-utf-8": b"\xff\xfe" + good,
        "future-schema": changed(schema_version=10**9),
        "png-bomb": changed(self_test=test) if facts["target"] != "head" else changed(self_test=[]),
        "list": b"[]",
        "empty": b"",
    }


def onnx_files(good: bytes) -> dict[str, bytes]:
    """Protobufs with lengths that lie, fields without end, and constants that lie elsewhere."""
    twice = b"".join(wire.block(14, wire.block(1, "t2m_manifest") + wire.block(2, "{}")) for _ in "ab")
    found = {
        "length-of-2-to-the-63": b"\x08\x07\x3a" + b"\xff" * 8 + b"\x7f" + good,
        "number-without-end": b"\x08\x07\x3a" + b"\xff" * 40,
        "4-gigabyte-graph": b"\x08\x07\x3a\xff\xff\xff\xff\x0f" + good,
        "field-0": b"\x08\x07\x02\x00" + good,
        "group": b"\x08\x07\x0b\x0c",
        "a-million-fields": b"\x08\x07" + b"\x10\x01" * 10**6,
        "two-graphs": good + b"\x3a\x00",
        "no-graph": b"\x08\x07",
        "property-twice": good + twice,
        "nested-graphs": nested(good),
    }
    whole = memoryview(good)
    parts = list(wire.fields(whole))
    graph = next(part for part in parts if part[0] == 7)

    def with_graph(extra: bytes) -> bytes:
        body = bytes(whole[graph[3] : graph[4]]) + extra
        return bytes(whole[: graph[2]]) + wire.block(7, body) + bytes(whole[graph[4] :])

    location = wire.block(13, wire.block(1, "location") + wire.block(2, "../../../../etc/passwd"))
    found["constant-in-etc-passwd"] = with_graph(
        wire.block(5, wire.number(1, 10) + wire.number(2, 2) + wire.block(8, "x") + location + wire.number(14, 1))
    )
    found["constant-of-2-to-the-62"] = with_graph(
        wire.block(5, wire.number(1, 2**31) + wire.number(1, 2**31) + wire.number(2, 1) + wire.block(8, "x"))
    )
    found["node-that-reads-itself"] = with_graph(wire.block(1, wire.node("Relu", ["loop"], ["loop"])))
    found["unknown-operator"] = with_graph(wire.block(1, wire.node("Pwn", ["image"], ["y"])))
    size = struct.pack("<q", 2**40)
    found["tensor-of-a-terabyte"] = with_graph(
        wire.block(5, wire.tensor("size", np.array([4], np.int32)))
        + wire.block(1, wire.block(2, "big") + wire.block(4, "ConstantOfShape") + wire.block(1, "sizes"))
        + wire.block(5, wire.number(1, 1) + wire.number(2, 7) + wire.block(8, "sizes") + wire.block(9, size))
    )
    return found


def nested(good: bytes) -> bytes:
    """A graph in an attribute of a node of a graph, 3,000 deep."""
    inner = b""
    for _ in range(3000):
        inner = wire.block(1, wire.block(4, "If") + wire.block(5, wire.block(1, "then_branch") + wire.block(6, inner)))
    return b"\x08\x07" + wire.block(7, inner)


def head_files(good: bytes) -> dict[str, bytes]:
    """Safetensors whose header lies, and numbers that no head has."""
    size = int.from_bytes(good[:8], "little")
    header, body = json.loads(good[8 : 8 + size]), good[8 + size :]

    def file(changed: object, length: int | None = None) -> bytes:
        text = json.dumps(changed).encode()
        return (len(text) if length is None else length).to_bytes(8, "little") + text + body

    first = "layer0.weight"
    entry, found = header[first], {}
    for name, value in {
        "offset-negative": {**entry, "data_offsets": [-1, 10]},
        "offset-4-gigabytes": {**entry, "data_offsets": [0, 2**32]},
        "offset-a-text": {**entry, "data_offsets": "ab"},
        "offset-true": {**entry, "data_offsets": [False, True]},
        "shape-huge": {**entry, "shape": [2**31, 2**31]},
        "shape-negative": {**entry, "shape": [-1, -1]},
        "shape-zero": {**entry, "shape": [0, 0]},
        "shape-deep": {**entry, "shape": [1] * 5000},
        "dtype-unknown": {**entry, "dtype": "F8_E4M3"},
        "entry-a-list": [],
    }.items():
        found[name] = file({**header, first: value})
    found["header-2-to-the-63"] = file(header, 2**63)
    found["header-4-gigabytes"] = file(header, 2**32)
    found["header-empty"] = file(header, 0)
    found["header-nested"] = len(b"{" + b"[" * 200_000).to_bytes(8, "little") + b"{" + b"[" * 200_000
    found["thousands-of-tensors"] = file({**header, **{f"t{i}": entry for i in range(5000)}})
    found["overlapping-tensors"] = file({**header, "layer1.weight": entry})
    found["cut-short"] = good[:-5]
    metadata = header["__metadata__"]
    for name, values in {
        "scale-nan": {"input_scale": "nan"},
        "scale-huge": {"input_scale": "1e40"},
        "zero-point-huge": {"input_zero_point": "9" * 5000},
        "metadata-of-numbers": {"input_scale": 3},
    }.items():
        found[name] = file({**header, "__metadata__": {**metadata, **values}})
    for name, text in manifests(metadata["t2m_manifest"].encode()).items():
        body_text = text.decode("latin-1")
        found[f"manifest-{name}"] = file({**header, "__metadata__": {**metadata, "t2m_manifest": body_text}})
    return found


def pack_files(good: Path) -> dict[str, bytes]:
    """Zips of packs that escape, bomb, or are not what their index lists."""
    index = json.loads((good / "pack.json").read_text())
    found = {}

    def packed(facts: object, members: dict[str, bytes] | None = None) -> bytes:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            text = facts if isinstance(facts, bytes) else json.dumps(facts).encode()
            archive.writestr("pack.json", text)
            for name, content in (members or {}).items():
                archive.writestr(name, content)
        return data.getvalue()

    def listed(**files: object) -> dict:
        return {**index, "files": {**index["files"], **files}}

    found["index-nested"] = packed(b"[" * 100_000)
    found["index-bomb"] = packed(b" " * 2**27)
    found["index-a-list"] = packed([])
    found["index-without-facts"] = packed({"schema_version": 1, "files": {}})
    found["path-escape"] = packed(listed(**{"../../../etc/passwd": {"bytes": 10, "sha256": "0" * 64}}))
    found["path-absolute"] = packed(listed(**{"/etc/passwd": {"bytes": 10, "sha256": "0" * 64}}))
    found["file-4-gigabytes"] = packed(listed(**{"bank.safetensors": {"bytes": 2**32, "sha256": "0" * 64}}))
    found["file-negative"] = packed(listed(**{"bank.safetensors": {"bytes": -1, "sha256": "0" * 64}}))
    bomb = {"bank.safetensors": b"\0" * 2**27}
    found["file-bomb"] = packed(listed(**{"bank.safetensors": {"bytes": 10, "sha256": "0" * 64}}), bomb)
    found["many-files"] = packed({**index, "files": {str(i): {"bytes": 0, "sha256": ""} for i in range(100_000)}})
    found["sizes-of-text"] = packed({**index, "input": {**index["input"], "height": "1" * 10_000}})
    found["features-1e999"] = packed(json.dumps(index).encode().replace(b'"size": ', b'"size": 1e999, "old": ', 1))
    return found


def damaged(good: bytes, rng: random.Random) -> dict[str, bytes]:
    """Cut short, and with bytes changed."""
    found = {f"cut-at-{size}": good[:size] for size in (0, 1, 4, 8, 12, 100, len(good) // 2, len(good) - 1)}
    for number in range(12):
        data = bytearray(good)
        for _ in range(1 + number):
            data[rng.randrange(len(data))] = rng.randrange(256)
        found[f"bytes-changed-{number}"] = bytes(data)
    return found


def main(good: Path, folder: Path) -> None:
    rng = random.Random(0)
    for name, make in (("m.tflite", tflite_files), ("m.onnx", onnx_files), ("h.t2mh", head_files)):
        data = (good / name).read_bytes()
        write(folder, {**make(data), **damaged(data, rng)}, Path(name).suffix)
    write(folder, pack_files(good / "pack"), ".t2mpack")
    write(folder, {"text": b"hello\n", "zeros": b"\0" * 4096, "noise": rng.randbytes(4096)}, ".tflite")


def write(folder: Path, files: dict[str, bytes], ending: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}{ending}").write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
