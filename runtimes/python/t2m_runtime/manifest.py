"""The manifest: the facts that every artifact carries, as JSON.

``Manifest.from_json`` treats its input as hostile: sizes and counts are capped, every field is checked, unknown keys
are ignored (a later version may add some), anything off is an InputError that names the field.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from t2m_runtime.errors import InputError
from t2m_runtime.head import MAX_LABELS
from t2m_runtime.json_fields import (
    SHA256,
    boolean,
    field,
    integer,
    json_object,
    list_of,
    number,
    number_or_none,
    parse_object,
    require,
    string,
)
from t2m_runtime.preparation import CROPS, MAX_SIDE, PREPARATION_VERSION
from t2m_runtime.self_test import HeadTest, SelfTest, read_self_test

MANIFEST_SCHEMA = 1
NONE_LABEL = "none of these"
"""The class that ``compile --reject`` adds; where it is best, the image is rejected."""
NEVER_REACHED = 1e9
"""Its threshold, which is above every score: that is how a runtime rejects the image."""
PRESENT = 0.5
"""Score of a multi-label model from which a class without a threshold is present."""
MAX_LABEL_CHARACTERS = 1000
TARGETS = ("tflite", "onnx", "head", "c")
PRECISIONS = ("fp32", "fp16", "int8", "int8-dynamic")
OUTPUT_DTYPES = ("float32", "uint8", "int8")
SCORES = ("softmax", "logits", "sigmoid")

# Control characters and line separators: a label must stay on its line in labels.txt and in a terminal.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class InputSpec:
    """What the model takes: one uint8 RGB image (1, height, width, 3).

    Args:
        height: rows.
        width: columns.
        crop: "center" or "stretch" (see preparation.py).
        preparation_version: version of the preparation that the model was trained with.
        mean: subtracted inside the graph, in uint8 units, one for each of R, G, B. For information.
        std: divided by inside the graph, in uint8 units. For information.
    """

    height: int
    width: int
    crop: str = "center"
    preparation_version: int = PREPARATION_VERSION
    mean: tuple[float, float, float] = (128.0, 128.0, 128.0)
    std: tuple[float, float, float] = (128.0, 128.0, 128.0)


@dataclass(frozen=True)
class OutputSpec:
    """What the model gives: (1, k) of dtype, "softmax" scores that sum to 1, raw "logits", or "sigmoid": a score from 0
    to 1 for each class by itself, of which any number may be present.

    Args:
        scale, zero_point: of an integer dtype: ``score = (number - zero_point) * scale``. 0 for float32.
    """

    dtype: str = "float32"
    scores: str = "softmax"
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True)
class PackRef:
    """The pack that the artifact was made from; sha256 is that of its pack.json."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything that a runtime needs to know about an artifact.

    Args:
        schema_version: MANIFEST_SCHEMA.
        name: of the task.
        labels: class names, in output order; unique, one line each, at most MAX_LABEL_CHARACTERS.
        thresholds: for each label, the score under which an image is "none of these"; None is no limit.
        target: one of TARGETS.
        precision: one of PRECISIONS.
        input: what the model takes.
        output: what it gives.
        pack: where it came from.
        backbone_sha256: names the backbone whose features the head reads, the same for every target: the hash of the
            pack's .tflite graph, int8 or (for the float precisions) fp32. A head fits only the backbone that it was
            made for.
        tool_version: version of t2m-edge that wrote it.
        made_with: what else decides its bytes: versions of libraries, the processor's kind; empty where unknown.
        self_test: SelfTest of a full model, HeadTest of a head file, None when the artifact carries none.
        reject: share of outside images that may still get a class's name, as asked at ``compile --reject``; the last
            label is then NONE_LABEL, with a threshold that no score reaches. None where nothing was asked.
        independent: whether each row of the head comes from its class alone, so that classes can be added and removed
            one by one.

    Raises:
        InputError: a field out of range, when it is constructed as when it is read.
    """

    schema_version: int
    name: str
    labels: tuple[str, ...]
    thresholds: tuple[float | None, ...]
    target: str
    precision: str
    input: InputSpec
    output: OutputSpec
    pack: PackRef
    backbone_sha256: str
    tool_version: str
    self_test: SelfTest | HeadTest | None = None
    independent: bool = False
    made_with: str = ""
    reject: float | None = None

    def __post_init__(self) -> None:
        _check(self)

    def to_json(self) -> str:
        """One line of JSON; the same manifest gives the same text.

        ``thresholds`` is left out where no class has one, ``self_test`` where there is none; a head file, kept small,
        has no ``made_with`` and no ``output``, ``mean`` and ``std``, which are matters of the full model.
        """
        body: dict[str, Any] = {
            "schema_version": self.schema_version,
            "name": self.name,
            "labels": list(self.labels),
        }
        if any(threshold is not None for threshold in self.thresholds):
            body["thresholds"] = list(self.thresholds)
        body["target"] = self.target
        body["precision"] = self.precision
        body["input"] = {
            "height": self.input.height,
            "width": self.input.width,
            "crop": self.input.crop,
            "preparation_version": self.input.preparation_version,
        }
        if self.target != "head":
            body["input"].update(mean=list(self.input.mean), std=list(self.input.std))
            body["output"] = {"dtype": self.output.dtype, "scores": self.output.scores}
        if self.output.dtype != "float32":
            body["output"].update(scale=self.output.scale, zero_point=self.output.zero_point)
        body["pack"] = {"name": self.pack.name, "version": self.pack.version, "sha256": self.pack.sha256}
        body["backbone_sha256"] = self.backbone_sha256
        body["tool_version"] = self.tool_version
        if self.made_with and self.target != "head":
            body["made_with"] = self.made_with
        if self.independent:
            body["independent"] = True
        if self.reject is not None:
            body["reject"] = self.reject
        if self.self_test is not None:
            body["self_test"] = self.self_test.to_dict()
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Reads and checks a manifest.

        Args:
            text: JSON, at most MAX_MANIFEST_BYTES; bytes are UTF-8.

        Raises:
            InputError: anything that to_json would not have written (unknown keys are ignored).
        """
        body = parse_object(text)
        version = field(body, "schema_version", integer)
        if version > MANIFEST_SCHEMA:
            raise InputError(
                f"the manifest has schema version {version} and this t2m-edge-runtime reads up to {MANIFEST_SCHEMA}; "
                "upgrade t2m-edge-runtime"
            )
        labels = field(body, "labels", list_of(string, MAX_LABELS))
        thresholds = (None,) * len(labels)
        if "thresholds" in body:
            thresholds = field(body, "thresholds", list_of(number_or_none, MAX_LABELS))
        target = field(body, "target", string)
        input_, pack = (field(body, key, json_object) for key in ("input", "pack"))
        plain = {"mean": [128.0] * 3, "std": [128.0] * 3} if target == "head" else {}
        input_ = {**plain, **input_}
        output = OutputSpec() if target == "head" else _output_spec(field(body, "output", json_object))
        self_test = None
        if body.get("self_test") is not None:
            self_test = read_self_test(field(body, "self_test", json_object))
        return cls(
            schema_version=version,
            name=field(body, "name", string),
            labels=labels,
            thresholds=thresholds,
            target=target,
            precision=field(body, "precision", string),
            input=InputSpec(
                height=field(input_, "height", integer),
                width=field(input_, "width", integer),
                crop=field(input_, "crop", string),
                preparation_version=field(input_, "preparation_version", integer),
                mean=field(input_, "mean", list_of(number, 3)),
                std=field(input_, "std", list_of(number, 3)),
            ),
            output=output,
            pack=PackRef(
                name=field(pack, "name", string),
                version=field(pack, "version", string),
                sha256=field(pack, "sha256", string),
            ),
            backbone_sha256=field(body, "backbone_sha256", string),
            tool_version=field(body, "tool_version", string),
            self_test=self_test,
            independent=field(body, "independent", boolean) if "independent" in body else False,
            made_with=field(body, "made_with", string) if "made_with" in body else "",
            reject=field(body, "reject", number) if "reject" in body else None,
        )


