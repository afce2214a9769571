"""The two kinds of trained classifiers that ``inject`` extends: those of other tools, and artifacts of ``compile``.

Both have the same face: the last layer's rows and their names, what that layer reads for photos, and a file written
with more rows, the old ones bit for bit the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from t2m_edge.compiler.editing import Artifact, read_artifact, write_edited
from t2m_edge.compiler.row_names import RowNames
from t2m_edge.compiler.saving import check_output, save
from t2m_edge.task import Task
from t2m_exporters.foreign_runs import Input, Runner
from t2m_exporters.last_layer import LastLayer, Rows
from t2m_runtime import Backbone, InputError, Layer, QuantizedHead, QuantizedLayer, WorkError
from t2m_runtime.artifact import kind_of, manifest_of, naming, read_bytes
from t2m_runtime.head_file import read_head_manifest
from t2m_runtime.self_test import HeadTest

NOISE_IMAGES = 2


@dataclass(frozen=True)
class Written:
    """What a written file is.

    labels_file: the names beside it, where the file holds none. logit_error: largest difference of an old class's logit
    on images of noise, None where the file is no model that runs.
    """

    size_bytes: int
    labels_file: str | None = None
    logit_error: float | None = None


def open_model(path: str | Path, given: RowNames | None) -> OwnModel | ForeignModel:
    """A classifier in a file.

    Args:
        given: the names of its rows; None takes those that it carries.

    Raises:
        InputError: damaged, its last layer is of another kind, it carries no names, or they do not fit the rows.
    """
    data = read_bytes(path)
    kind = kind_of(data)
    if kind is None:
        raise InputError(f"{path} is no .tflite, .onnx or safetensors file; give a trained classifier")
    with naming(str(path)):
        ours = _is_ours(data, kind)
    if ours:
        model: OwnModel | ForeignModel = OwnModel(str(path), read_artifact(path), given)
    else:
        model = ForeignModel(str(path), data, kind, given)
    model.names.check_count(len(model.layer.rows.weight))
    return model


class OwnModel:
    """An artifact of ``compile``: its head's last layer grows, its manifest and self-test with it."""

    def __init__(self, path: str, artifact: Artifact, given: RowNames | None) -> None:
        manifest, head = artifact.manifest, artifact.head
        if manifest.output.scores == "sigmoid":
            raise InputError(f"{path} is multi-label: its classes have levels of their own; compile all of them anew")
        if manifest.reject is not None:
            raise InputError(f"{path} has a class that rejects, made for its own; compile all classes with --reject")
        self.path, self._artifact = path, artifact
        self.kind = artifact.kind
        self.names = given or RowNames.bare(manifest.labels, path)
        last = head.layers[-1]
        if isinstance(last, Layer):
            rows = Rows(last.weight, last.bias)
        else:
            assert isinstance(head, QuantizedHead)
            scale = head.layers[-2].output_scale if len(head.layers) > 1 else head.input_scale
            rows = Rows(last.weight, last.bias, last.weight_scale, np.zeros(len(last.weight_scale), np.int64), scale)
        self.layer = LastLayer(rows, manifest.labels, "head")

    def warnings(self, task: Task) -> list[str]:
        """What serves better than new rows learnt from the old ones: rows of the pack's hypernetwork."""
        manifest, better = self._artifact.manifest, f"{self.path} is of compile, which makes better rows"
        if not manifest.independent:
            return [f"{better}: compile its classes and the new ones in one task"]
        options = "" if manifest.precision == "int8" else " --precision fp32"
        options += "" if manifest.pack.name == "default" else f" --pack {manifest.pack.name}"
        alone = len(task.classes) == 1
        more = " with any second class in it (compile takes two)" if alone else ""
        only = f" {shlex.quote(task.classes[0].name)}" if alone else ""
        return [
            f"{better}: t2m-edge compile {task.source or 'TASK'} --target head{options} -o more.t2mh{more}, "
            f"then t2m-edge add {self.path} more.t2mh{only} -o FILE"
        ]

    def photo_features(self, photos: np.ndarray) -> np.ndarray | None:
        """What the last layer reads for photos uint8 (n, h, w, 3): float64 (n, d).

        None where there is no graph, or the head has a hidden layer.
        """
        own = self._artifact
        if own.kind == "head" or len(own.head.layers) > 1:
            return None
        with Backbone.load(own.data) as backbone:
            shape = (1, own.manifest.input.height, own.manifest.input.width, 3)
            inputs = Input(shape, np.dtype(np.uint8), 0.0, 0).photos(photos)
            found = np.stack([backbone.features(x[0]) for x in inputs]).astype(np.float64)
        if isinstance(own.head, QuantizedHead):
            found = (found - own.head.input_zero_point) * own.head.input_scale
        return found

    def write(self, rows: Rows, task: Task, output: Path, overwrite: bool) -> Written:
        """The artifact with these rows, those of the task's classes last."""
        own = self._artifact
        last = own.head.layers[-1]
        if isinstance(last, QuantizedLayer):
            last = replace(last, weight=rows.weight, weight_scale=rows.scale, bias=rows.bias)
        else:
            last = Layer(rows.weight, rows.bias)
        labels = own.manifest.labels + tuple(c.name for c in task.classes)
        thresholds = own.manifest.thresholds + tuple(c.threshold for c in task.classes)
        head = replace(own.head, labels=labels, layers=(*own.head.layers[:-1], last))
        manifest = replace(own.manifest, labels=labels, thresholds=thresholds, self_test=None)
        test = None if isinstance(own.manifest.self_test, HeadTest) else own.manifest.self_test
        return Written(write_edited(own, head, manifest, output, overwrite, test).size_bytes)


