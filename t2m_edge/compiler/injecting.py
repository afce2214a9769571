"""``inject``: new classes in a classifier that was trained elsewhere, from its own rows and the names alone."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from t2m_edge.compiler.cells import check_ending
from t2m_edge.compiler.known_words import check_words
from t2m_edge.compiler.negatives_alone import negatives_alone
from t2m_edge.compiler.row_names import read_names
from t2m_edge.compiler.row_trust import NAMED, Trust, row_trust
from t2m_edge.compiler.saving import check_output
from t2m_edge.compiler.text_to_rows import MIN_CLASSES, Directions, NewRows, calibrated_rows, predict_directions
from t2m_edge.compiler.trained_models import ForeignModel, OwnModel, beside, open_model, photo_views
from t2m_edge.hypernetworks.class_vectors import class_vectors, unit
from t2m_edge.packs import Pack, load_pack
from t2m_edge.task import Task, read_task
from t2m_exporters.last_layer import Rows
from t2m_runtime import InputError


@dataclass(frozen=True)
class InjectReport:
    """What was written and how far to trust it.

    rows_before, rows_after: classes; new: the new classes' names, in the order of their rows.
    layer: what the last layer is; precision: type of its weights.
    sharpness, strength: settings that left-out rows chose; cosine: of the left-out rows to the true ones, mean;
    right: share of left-out rows nearer to their own true row than to those of ``rivals`` random other classes.
    offset: of the new biases, against the mean of the old ones; None where the layer can have no bias.
    photos, taken: photos of other things that the model was run on, and the share on which a new class still wins (None
    where none were run).
    clipped: weights of new rows beyond what the stored type reaches; rounding: the least cosine of a stored row to the
    wanted one. logit_error: largest difference of an old class's logit on images of noise, None where the file is no
    model that runs. The old rows and their biases are bit-identical, or nothing is written.
    confusions: (new class, other class, cosine of their rows), the riskiest first.
    """

    output: str
    labels_file: str | None
    size_bytes: int
    kind: str
    layer: str
    precision: str
    rows_before: int
    rows_after: int
    new: tuple[str, ...]
    pack: str
    sharpness: float
    strength: float
    cosine: float
    right: float
    rivals: int
    offset: float | None
    photos: int
    taken: float | None
    clipped: int
    rounding: float
    logit_error: float | None
    confusions: tuple[tuple[str, str, float], ...]
    seconds: float
    warnings: tuple[str, ...]


def inject(
    model: str | Path,
    task: Task | str | Path,
    output: str | Path,
    *,
    class_names: str | Path | None = None,
    pack: str | Path | Pack = "default",
    overwrite: bool = False,
) -> InjectReport:
    """Add a task's classes to an existing classifier.

    Args:
        model: a .tflite or .onnx classifier whose last layer is fully connected or a 1x1 convolution on a 1x1 map, a
            safetensors file with its weight and bias, or an artifact of ``compile``.
        task: a descriptions file or a Task; one class is enough.
        output: file to write, in the model's own format and precision; its ending may be no other format's.
        class_names: the names of the model's rows: a labels file, one name a line in the rows' order (synonyms behind
            ", "), or a descriptions file (.csv, .json, .yaml) with texts too. By default those that the model carries.
        pack: whose text encoder reads the names.
        overwrite: replace an existing file.

    Raises:
        InputError: the model ends otherwise or is damaged, the names do not fit its rows, or a class is there already;
            nothing is written.
        WorkError: the written model does not keep its old rows.
    """
    began = time.perf_counter()
    path = Path(output)
    _check_outputs(path, [model, class_names, None if isinstance(task, Task) else task], overwrite)
    loaded = pack if isinstance(pack, Pack) else load_pack(pack)
    if not isinstance(task, Task):
        task = read_task(task, max_classes=loaded.info.max_classes, min_classes=1)
    trained = open_model(model, None if class_names is None else read_names(Path(class_names)))
    check_ending(path, trained.kind)
    names, layer = trained.names, trained.layer
    names.check_new(task)
    warnings = [*task.warnings, *_check_task(task, loaded), *names.doubled(), *trained.warnings(task)]

    learnt = _learn(trained, task, loaded)
    rows, clipped = layer.rows.with_rows(learnt.rows.weight, learnt.rows.bias)
    if rows.bias is None:
        lacking = learnt.rows.offset
        warnings.append(
            f"the last layer has no bias and cannot be given one: add {lacking:+.2f} to the new classes' logits where "
            f"they are used, or they win too {'often' if lacking < 0 else 'seldom'}"
        )
    written = trained.write(rows, task, path, overwrite)

    k, new, trust = len(names.names), tuple(c.name for c in task.classes), learnt.trust
    stored = rows.real()[0][k:]
    return InjectReport(
        output=str(path),
        labels_file=written.labels_file,
        size_bytes=written.size_bytes,
        kind=trained.kind,
        layer=layer.kind,
        precision=_precision(rows),
        rows_before=k,
        rows_after=k + len(new),
        new=new,
        pack=f"{loaded.info.name} {loaded.info.version}",
        sharpness=learnt.directions.sharpness,
        strength=learnt.directions.strength,
        cosine=trust.cosine,
        right=trust.right,
        rivals=trust.rivals,
        offset=None if rows.bias is None else learnt.rows.offset,
        photos=learnt.photos,
        taken=learnt.rows.taken,
        clipped=clipped,
        rounding=float((unit(stored) * unit(learnt.rows.weight)).sum(1).min()),
        logit_error=written.logit_error,
        confusions=trust.alike[:NAMED],
        seconds=time.perf_counter() - began,
        warnings=(*warnings, *trust.warnings()),
    )


@dataclass(frozen=True, eq=False)
class _Learnt:
    """New rows and how they came about; photos: how many the model was run on for their bias."""

    directions: Directions
    rows: NewRows
    photos: int
    trust: Trust


def _learn(trained: OwnModel | ForeignModel, task: Task, pack: Pack) -> _Learnt:
    """Rows of the task's classes; InputError where there are too few old ones."""
    names, known = trained.names, trained.names.known
    if len(known) < MIN_CLASSES:
        raise InputError(f"{trained.path} has {len(known)} classes; its rows teach something from {MIN_CLASSES} on")
    weight, bias = trained.layer.rows.real()
    new = [c.name for c in task.classes]
    old_texts = _vectors(pack, [names.names[i] for i in known], [names.texts[i] for i in known])
    new_texts = _vectors(pack, new, [c.texts for c in task.classes])
    directions = predict_directions(old_texts, weight[known], bias[known], new_texts)
    features = trained.photo_features(photo_views(pack.probes.images))
    biased = trained.layer.rows.bias is not None
    rows = calibrated_rows(weight[known], bias[known], directions.new, features, biased)
    trust = row_trust(directions, weight[known], weight, rows.weight, names.names, new)
    return _Learnt(directions, rows, 0 if features is None else len(features), trust)


