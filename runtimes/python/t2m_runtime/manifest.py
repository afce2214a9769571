"""The manifest: the facts that every artifact carries, as JSON.

``Manifest.from_json`` treats its input as hostile: sizes and counts are capped, every field is checked, unknown keys
are ignored (a later version may add some), anything off is an InputError that names the field.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from t2m_runtime.errors import InputError
from t2m_runtime.head import MAX_LABELS
from t2m_runtime.preparation import CROPS, MAX_SIDE, PREPARATION_VERSION

MANIFEST_SCHEMA = 1
NONE_LABEL = "none of these"
"""The class that ``compile --reject`` adds; where it is best, the image is rejected."""
NEVER_REACHED = 1e9
"""Its threshold, which is above every score: that is how a runtime rejects the image."""
PRESENT = 0.5
"""Score of a multi-label model from which a class without a threshold is present."""
MAX_MANIFEST_BYTES = 4 * 2**20
MAX_LABEL_CHARACTERS = 1000
TARGETS = ("tflite", "onnx", "head", "c")
PRECISIONS = ("fp32", "fp16", "int8", "int8-dynamic")
OUTPUT_DTYPES = ("float32", "uint8", "int8")
SCORES = ("softmax", "logits", "sigmoid")

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
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
class SelfTest:
    """One image and the output that the artifact must give for it.

    Args:
        input_sha256: of the uint8 (height, width, 3) pixels, row by row.
        input: the image as PNG, base64.
        expected: the model's k outputs as written when the artifact was made (dequantised).
        tolerance: largest absolute difference that another engine may show.
    """

    input_sha256: str
    input: str
    expected: tuple[float, ...]
    tolerance: float

    @classmethod
    def from_image(cls, image: np.ndarray, expected: tuple[float, ...], tolerance: float) -> SelfTest:
        """Packs a uint8 (height, width, 3) image and its expected outputs."""
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image, dtype=np.uint8)).save(file, "PNG", optimize=True)
        return cls.from_png(file.getvalue(), image, expected, tolerance)

    @classmethod
    def from_png(cls, png: bytes, image: np.ndarray, expected: tuple[float, ...], tolerance: float) -> SelfTest:
        """The same from an image and its PNG form."""
        return cls(
            input_sha256=hashlib.sha256(np.ascontiguousarray(image, dtype=np.uint8).tobytes()).hexdigest(),
            input=base64.b64encode(png).decode("ascii"),
            expected=tuple(float(value) for value in expected),
            tolerance=float(tolerance),
        )

    def png(self) -> bytes:
        """The image as PNG."""
        return base64.b64decode(self.input)

    def image(self, height: int, width: int) -> np.ndarray:
        """The image, uint8 (height, width, 3).

        Raises:
            InputError: it is not a PNG of that size, or its pixels do not have the stated hash.
        """
        from PIL import Image

        try:
            with Image.open(io.BytesIO(base64.b64decode(self.input, validate=True)), formats=["PNG"]) as png:
                if png.size != (width, height) or png.mode != "RGB":
                    raise InputError(f"the self-test image is {png.size} {png.mode}; expected {(width, height)} RGB")
                pixels = np.array(png, dtype=np.uint8)
        except InputError:
            raise
        except Exception as error:  # whatever broken base64 or PNG bytes raise
            raise InputError(f"the self-test image is broken ({error}); make the artifact again") from error
        if hashlib.sha256(pixels.tobytes()).hexdigest() != self.input_sha256:
            raise InputError("the self-test image does not match its sha256; make the artifact again")
        return pixels


@dataclass(frozen=True)
class HeadTest:
    """The self-test of a head file: a row of the pack's feature bank and the logits that the head must give for it.

    Args:
        bank_index: which row.
        expected: k logits, dequantised.
        tolerance: largest absolute difference.
    """

    bank_index: int
    expected: tuple[float, ...]
    tolerance: float


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
        if isinstance(self.self_test, HeadTest):
            body["self_test"] = {
                "bank_index": self.self_test.bank_index,
                "expected": list(self.self_test.expected),
                "tolerance": self.self_test.tolerance,
            }
        elif self.self_test is not None:
            body["self_test"] = {
                "input_sha256": self.self_test.input_sha256,
                "input": self.self_test.input,
                "expected": list(self.self_test.expected),
                "tolerance": self.self_test.tolerance,
            }
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Reads and checks a manifest.

        Args:
            text: JSON, at most MAX_MANIFEST_BYTES; bytes are UTF-8.

        Raises:
            InputError: anything that to_json would not have written (unknown keys are ignored).
        """
        body = _parse(text)
        version = _field(body, "schema_version", _integer)
        if version > MANIFEST_SCHEMA:
            raise InputError(
                f"the manifest has schema version {version} and this t2m-edge-runtime reads up to {MANIFEST_SCHEMA}; "
                "upgrade t2m-edge-runtime"
            )
        labels = _field(body, "labels", _list_of(_text, MAX_LABELS))
        thresholds = (None,) * len(labels)
        if "thresholds" in body:
            thresholds = _field(body, "thresholds", _list_of(_number_or_none, MAX_LABELS))
        target = _field(body, "target", _text)
        input_, pack = (_field(body, key, _object) for key in ("input", "pack"))
        plain = {"mean": [128.0] * 3, "std": [128.0] * 3} if target == "head" else {}
        input_ = {**plain, **input_}
        output = OutputSpec() if target == "head" else _output_spec(_field(body, "output", _object))
        self_test = None
        if body.get("self_test") is not None:
            self_test = _self_test(_field(body, "self_test", _object))
        return cls(
            schema_version=version,
            name=_field(body, "name", _text),
            labels=labels,
            thresholds=thresholds,
            target=target,
            precision=_field(body, "precision", _text),
            input=InputSpec(
                height=_field(input_, "height", _integer),
                width=_field(input_, "width", _integer),
                crop=_field(input_, "crop", _text),
                preparation_version=_field(input_, "preparation_version", _integer),
                mean=_field(input_, "mean", _list_of(_number, 3)),
                std=_field(input_, "std", _list_of(_number, 3)),
            ),
            output=output,
            pack=PackRef(
                name=_field(pack, "name", _text),
                version=_field(pack, "version", _text),
                sha256=_field(pack, "sha256", _text),
            ),
            backbone_sha256=_field(body, "backbone_sha256", _text),
            tool_version=_field(body, "tool_version", _text),
            self_test=self_test,
            independent=_field(body, "independent", _boolean) if "independent" in body else False,
            made_with=_field(body, "made_with", _text) if "made_with" in body else "",
            reject=_field(body, "reject", _number) if "reject" in body else None,
        )