class ForeignModel:
    """A classifier of another tool: a .tflite, an .onnx, or weights alone in a safetensors file."""

    def __init__(self, path: str, data: bytes, kind: str, given: RowNames | None) -> None:
        self.path, self._data = path, data
        self._weights_alone = kind == "head"
        self.kind = "safetensors" if self._weights_alone else kind
        if self._weights_alone:
            from t2m_exporters.last_layer_safetensors import find_names

            if given is None:
                raise _nameless(path)
            with naming(path):
                self._tensors = find_names(data, len(given.names))
        with naming(path):
            self.layer = self._read(data)
        if given is None and self.layer.labels is None:
            raise _nameless(path)
        self.names = given or RowNames.bare(self.layer.labels, path)

    def warnings(self, task: Task) -> list[str]:
        """What of the task has no place in the file."""
        if all(c.threshold is None for c in task.classes):
            return []
        return ["thresholds are left out: the model has no place for them"]

    def photo_features(self, photos: np.ndarray) -> np.ndarray | None:
        """What the last layer reads for photos uint8 (n, h, w, 3): float64 (n, d).

        None where there is no graph, or it takes no colour images.
        """
        if self._weights_alone:
            return None
        runner = Runner(self._cut(self._data, "features"), self.kind)
        inputs = runner.input.photos(photos)
        return None if inputs is None else runner.run(inputs)

    def write(self, rows: Rows, task: Task, output: Path, overwrite: bool) -> Written:
        """The model with these rows, those of the task's classes last; names beside it where it carries none.

        Raises:
            WorkError: it does not keep its old rows.
        """
        labels = (*self.names.names, *(c.name for c in task.classes))
        labels_file = None if self.layer.labels else beside(output)
        if labels_file:
            check_output(labels_file, overwrite)
        written = self._grown(rows, labels)
        error = self._check(written, len(labels))
        save(output, written, overwrite)
        if labels_file:
            save(labels_file, ("\n".join(labels) + "\n").encode(), overwrite)
        return Written(len(written), labels_file and str(labels_file), error)

    def _read(self, data: bytes) -> LastLayer:
        if self.kind == "tflite":
            from t2m_exporters.last_layer_tflite import read_tflite

            return read_tflite(data)
        if self.kind == "onnx":
            from t2m_exporters.last_layer_onnx import read_onnx

            return read_onnx(data)
        from t2m_exporters.last_layer_safetensors import read_safetensors

        return read_safetensors(data, self._tensors)

    def _grown(self, rows: Rows, labels: tuple[str, ...]) -> bytes:
        if self.kind == "tflite":
            from t2m_exporters.last_layer_tflite import write_tflite

            return write_tflite(self._data, rows, labels if self.layer.labels else None)
        if self.kind == "onnx":
            from t2m_exporters.last_layer_onnx import write_onnx

            return write_onnx(self._data, rows, labels if self.layer.labels else None)
        from t2m_exporters.last_layer_safetensors import write_safetensors

        return write_safetensors(self._data, rows, self._tensors)

    @property
    def _cut(self) -> Callable[[bytes, str], bytes]:
        if self.kind == "tflite":
            from t2m_exporters.last_layer_tflite import cut_tflite

            return cut_tflite
        from t2m_exporters.last_layer_onnx import cut_onnx

        return cut_onnx

    def _check(self, written: bytes, rows_after: int) -> float | None:
        """How far the old logits moved on noise; WorkError unless the old rows are the very same."""
        k = len(self.layer.rows.weight)
        if not _same(self.layer.rows, self._read(written).rows):
            raise WorkError("the written model's old rows are not the same; nothing was written, report it")
        if self._weights_alone:
            return None
        runners = [Runner(self._cut(data, "logits"), self.kind) for data in (self._data, written)]
        inputs = runners[0].input.noise(NOISE_IMAGES)
        was, now = (runner.run(inputs) for runner in runners)
        whole = Runner(written, self.kind).run(inputs[:1])
        if (was.shape[1], now.shape[1], whole.shape[1]) != (k, rows_after, rows_after):
            raise WorkError("the written model's output has not one score a class; nothing was written, report it")
        return float(np.abs(was - now[:, :k]).max())


def beside(output: Path) -> Path:
    """The labels file of a model that holds no names."""
    return output.with_suffix(".labels.txt")


def photo_views(images: np.ndarray) -> np.ndarray:
    """Each image and its four overlapping quarters, at the image's size: uint8 (5 n, h, w, 3)."""
    from PIL import Image

    height, width = images.shape[1:3]
    high, wide = height * 7 // 12, width * 7 // 12
    views = []
    for image in images:
        views.append(image)
        for top in (0, height - high):
            for left in (0, width - wide):
                part = Image.fromarray(image[top : top + high, left : left + wide])
                views.append(np.asarray(part.resize((width, height), Image.Resampling.BILINEAR)))
    return np.stack(views)


def _nameless(path: str) -> InputError:
    return InputError(f"{path} carries no class names; give them with --class-names FILE, one a line")


def _is_ours(data: bytes, kind: str) -> bool:
    """Whether a file carries our manifest."""
    if kind == "head":
        return read_head_manifest(data) is not None
    try:
        return manifest_of(data, "the model") is not None
    except InputError:
        return False


def _same(old: Rows, new: Rows) -> bool:
    k = len(old.weight)
    same = np.array_equal(old.weight, new.weight[:k])
    if old.bias is not None:
        same = same and np.array_equal(old.bias, new.bias[:k])
    if old.scale is not None:
        same = same and np.array_equal(old.scale, new.scale[: len(old.scale)])
    return bool(same)