def _check_outputs(path: Path, inputs: Sequence[str | Path | None], overwrite: bool) -> None:
    """Raises InputError where a file may not be written, or is one that is read."""
    given = [Path(i) for i in inputs if i is not None]
    check_output(path, overwrite, given)
    if os.path.exists(labels := beside(path)):
        check_output(labels, overwrite=True, inputs=given)


def _check_task(task: Task, pack: Pack) -> list[str]:
    """Warnings; raises InputError where a class is only said what it is not."""
    for description, alone in zip(task.classes, negatives_alone(task), strict=True):
        if alone:
            raise InputError(
                f"the class {description.name!r} has not: texts alone, which are not used here; say what it looks like"
            )
    warnings, _ = check_words(task, pack.text_encoder)
    if any(c.negatives for c in task.classes):
        warnings = [*warnings, "not: texts are not used here: rows are learnt from what classes are"]
    return warnings


def _precision(rows: Rows) -> str:
    if rows.scale is None:
        return str(rows.weight.dtype)
    return f"{rows.weight.dtype}, {'one scale for all' if len(rows.scale) == 1 else 'one scale a row'}"


def _vectors(pack: Pack, names: Sequence[str], texts: Sequence[Sequence[str]]) -> np.ndarray:
    """One vector a class from its name, synonyms counting alike, and its texts: float64 (k, d_text)."""
    flat = [(i, part) for i, name in enumerate(names) for part in name.split(", ")[:8]]
    found = class_vectors(
        pack.text_encoder.encode,
        pack.centres,
        [part for _, part in flat],
        [texts[i] for i, _ in flat],
        [()] * len(flat),
    )
    vectors = np.zeros((len(names), found.shape[1] // 2))
    np.add.at(vectors, [i for i, _ in flat], found[:, : found.shape[1] // 2])
    return unit(vectors)