def _output_spec(body: dict[str, Any]) -> OutputSpec:
    dtype, scores = _field(body, "dtype", _text), _field(body, "scores", _text)
    if dtype == "float32":
        return OutputSpec(dtype, scores)
    return OutputSpec(dtype, scores, _field(body, "scale", _number), _field(body, "zero_point", _integer))


def _self_test(body: dict[str, Any]) -> SelfTest | HeadTest:
    expected, tolerance = _field(body, "expected", _list_of(_number, MAX_LABELS)), _field(body, "tolerance", _number)
    if "bank_index" in body:
        return HeadTest(_field(body, "bank_index", _integer), expected, tolerance)
    return SelfTest(_field(body, "input_sha256", _text), _field(body, "input", _text), expected, tolerance)


def _parse(text: str | bytes) -> dict[str, Any]:
    if len(text) > MAX_MANIFEST_BYTES:
        raise InputError(f"the manifest has {len(text)} bytes; expected at most {MAX_MANIFEST_BYTES}")
    try:
        if not isinstance(text, str):
            text = bytes(text).decode("utf-8")
        body = json.loads(text, parse_int=_parse_integer, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the manifest is not JSON ({str(error)[:200]}); make the artifact again") from error
    if not isinstance(body, dict):
        raise InputError("the manifest is not a JSON object; make the artifact again")
    return body


def _parse_integer(digits: str) -> int:
    # int() takes quadratic time on long numbers.
    if len(digits) > 20:
        raise ValueError("a number has more than 20 digits")
    return int(digits)


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")


def _field(body: dict[str, Any], key: str, read: Callable[[Any], Any]) -> Any:
    if key not in body:
        raise InputError(f"the manifest has no {key!r}; make the artifact again")
    try:
        return read(body[key])
    except InputError as error:
        raise InputError(f"the manifest's {key!r} {error}; make the artifact again") from None


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError("is not a JSON object")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InputError("is not a text")
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError("is not a whole number")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError("is not true or false")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise InputError("is not a finite number")
    return float(value)


def _number_or_none(value: Any) -> float | None:
    return None if value is None else _number(value)


def _list_of(read: Callable[[Any], Any], most: int) -> Callable[[Any], tuple]:
    def read_list(value: Any) -> tuple:
        if not isinstance(value, list):
            raise InputError("is not a list")
        if len(value) > most:
            raise InputError(f"has {len(value)} items, more than {most}")
        return tuple(read(item) for item in value)

    return read_list


def _check(manifest: Manifest) -> None:
    """The ranges; types were checked by from_json, and are the caller's duty when constructed."""
    require, k = _require, len(manifest.labels)
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
    require(_SHA256.match(manifest.pack.sha256) is not None, "pack", "has a sha256 that is not 64 hex digits")
    require(_SHA256.match(manifest.backbone_sha256) is not None, "backbone_sha256", "is not 64 hex digits")
    _check_text("tool_version", manifest.tool_version)
    if manifest.made_with:
        _check_text("made_with", manifest.made_with)
    test = manifest.self_test
    if test is not None:
        if isinstance(test, HeadTest):
            require(0 <= test.bank_index < 2**31, "self_test", "has a bank index that is not a row")
        else:
            require(_SHA256.match(test.input_sha256) is not None, "self_test", "has a sha256 that is not 64 hex digits")
            require(test.input.isascii(), "self_test", "has an input that is not base64")
        require((manifest.target == "head") == isinstance(test, HeadTest), "self_test", "is that of another target")
        require(len(test.expected) == k, "self_test", f"expects {len(test.expected)} outputs for {k} labels")
        require(
            all(math.isfinite(value) for value in test.expected), "self_test", "expects a number that is not finite"
        )
        require(math.isfinite(test.tolerance) and test.tolerance >= 0, "self_test", "has a tolerance under 0")


def _check_text(key: str, value: str) -> None:
    _require(0 < len(value) <= MAX_LABEL_CHARACTERS, key, f"has a text of {len(value)} characters, not 1 to 1000")
    _require(_CONTROL.search(value) is None, key, f"has {value[:60]!r}, with a control character in it")


def _require(condition: bool, key: str, problem: str) -> None:
    if not condition:
        raise InputError(f"the manifest's {key!r} {problem}")