def _output_spec(body: dict[str, Any]) -> OutputSpec:
    dtype, scores = field(body, "dtype", string), field(body, "scores", string)
    if dtype == "float32":
        return OutputSpec(dtype, scores)
    return OutputSpec(dtype, scores, field(body, "scale", number), field(body, "zero_point", integer))


def _check(manifest: Manifest) -> None:
    """The ranges; types were checked by from_json, and are the caller's duty when constructed."""
    k = len(manifest.labels)
    require(1 <= manifest.schema_version <= MANIFEST_SCHEMA, "schema_version", f"is not 1 to {MANIFEST_SCHEMA}")
    _check_text("name", manifest.name)
    require(1 <= k <= MAX_LABELS, "labels", f"has {k} items, not 1 to {MAX_LABELS}")
    for label in manifest.labels:
        _check_text("labels", label)
        require(label == label.strip(), "labels", f"has {label!r}, with space around it")
    require(len(set(manifest.labels)) == k, "labels", "has the same name twice")
    require(len(manifest.thresholds) == k, "thresholds", f"has {len(manifest.thresholds)} items for {k} labels")
    for threshold in manifest.thresholds:
        require(threshold is None or math.isfinite(threshold), "thresholds", "has a number that is not finite")
    if manifest.reject is not None:
        require(0 < manifest.reject < 1, "reject", "is not between 0 and 1")
        require(NONE_LABEL in manifest.labels, "reject", f"is there without the label {NONE_LABEL!r}")
    require(manifest.target in TARGETS, "target", f"is {manifest.target[:40]!r}, not one of {', '.join(TARGETS)}")
    require(
        manifest.precision in PRECISIONS,
        "precision",
        f"is {manifest.precision[:40]!r}, not one of {', '.join(PRECISIONS)}",
    )
    spec = manifest.input
    require(1 <= spec.height <= MAX_SIDE and 1 <= spec.width <= MAX_SIDE, "input", f"has a side not 1 to {MAX_SIDE}")
    require(spec.crop in CROPS, "input", f"has a crop that is not one of {', '.join(CROPS)}")
    require(
        1 <= spec.preparation_version <= PREPARATION_VERSION,
        "input",
        f"needs preparation version {spec.preparation_version}, this runtime knows {PREPARATION_VERSION}; upgrade it",
    )
    require(len(spec.mean) == 3 and len(spec.std) == 3, "input", "needs three means and three deviations")
    require(all(math.isfinite(value) for value in spec.mean), "input", "has a mean that is not finite")
    require(all(math.isfinite(value) and value > 0 for value in spec.std), "input", "has a deviation not above 0")
    require(manifest.output.dtype in OUTPUT_DTYPES, "output", f"has a dtype not one of {', '.join(OUTPUT_DTYPES)}")
    require(manifest.output.scores in SCORES, "output", f"has scores not one of {', '.join(SCORES)}")
    if manifest.output.dtype != "float32":
        low = -128 if manifest.output.dtype == "int8" else 0
        require(1e-30 <= manifest.output.scale <= 1e30, "output", "has a scale that is not a positive number")
        require(low <= manifest.output.zero_point <= low + 255, "output", f"has a zero point not from {low}")
    _check_text("pack", manifest.pack.name)
    _check_text("pack", manifest.pack.version)
    require(SHA256.match(manifest.pack.sha256) is not None, "pack", "has a sha256 that is not 64 hex digits")
    require(SHA256.match(manifest.backbone_sha256) is not None, "backbone_sha256", "is not 64 hex digits")
    _check_text("tool_version", manifest.tool_version)
    if manifest.made_with:
        _check_text("made_with", manifest.made_with)
    test = manifest.self_test
    if test is not None:
        require((manifest.target == "head") == isinstance(test, HeadTest), "self_test", "is that of another target")
        require(len(test.expected) == k, "self_test", f"expects {len(test.expected)} outputs for {k} labels")
        test.check()


def _check_text(key: str, value: str) -> None:
    require(0 < len(value) <= MAX_LABEL_CHARACTERS, key, f"has a text of {len(value)} characters, not 1 to 1000")
    require(_CONTROL.search(value) is None, key, f"has {value[:60]!r}, with a control character in it")
