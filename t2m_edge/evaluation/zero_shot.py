"""Accuracy of strict packs on unseen classes: ``python -m t2m_edge.evaluation.zero_shot --packs DIR --shared DIR``.

For each split: the pack ``DIR/strict-S`` compiles the split's unseen classes to an int8 ``.tflite``, which classifies
all their test images through ``t2m_runtime``. On the same int8 features and the same text vectors, the two strongest
closed-form baselines (W, L) are fitted on the split's seen classes, their strengths tuned on pseudo-unseen classes
inside the seen ones. The backbone has seen those pseudo-unseen classes, so tuned strengths lean to what suits seen
classes: for all methods alike.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from t2m_edge.compiler import compile
from t2m_edge.evaluation.commands import Parser, command, folder, new_file, own_folder, some_of
from t2m_edge.evaluation.methods import ridge_prototypes, ridge_rows
from t2m_edge.evaluation.metrics import drawn_tasks_accuracy, per_class_accuracy
from t2m_edge.evaluation.pack_features import cached_features, need_packs, pack_name, pack_problem
from t2m_edge.evaluation.protocol import dataset_embeddings, inner_problems, tuned
from t2m_edge.evaluation.report import means, paired
from t2m_edge.evaluation.sources import need_data, need_unseen
from t2m_edge.hypernetworks.class_vectors import TextCentres, class_vectors, text_centres
from t2m_edge.packs import Pack, load_pack
from t2m_edge.task import ClassDescription, Task
from t2m_edge.training.datasets import ImageSet, load_images
from t2m_edge.training.features import prepared
from t2m_edge.training.head import HeadRecipe, train_head
from t2m_edge.training.packing import training_sets
from t2m_edge.training.splits import DATASETS, EVALUATED, class_split
from t2m_edge.training.texts import ClassTexts, class_texts
from t2m_exporters.quantize_head import quantize_head
from t2m_runtime import Classifier, Head, Layer

CONDITIONS = {"descriptions": "both", "sentence": "both", "name": "name"}
"""How a user would give the classes, and what the study calls it."""


def described(names: tuple[str, ...], texts: dict[str, ClassTexts], condition: str) -> list[ClassDescription]:
    """The classes as a user would give them: the name with all "descriptions" or one drawn "sentence", or "name" alone.

    The same sentence in every call.
    """
    rng = np.random.default_rng(0)
    said = {
        "descriptions": lambda t: t.descriptions,
        "sentence": lambda t: (t.descriptions[rng.integers(t.singles or len(t.descriptions))],),
        "name": lambda t: (),
    }[condition]
    return [ClassDescription(texts[c].name, tuple(said(texts[c]))) for c in names]


def vectors(pack: Pack, classes: list[ClassDescription]) -> np.ndarray:
    """Class vectors of descriptions, as compile makes them: float32 (k, 2 d_text)."""
    encode, centres = pack.text_encoder.encode, pack.centres
    labels = [c.name for c in classes]
    texts, negatives = [c.texts for c in classes], [c.negatives for c in classes]
    return class_vectors(encode, centres, labels, texts, negatives, pack.info.prompts)


def artifact_scores(pack: Pack, classes: list[ClassDescription], images: ImageSet) -> np.ndarray:
    """Scores float32 (n, k) of the compiled int8 ``.tflite`` for every image."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        compile(Task("unseen", tuple(classes)), path, pack=pack)
        with Classifier.load(path) as classifier:
            return np.stack([classifier.scores(image) for image in prepared(images.images)])


def head_logits(pack: Pack, head: Head, features: np.ndarray) -> np.ndarray:
    """Logits float32 (n, k) of a head, quantised as compile does it, on features int8 (n, d)."""
    info, bank = pack.info, pack.bank
    written = quantize_head(head, bank.features, info.scale, info.zero_point, info.logits, bank.real, softmax=True)
    return written.logits(features)


def study_split(pack: Pack, name: str, dataset: str, shared: Path, cache: Path) -> dict[str, dict[str, list[float]]]:
    """{condition: {method: [20-way, 5-way, 2-way]}} in percent, for the unseen classes of one split and data set."""
    split, texts = class_split(shared, name), class_texts(shared)[dataset]
    embedded = dataset_embeddings(pack.text_encoder, dataset, shared, cache)
    problem = pack_problem(pack, dataset, name, embedded, shared, cache, generalised=False)
    problem = replace(problem, seen=replace(problem.seen, centres=pack.centres))
    test = load_images(shared, cache, dataset, "test").only(split.unseen[dataset])
    unseen = cached_features(pack, test, f"test{name}", cache)
    out: dict[str, dict[str, list[float]]] = {}
    for condition, given in CONDITIONS.items():
        classes = described(test.classes, texts, condition)
        z = vectors(pack, classes)
        logits = {"hypernetwork": head_logits(pack, pack.head(tuple(c.name for c in classes), z), unseen.features)}
        for method, label in ((ridge_rows.METHOD, "W"), (ridge_prototypes.METHOD, "L")):
            settings = tuned(method, inner_problems(problem), given)
            scores = method.fit(replace(problem.seen, condition=given), **settings)
            logits[label] = scores(unseen.real, z[:, : pack.text_encoder.d_text])
        found = {m: accuracies(v, test.labels) for m, v in logits.items()}
        if condition == "descriptions":  # compile refuses a bare name of which the encoder knows no word
            artifact = artifact_scores(pack, classes, test)
            found["artifact"] = [100 * per_class_accuracy(artifact, test.labels), *found["hypernetwork"][1:]]
        out[condition] = found
    return out


