"""Text encoders against MiniLM on unseen classes: ``python -m t2m_edge.evaluation.text_encoders --encoder DIR ...``.

CIFAR-100, its 5 splits, frozen MobileNetV1 features (that backbone saw ImageNet, so "unseen" means unseen by what is
trained on top). Conditions: D, the mean of all descriptions; N, the name alone; 1, one drawn description. Two
methods: L, closed-form ridge to prototypes, strengths tuned; H, the hypernetwork, three seeds. Read it once:
width, targets and body of an encoder are chosen on pseudo-unseen classes, not here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from t2m_edge.evaluation.linear import SeenClasses, fit_prototypes, tune
from t2m_edge.evaluation.metrics import per_class_accuracy
from t2m_edge.evaluation.zero_shot import inner_splits
from t2m_edge.hypernetworks.class_vectors import name_prompt, text_centres, unit
from t2m_edge.text import load_text_encoder
from t2m_edge.text.minilm import MiniLM
from t2m_edge.training.datasets import load_images
from t2m_edge.training.features import some_of_each
from t2m_edge.training.head import HeadRecipe, TrainingSet, train_head
from t2m_edge.training.text_teacher import teacher_vectors
from t2m_edge.training.texts import class_texts

BACKBONE = "data/backbones/mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"
CONDITIONS = ("D", "N", "1")
TRAIN_IMAGES = 200
FEATURES = 256
DRAWS = 3
Encode = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class ClassEmbeddings:
    """names float32 (100, d), texts: 100 arrays float32 (m, d); in the order of the class names."""

    names: np.ndarray
    texts: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Images:
    """Pooled MobileNetV1 outputs float32 (n, 1024) and their labels (n,)."""

    pooled: np.ndarray
    labels: np.ndarray


def mobilenet_images(shared: Path, cache: Path, part: str, per_class: int | None) -> Images:
    """Features of CIFAR-100's images at 224 x 224, bilinear; kept in ``cache``."""
    found = load_images(shared, cache, "cifar100", part)
    rows = np.arange(len(found.labels)) if per_class is None else some_of_each(found.labels, per_class)
    path = cache / f"cifar100-{part}-mobilenet_v1-{len(rows)}.npy"
    if not path.exists():
        from ai_edge_litert.interpreter import Interpreter
        from PIL import Image

        interpreter = Interpreter(str(shared / BACKBONE), num_threads=1)
        interpreter.allocate_tensors()
        (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
        pooled = np.empty((len(rows), wanted["shape"][-1]), np.uint8)
        for i, image in enumerate(found.images[rows]):
            large = Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR)
            interpreter.set_tensor(given["index"], np.asarray(large)[None])
            interpreter.invoke()
            pooled[i] = interpreter.get_tensor(wanted["index"]).reshape(-1)
            if i % 1000 == 0:
                print(f"MobileNetV1 features, {part}: {i} of {len(rows)}", file=sys.stderr, flush=True)
        np.save(path, pooled)
    return Images(np.load(path).astype(np.float32), found.labels[rows])


