"""A loaded pack: its facts, and its parts as objects that ``compile`` uses, loaded when they are first asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from t2m_edge.hypernetworks.class_vectors import PROMPTS, Prompts, TextCentres
from t2m_edge.hypernetworks.numpy_form import numpy_form
from t2m_edge.packs.calibration import Calibration
from t2m_edge.packs.store import INDEX, PackStore
from t2m_edge.text import TextEncoder, load_text_encoder
from t2m_runtime import Head, InputError, Layer
from t2m_runtime.manifest import InputSpec, PackRef
from t2m_runtime.self_test import SelfTest

SCHEMA = 1
DEFAULT = "default"
SELF_TEST = "self_test.png"
"""The first probe image: the same bytes in every artifact, whichever Pillow is installed, and none to load."""
MAX_TEMPLATES = 256
DERIVED = ("fp16", "int8-dynamic")
"""Precisions that are made from the stored fp32 graphs."""


@dataclass(frozen=True)
class PackInfo:
    """The facts of ``pack.json``.

    features: length of a feature vector; unit: whether it has length 1; scale, zero_point: of the int8 features.
    independent: whether the hypernetwork makes each class's row from that class alone.
    parity: "precision.target" -> how close that graph is to the float one, as pack build measured it.
    prompts: how the names of classes become texts.
    logits: an interval that int8 logits cover whatever the bank shows, where the bank does not show the classes.
    calibration: temperature of the scores and accuracy to expect, where they were measured.
    """

    name: str
    version: str
    licence: str
    input: InputSpec
    features: int
    unit: bool
    scale: float
    zero_point: int
    max_classes: int
    provenance: dict[str, Any]
    accuracy: dict[str, Any]
    independent: bool
    parity: dict[str, Any]
    prompts: Prompts
    logits: tuple[float, float]
    calibration: Calibration


@dataclass(frozen=True)
class FeatureBank:
    """Held-out images as the int8 backbone sees them.

    features: int8 (n, d) at scale and zero_point; labels: int32 (n,), indices into classes.
    """

    features: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    scale: float
    zero_point: int

    @cached_property
    def real(self) -> np.ndarray:
        """The features dequantised, float32 (n, d)."""
        return (self.features.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


@dataclass(frozen=True)
class Probes:
    """A few images with their features, for parity and self-tests.

    images: uint8 (p, H, W, 3); features: float32 (p, d) of the float backbone; quantised: int8 (p, d) of the int8 one.
    """

    images: np.ndarray
    features: np.ndarray
    quantised: np.ndarray


class Pack:
    """Everything needed to compile a task. ``load_pack`` makes it; its parts are read-only and shared by threads."""

    def __init__(self, store: PackStore) -> None:
        self._store = store
        self.info = _info(store)
        self.path = store.path
        self.backbone = cache(self._backbone)

    @property
    def ref(self) -> PackRef:
        """Name, version and hash, as a manifest states them."""
        return PackRef(self.info.name, self.info.version, self._store.sha256)

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """{name: {bytes, sha256}} of every file."""
        return self._store.index["files"]

    def read(self, name: str) -> bytes:
        """A file of the pack, checked against its hash."""
        return self._store.read(name)

    def _backbone(self, target: str, precision: str) -> bytes:
        """The graph, image -> features, for target "tflite" or "onnx"; fp16 and int8-dynamic are derived from fp32."""
        if precision not in DERIVED:
            return self._store.read(f"backbone/{precision}.{target}")
        if target == "tflite":
            from t2m_exporters.tflite_derived import derive_tflite

            return derive_tflite(self.backbone(target, "fp32"), precision)
        from t2m_exporters.onnx_derived import derive_onnx

        return derive_onnx(self.backbone(target, "fp32"), precision)

    def need_backbone(self, target: str, precision: str) -> None:
        """Raises InputError where the pack holds no graph that gives this target and precision."""
        stored = "fp32" if precision in DERIVED else precision
        if f"backbone/{stored}.{target}" not in self.files:
            held = [name.removeprefix("backbone/") for name in self.files if name.startswith("backbone/")]
            raise InputError(
                f"{self.path}: the pack has no {stored} graph for {target}, only {', '.join(sorted(held))}; "
                "choose another --target or --precision"
            )

    def backbone_sha256(self, target: str, precision: str) -> str:
        """Hash of a stored graph's bytes."""
        entry = self.files.get(f"backbone/{precision}.{target}")
        if entry is None:
            raise InputError(f"{self.path}: the pack has no {precision} backbone for {target}; use another")
        return entry["sha256"]

    def backbone_id(self, precision: str) -> str:
        """The hash that names the features of a precision: heads fit by it, whatever the target.

        It is that of the stored .tflite graph, or of the .onnx one in a pack that has no other.
        """
        stored = "fp32" if precision in DERIVED else precision
        target = "tflite" if f"backbone/{stored}.tflite" in self.files else "onnx"
        return self.backbone_sha256(target, stored)

    def verify(self) -> None:
        """Read every file and compare it with its hash.

        Raises:
            InputError: one is missing or changed.
        """
        for name in self.files:
            self._store.read(name)

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """The pack's own encoder, or the one that it names."""
        texts = {name.removeprefix("text/"): self._store.read(name) for name in self.files if name.startswith("text/")}
        if self.path.is_dir():
            return load_text_encoder(self.path / "text")
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            for name, data in texts.items():
                (Path(folder) / name).write_bytes(data)
            return load_text_encoder(folder)

    @cached_property
    def centres(self) -> TextCentres:
        """Mean embeddings of the training texts."""
        table = self._tensors("hypernetwork/centres.safetensors", {"name": np.float32, "text": np.float32})
        return TextCentres(table["name"], table["text"])

    @cached_property
    def bank(self) -> FeatureBank:
        """The feature bank."""
        table = self._tensors("bank.safetensors", {"features": np.int8, "labels": np.int32})
        classes = json.loads(self._store.read("bank.json"))
        return FeatureBank(table["features"], table["labels"], tuple(classes), self.info.scale, self.info.zero_point)

    @cached_property
    def probes(self) -> Probes:
        """The probe images."""
        wanted = {"images": np.uint8, "features": np.float32, "quantised": np.int8}
        return Probes(**self._tensors("probes.safetensors", wanted))

    @cached_property
    def self_test(self) -> SelfTest:
        """The first probe image as a self-test that expects nothing yet."""
        if self._store.has(SELF_TEST):
            return SelfTest.from_png(self._store.read(SELF_TEST), self.probes.images[0], (), 0.0)
        return SelfTest.from_image(self.probes.images[0], (), 0.0)

    @cached_property
    def _hypernetwork(self) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
        data = self._store.read("hypernetwork/hypernetwork.onnx")
        form = numpy_form(data)
        if form is not None:
            return form
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise InputError(f"{self.path}: the hypernetwork does not load ({error}); get the pack again") from None
        names = [o.name for o in session.get_outputs()]
        return lambda classes: dict(zip(names, session.run(names, {"classes": classes}), strict=True))

    def head(self, labels: tuple[str, ...], classes: np.ndarray) -> Head:
        """Run the hypernetwork: class vectors, float32 (k, inputs) -> the head for those classes.

        Its logits are divided by the pack's temperature.
        """
        out = self._hypernetwork(classes)
        temperature = np.float32(self.info.calibration.temperature)
        last = Layer(out["weight"] / temperature, out["bias"] / temperature)
        if "hidden_weight" not in out:
            return Head(labels, (last,))
        return Head(labels, (Layer(out["hidden_weight"], out["hidden_bias"]), last))

    def _tensors(self, name: str, wanted: dict[str, type]) -> dict[str, np.ndarray]:
        try:
            table = load(self._store.read(name))
        except (SafetensorError, ValueError, KeyError) as error:
            raise InputError(f"{self.path}: {name} is not a safetensors file ({error}); get the pack again") from None
        for key, dtype in wanted.items():
            if key not in table or table[key].dtype != dtype:
                raise InputError(f"{self.path}: {name} has no {np.dtype(dtype)} tensor {key!r}; get the pack again")
        return {key: table[key] for key in wanted}