def accuracies(logits: np.ndarray, labels: np.ndarray) -> list[float]:
    """Mean per-class top-1 in percent: over all classes, over 200 drawn 5-way tasks, over all pairs."""
    ways = (per_class_accuracy(logits, labels), *(drawn_tasks_accuracy(logits, labels, w) for w in (5, 2)))
    return [100 * w for w in ways]


def set_context(pack: Pack, name: str, shared: Path, cache: Path, recipe: HeadRecipe) -> dict[str, dict[str, float]]:
    """20-way accuracy on CIFAR-100's unseen classes of the same network with and without mixing of the classes."""
    split, texts = class_split(shared, name), class_texts(shared)
    facts = pack.info.provenance["pack"]
    int8, encoder = pack.backbone("tflite", "int8"), pack.text_encoder
    sets = training_sets(int8, split, shared, cache, encoder, facts["train_images"], facts["weights"])
    centres: TextCentres = text_centres([s.embeddings for s in sets])
    test = load_images(shared, cache, "cifar100", "test").only(split.unseen["cifar100"])
    unseen = cached_features(pack, test, f"test{name}", cache)
    out: dict[str, dict[str, float]] = {}
    import torch

    for mixing in (False, True):
        model = train_head(sets, replace(recipe, mixing=mixing), centres, None)
        for condition in CONDITIONS:
            z = vectors(pack, described(test.classes, texts["cifar100"], condition))
            with torch.inference_mode():
                tensors = model(torch.from_numpy(z))
            head = Head(test.classes, (Layer(tensors.weight.numpy(), tensors.bias.numpy()),))
            found = 100 * per_class_accuracy(head_logits(pack, head, unseen.features), test.labels)
            out.setdefault(condition, {})["with set context" if mixing else "without"] = found
    return out


def table(results: list[dict[str, dict[str, list[float]]]]) -> str:
    """Markdown: mean and standard deviation over the splits, paired differences to the hypernetwork with their SEM."""
    lines = [
        "| condition | method | 20-way | 5-way | 2-way | hypernetwork minus this, 20-way (SEM) |",
        "|---|---|---|---|---|---|",
    ]
    for condition in results[0]:
        ours = np.array([r[condition]["hypernetwork"] for r in results])
        for method in results[0][condition]:
            values = np.array([r[condition][method] for r in results])
            last = "" if method in ("hypernetwork", "artifact") else paired((ours - values)[:, 0])
            lines.append(f"| {condition} | {method} | {' | '.join(means(values))} | {last} |")
    return "\n".join(lines)


@command
def main() -> None:
    parser = Parser("zero_shot", __doc__)
    parser.add_argument(
        "--packs", type=folder, required=True, help="folder with strict-0 to strict-4 (and strict-unseen)"
    )
    parser.add_argument("--shared", type=folder, required=True, help="the folder that holds data/")
    parser.add_argument("--cache", type=own_folder, required=True, help="where features are kept")
    parser.add_argument(
        "--splits", type=some_of(EVALUATED), default="0,1,2,3,4", help="or strict_unseen, with --datasets cifar100"
    )
    parser.add_argument("--datasets", type=some_of(DATASETS), default="cifar100,grocery,tiny_imagenet")
    parser.add_argument("--json", type=new_file, help="write all figures here")
    parser.add_argument("--set-context", action="store_true", help="instead, train with and without set context")
    args = parser.parse_args()
    datasets = ["cifar100"] if args.set_context else args.datasets
    need_data(args.shared, datasets)
    need_unseen(args.shared, datasets, args.splits)
    need_packs(args.packs, args.splits)
    if args.set_context:
        for name in args.splits:
            pack = load_pack(args.packs / pack_name(name))
            recipe = HeadRecipe(**{**pack.info.provenance["pack"]["head"], "ways": (5, 60)})
            print(name, json.dumps(set_context(pack, name, args.shared, args.cache, recipe)), flush=True)
        return
    everything: dict[str, list] = {}
    for dataset in args.datasets:
        for name in args.splits:
            print(f"{dataset}, split {name}", file=sys.stderr, flush=True)
            pack = load_pack(args.packs / pack_name(name))
            everything.setdefault(dataset, []).append(study_split(pack, name, dataset, args.shared, args.cache))
        ways = len(class_split(args.shared, args.splits[0]).unseen[dataset])
        print(f"\n{dataset}: {ways} unseen classes (chance {100 / ways:.0f}, 20 and 50 %)\n")
        print(table(everything[dataset]))
    if args.json:
        args.json.write_text(json.dumps(everything, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