def transformed(train: Images, test: Images, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Square root, unit, minus the seen mean, unit, strongest 256 directions of the seen images, unit."""
    fit = np.isin(train.labels, seen)
    a, b = (unit(np.sqrt(images.pooled)) for images in (train, test))
    mean = a[fit].mean(0)
    a, b = unit(a - mean), unit(b - mean)
    directions = np.linalg.eigh(a[fit].T @ a[fit])[1][:, ::-1][:, :FEATURES]
    return unit(a @ directions).astype(np.float32), unit(b @ directions).astype(np.float32)


def embeddings(encode: Encode, shared: Path) -> ClassEmbeddings:
    """The embeddings of CIFAR-100's names and descriptions."""
    texts = class_texts(shared)["cifar100"]
    names = encode([name_prompt(texts[c].name) for c in sorted(texts)])
    described = encode([t for c in sorted(texts) for t in texts[c].descriptions])
    ends = np.cumsum([len(texts[c].descriptions) for c in sorted(texts)])[:-1]
    return ClassEmbeddings(names, tuple(np.split(described, ends)))


def drawn_texts(found: ClassEmbeddings, classes: np.ndarray, condition: str, seed: int) -> list[np.ndarray]:
    """Draws of class embeddings float32 (len(classes), d) in a condition; one draw but for "1"."""
    if condition == "N":
        return [found.names[classes]]
    if condition == "D":
        return [np.stack([found.texts[c].mean(0) for c in classes])]
    rng = np.random.default_rng(seed)
    return [np.stack([found.texts[c][rng.integers(len(found.texts[c]))] for c in classes]) for _ in range(DRAWS)]


def closed_form(
    features: np.ndarray, labels: np.ndarray, found: ClassEmbeddings, seen: np.ndarray, condition: str, split: int
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """L fitted on the seen classes; strengths tuned on pseudo-unseen ones. For "1" it is fitted on the D vectors."""
    number = np.full(100, -1)
    number[seen] = np.arange(len(seen))
    keep = number[labels] >= 0
    texts = found.names[seen] if condition == "N" else np.stack([found.texts[c].mean(0) for c in seen])
    data = SeenClasses(features[keep], number[labels[keep]], texts)
    return fit_prototypes(data, *tune("L", data, inner_splits(len(seen), split)))


def study_encoder(found: ClassEmbeddings, shared: Path, train: Images, test: Images, seeds: int, recipe: HeadRecipe):
    """{"L D": [per split], ..., "H 1": [per split and seed]} in percent."""
    classes = sorted(class_texts(shared)["cifar100"])
    splits = json.loads((shared / "data" / "splits.json").read_text("utf-8"))["cifar100"]["splits"]
    out: dict[str, list[float]] = {f"{m} {c}": [] for m in "LH" for c in CONDITIONS}
    for number, split in enumerate(splits):
        seen, unseen = (np.array([classes.index(c) for c in split[part]]) for part in ("seen", "unseen"))
        x, y = transformed(train, test, seen)
        keep = np.isin(test.labels, unseen)
        y, labels = y[keep], np.searchsorted(unseen, test.labels[keep])
        assert (np.diff(unseen) > 0).all()
        drawn = {c: drawn_texts(found, unseen, c, number) for c in CONDITIONS}
        for condition in CONDITIONS:
            scores = closed_form(x, train.labels, found, seen, condition, number)
            values = [per_class_accuracy(scores(y, t), labels) for t in drawn[condition]]
            out[f"L {condition}"].append(100 * float(np.mean(values)))
        every = TrainingSet("cifar100", x, train.labels, found.names, found.texts).only(seen)
        centres = text_centres([every.embeddings])
        for seed in range(seeds):
            model = train_head([every], replace(recipe, seed=seed), centres, None)
            for condition in CONDITIONS:
                centre = centres.name if condition == "N" else centres.text
                values = []
                for texts in drawn[condition]:
                    z = np.zeros((len(unseen), 2 * texts.shape[1]), np.float32)
                    z[:, : texts.shape[1]] = unit(texts - centre)
                    with torch.inference_mode():
                        head = model(torch.from_numpy(z))
                    values.append(per_class_accuracy(y @ head.weight.numpy().T + head.bias.numpy(), labels))
                out[f"H {condition}"].append(100 * float(np.mean(values)))
        print(f"  split {number} done", file=sys.stderr, flush=True)
    return out


def table(results: dict[str, dict[str, list[float]]]) -> str:
    """Markdown: the reference's accuracy, then mean paired differences to it with their SEM over splits."""
    reference = next(iter(results))
    cells = list(results[reference])
    lines = ["| encoder | " + " | ".join(cells) + " |", "|---" * (len(cells) + 1) + "|"]
    for name, values in results.items():
        row = []
        for cell in cells:
            by_split = np.reshape(values[cell], (5, -1)).mean(1)
            if name == reference:
                row.append(f"{by_split.mean():.1f}")
            else:
                difference = by_split - np.reshape(results[reference][cell], (5, -1)).mean(1)
                row.append(f"{difference.mean():+.1f} ({difference.std(ddof=1) / np.sqrt(5):.1f})")
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, action="append", required=True, help="an encoder's folder; repeatable")
    parser.add_argument("--teacher", type=Path, required=True, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where teacher vectors are kept")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write all figures here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train = mobilenet_images(args.shared, args.cache, "train", TRAIN_IMAGES)
    test = mobilenet_images(args.shared, args.cache, "test", None)
    minilm = MiniLM(args.teacher)
    encoders: dict[str, Encode] = {
        "MiniLM": lambda texts: teacher_vectors(texts, minilm, args.work / "teacher").astype(np.float32)
    }
    encoders |= {folder.name: load_text_encoder(folder).encode for folder in args.encoder}
    results = {}
    for name, encode in encoders.items():
        print(name, file=sys.stderr, flush=True)
        found = embeddings(encode, args.shared)
        results[name] = study_encoder(found, args.shared, train, test, args.seeds, HeadRecipe())
    print(table(results))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