def load_pack(pack: str | Path = DEFAULT) -> Pack:
    """Load a pack by name ("default") or path (a folder or a .t2mpack file); an unchanged one is loaded once.

    Raises:
        InputError: no such pack, or a broken one.
    """
    path = default_path() if str(pack) == DEFAULT else Path(pack)
    index = path / INDEX if path.is_dir() else path
    stamp = index.stat().st_mtime_ns if index.exists() else 0
    return _load(path, stamp)


@lru_cache(maxsize=4)
def _load(path: Path, stamp: int) -> Pack:
    return Pack(PackStore(path))


def default_path() -> Path:
    """The folder of the pack that comes with the wheel."""
    return Path(__file__).parent / "default"


def _info(store: PackStore) -> PackInfo:
    index = store.index
    if index.get("schema_version") != SCHEMA:
        found = index.get("schema_version")
        raise InputError(f"{store.path}: the pack has schema version {found!r}; this t2m-edge reads {SCHEMA}")
    try:
        spec, features = index["input"], index["features"]
        info = PackInfo(
            name=str(index["name"]),
            version=str(index["version"]),
            licence=str(index["licence"]),
            input=InputSpec(
                height=int(spec["height"]),
                width=int(spec["width"]),
                crop=str(spec["crop"]),
                preparation_version=int(spec["preparation_version"]),
                mean=tuple(float(v) for v in spec["mean"]),
                std=tuple(float(v) for v in spec["std"]),
            ),
            features=int(features["size"]),
            unit=bool(features["unit"]),
            scale=float(features["scale"]),
            zero_point=int(features["zero_point"]),
            max_classes=int(index["max_classes"]),
            provenance=dict(index["provenance"]),
            accuracy=dict(index["accuracy"]),
            independent=_independent(index),
            parity=dict(index.get("backbone_parity", {})),
            prompts=_prompts(index.get("prompts")),
            logits=_interval(index.get("logits", (0, 0))),
            calibration=Calibration.from_dict(index["calibration"]) if "calibration" in index else Calibration(),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{store.path}: {INDEX} is off at {error}; get the pack again") from None
    return info


def _prompts(found: dict[str, Any] | None) -> Prompts:
    if found is None:
        return PROMPTS
    templates = tuple((str(text), float(weight)) for text, weight in found["templates"])
    prompts = Prompts(templates, float(found["name_weight"]))
    weights = [weight for _, weight in templates] + [prompts.name_weight]
    if not 1 <= len(templates) <= MAX_TEMPLATES or not all(0 < w < 1e6 for w in weights):
        raise ValueError("prompts")
    return prompts


def _interval(ends: Any) -> tuple[float, float]:
    low, high = (float(end) for end in ends)
    if not -1e6 < low <= high < 1e6:
        raise ValueError("logits")
    return low, high


def _independent(index: dict[str, Any]) -> bool:
    """Whether classes are made one by one; packs that do not say have it in the recipe of their hypernetwork."""
    if "independent_classes" in index:
        return index["independent_classes"] is True
    recipe = index["provenance"].get("pack", {}).get("head", {})
    return recipe.get("mixing") is False and recipe.get("hidden") == 0
