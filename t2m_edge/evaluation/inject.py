"""What ``t2m-edge inject`` reaches: ``python -m t2m_edge.evaluation.inject --shared DIR --cache DIR --encoder DIR...``

MobileNetV2 (1,001 ImageNet rows, uint8 with one scale) gains the 25 classes of CIFAR-100 that ImageNet lacks. Every
method's rows go into a written file, and its last layer runs on LiteRT over features that the file's own graph gave:
all integers, so that the logits are those of the whole file. Settings of the other
methods are chosen by pseudo-unseen rows: a fifth of the 1,000 classes whose rows are held out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from t2m_edge.compiler.row_names import RowNames
from t2m_edge.compiler.text_to_rows import calibrated_rows, directed
from t2m_edge.compiler.trained_models import ForeignModel, photo_views
from t2m_edge.evaluation.commands import Parser, command, folder, own_folder, some_of
from t2m_edge.evaluation.frozen_features import BACKBONES, pooled_features
from t2m_edge.evaluation.kept import keep
from t2m_edge.evaluation.row_methods import ROW_METHODS, RowMethod
from t2m_edge.evaluation.sources import load_encoder, need_data
from t2m_edge.hypernetworks.class_vectors import name_prompt, unit
from t2m_edge.packs import load_pack
from t2m_edge.text import TextEncoder
from t2m_exporters.last_layer import Rows
from t2m_exporters.last_layer_tflite import cut_tflite, read_tflite, write_tflite
from t2m_runtime.engines.litert import without_announcement

MODEL = "mobilenet_v2"
GROUP = 25
"""Classes at once in the choice of settings: as many as come in."""
DRAWS = 5
TINY_ROWS = {
    "n01629819": 25, "n01641577": 30, "n01774384": 75, "n01984695": 123, "n02124075": 285, "n02236044": 315,
    "n02504458": 386, "n02788148": 421, "n02892201": 458, "n02917067": 466, "n03014705": 492, "n03126707": 517,
    "n03424325": 570, "n03804744": 677, "n03902125": 707, "n04008634": 744, "n04067472": 758, "n04311004": 821,
    "n04371430": 842, "n07711569": 935, "n07875152": 964, "n09193705": 970, "n09428293": 978,
}  # fmt: skip
"""ImageNet numbers of the Tiny-ImageNet classes that imagenet_descriptors.json spells otherwise."""


HEADER = (
    "| method | pseudo-new alone | new alone | as published: u / s / H, lost | calibrated: u / s / H, lost "
    "| u at 1 lost |\n"
    "|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Images:
    """features uint8 (n, d) as the graph gives them; labels int64 (n,)."""

    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Case:
    """The model, its names, and the images of new classes (labels from 0) and of old ones (labels of rows)."""

    model: bytes
    rows: Rows
    names: tuple[str, ...]
    new_names: tuple[str, ...]
    new: Images
    old: Images


@dataclass(frozen=True)
class Outcome:
    """Percent. alone: new classes' images among the new classes; unseen, seen: new and old classes' images among all
    rows; lost: points of accuracy that the old classes lost."""

    alone: float
    unseen: float
    seen: float
    lost: float

    @property
    def harmonic(self) -> float:
        """2 u s / (u + s)."""
        return 2 * self.unseen * self.seen / max(self.unseen + self.seen, 1e-9)


def load_case(shared: Path, cache: Path) -> Case:
    """The real case from the data folder."""
    data = shared / "data"
    model = (data / "backbones" / BACKBONES[MODEL].file).read_bytes()
    names = tuple(json.loads((data / "descriptions" / "imagenet_descriptors.json").read_text("utf-8")))
    new = tuple(json.loads((data / "splits.json").read_text("utf-8"))["cifar100"]["no_imagenet1k_counterpart"])
    glosses = json.loads((data / "descriptions" / "tiny_imagenet_gloss.json").read_text("utf-8"))
    number = {name.casefold(): i for i, name in enumerate(names)}

    def row(wnid: str) -> int:
        found = [number[n.casefold()] for n in glosses[wnid]["names"] if n.casefold() in number]
        return TINY_ROWS[wnid] if wnid in TINY_ROWS else found[0]

    cifar = pooled_features(MODEL, "cifar100", "test", shared, cache)
    tiny = pooled_features(MODEL, "tiny_imagenet", "test", shared, cache)
    chosen = cifar.only(new)
    row_of = np.array([row(wnid) for wnid in tiny.classes])
    # Row 0 of the model is "background".
    return Case(
        model,
        read_tflite(model).rows,
        ("background", *names),
        new,
        Images(chosen.pooled, chosen.labels),
        Images(tiny.pooled, row_of[tiny.labels] + 1),
    )


def class_texts(encoder: TextEncoder, names: tuple[str, ...], cache: Path) -> np.ndarray:
    """Unit vectors of the names' prompts, float64 (k, d_text); kept in ``cache``."""
    import hashlib

    key = hashlib.sha256("\n".join((encoder.id, *names)).encode()).hexdigest()[:16]
    path = cache / f"inject-texts-{key}.npy"
    if not path.exists():
        keep(path, encoder.encode([name_prompt(name) for name in names]))
    return np.load(path).astype(np.float64)


def logits(model: bytes, features: np.ndarray, chunk: int = 500) -> np.ndarray:
    """Logits of a written file's last layer on LiteRT, float32 (n, k), for real features (n, d)."""
    from ai_edge_litert.interpreter import Interpreter

    with without_announcement():
        interpreter = Interpreter(model_content=cut_tflite(model, "layer"), num_threads=1)
        interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for start in range(0, len(features), chunk):
        part = features[start : start + chunk]
        interpreter.resize_tensor_input(source["index"], [len(part), *source["shape"][1:]])
        interpreter.allocate_tensors()
        scale, zero_point = source["quantization"]
        stored = np.clip(np.rint(part / scale) + zero_point, 0, 255).astype(np.uint8)
        interpreter.set_tensor(source["index"], stored.reshape(len(part), *source["shape"][1:]))
        interpreter.invoke()
        scale, zero_point = result["quantization"]
        found.append((interpreter.get_tensor(result["index"]).reshape(len(part), -1) - np.float32(zero_point)) * scale)
    return np.concatenate(found)


def per_class(right: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes of the share of right answers, percent."""
    return 100 * float(np.mean([right[labels == c].mean() for c in np.unique(labels)]))


def measure(case: Case, weight: np.ndarray, bias: np.ndarray, before: np.ndarray) -> Outcome:
    """Writes the rows into the model and runs what was written.

    before: whether each old image was right before, bool (n,).
    """
    rows, _ = case.rows.with_rows(weight, bias)
    written = write_tflite(case.model, rows, None)
    k = len(case.names)
    new, old = logits(written, case.new.features), logits(written, case.old.features)
    seen = old.argmax(1) == case.old.labels
    return Outcome(
        per_class(new[:, k:].argmax(1) == case.new.labels, case.new.labels),
        per_class(new.argmax(1) == case.new.labels + k, case.new.labels),
        per_class(seen, case.old.labels),
        per_class(before, case.old.labels) - per_class(seen, case.old.labels),
    )


def chosen_settings(method: RowMethod, texts: np.ndarray, rows: np.ndarray) -> dict:
    """The setting of a method's grid whose pseudo-unseen rows are most often nearest to their own true row among 25."""
    if len(method.grid) == 1:
        return method.grid[0]
    rng = np.random.default_rng(0)
    order = rng.permutation(len(texts))
    held, kept = order[: len(order) // 5], order[len(order) // 5 :]
    groups = [rng.permutation(len(held))[:GROUP] for _ in range(40)]
    mean = rows[kept, :-1].mean(0)
    true = unit(rows[held, :-1] - mean)

    def right(settings: dict) -> float:
        found = unit(method.predict(texts[kept], rows[kept], texts[held], **settings)[:, :-1] - mean)
        return np.mean([((true[g] @ found[g].T).argmax(1) == np.arange(len(g))).mean() for g in groups])

    return max(method.grid, key=right)


def at_one_point(case: Case, weight: np.ndarray, bias: np.ndarray, before: np.ndarray) -> Outcome:
    """As ``measure``, the new logits moved so that the old classes lose one point: an offset known in hindsight."""
    rows, _ = case.rows.with_rows(weight, bias)
    written = write_tflite(case.model, rows, None)
    k = len(case.names)
    new, old = logits(written, case.new.features), logits(written, case.old.features)
    was = per_class(before, case.old.labels)

    def outcome(shift: float) -> Outcome:
        taken = old[:, k:].max(1) + shift > old[:, :k].max(1)
        seen = (old[:, :k].argmax(1) == case.old.labels) & ~taken
        wins = new[:, k:].max(1) + shift > new[:, :k].max(1)
        right = wins & (new[:, k:].argmax(1) == case.new.labels)
        s = per_class(seen, case.old.labels)
        return Outcome(0.0, per_class(right, case.new.labels), s, was - s)

    low, high = -20.0, 20.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if outcome(middle).lost <= 1 else (low, middle)
    return outcome(low)


def pseudo_new(case: Case, method: RowMethod, settings: dict, texts: np.ndarray, rows: np.ndarray) -> list[float]:
    """Accuracy alone, percent, of DRAWS times 25 old classes whose rows are held out, on their Tiny-ImageNet images."""
    rng = np.random.default_rng(1)
    have = np.unique(case.old.labels) - 1
    found = []
    for _ in range(DRAWS):
        held = rng.permutation(have)[:GROUP]
        kept = np.setdiff1d(np.arange(len(texts)), held)
        made = directed(method.predict(texts[kept], rows[kept], texts[held], **settings) - rows[kept].mean(0))
        images = np.isin(case.old.labels - 1, held)
        scores = case.old.features[images] @ made[:, :-1].T + made[:, -1]
        labels = case.old.labels[images] - 1
        found.append(per_class(held[scores.argmax(1)] == labels, labels))
    return found


def conse(case: Case, texts: np.ndarray, new_texts: np.ndarray, nearest: int = 10) -> Outcome:
    """ConSE (Norouzi et al., ICLR 2014): the mean text of the 10 most probable rows, compared with all texts."""
    everything = unit(np.concatenate([texts, new_texts]))

    def scores(images: Images) -> np.ndarray:
        found = logits(case.model, images.features)[:, 1:]
        cut = np.sort(found, axis=1)[:, -nearest]
        weight = np.where(found >= cut[:, None], np.exp(found - found.max(1, keepdims=True)), 0)
        return unit(weight @ texts) @ everything.T

    k = len(texts)
    new, old = scores(case.new), scores(case.old)
    before = logits(case.model, case.old.features)[:, 1:].argmax(1) == case.old.labels - 1
    seen = old.argmax(1) == case.old.labels - 1
    return Outcome(
        per_class(new[:, k:].argmax(1) == case.new.labels, case.new.labels),
        per_class(new.argmax(1) == case.new.labels + k, case.new.labels),
        per_class(seen, case.old.labels),
        per_class(before, case.old.labels) - per_class(seen, case.old.labels),
    )


@command
def main() -> None:
    known = tuple(m.name for m in ROW_METHODS)
    parser = Parser("inject", __doc__)
    parser.add_argument("--shared", type=folder, required=True, help="the folder that holds data/")
    parser.add_argument(
        "--cache", type=own_folder, required=True, help="where features and slow methods' rows are kept"
    )
    parser.add_argument("--encoder", type=folder, action="append", required=True, help="folder of a text encoder")
    parser.add_argument(
        "--methods", type=some_of(known, ";"), default=";".join(known), help="beside ConSE, some of: %(default)s"
    )
    args = parser.parse_args()
    need_data(args.shared, ["cifar100", "tiny_imagenet"], [MODEL])
    encoders = [load_encoder(path) for path in args.encoder]
    case = load_case(args.shared, args.cache)
    weight, bias = case.rows.real()
    before = logits(case.model, case.old.features).argmax(1) == case.old.labels
    trained = ForeignModel(MODEL, case.model, "tflite", RowNames.bare(case.names, MODEL))
    photos = trained.photo_features(photo_views(load_pack("default").probes.images))
    print(f"old classes before: {per_class(before, case.old.labels):.2f}\n")
    for encoder in encoders:
        texts, new_texts = (class_texts(encoder, n, args.cache) for n in (case.names[1:], case.new_names))
        centre = texts.mean(0)
        texts, new_texts = unit(texts - centre), unit(new_texts - centre)
        both = np.c_[weight[1:], bias[1:]]
        print(f"texts by {encoder.id.split('@')[0]}\n")
        print(HEADER)
        found = conse(case, texts, new_texts)
        print(f"| ConSE | | {found.alone:.1f} | {_cells(found)} | | |", flush=True)
        for method in (m for m in ROW_METHODS if m.name in args.methods):
            settings = chosen_settings(method, texts, both)
            key = f"inject-{method.name.replace(' ', '-')}-{encoder.id.split(':')[-1][:12]}.npy"
            path = args.cache / key
            if method.name.startswith("ICIS") and path.exists():
                rows = np.load(path)
            else:
                rows = method.predict(texts, both, new_texts, **settings)
                if method.name.startswith("ICIS"):
                    keep(path, rows)
            raw = measure(case, rows[:, :-1], rows[:, -1], before)
            directions = directed(rows - both.mean(0))
            ready = calibrated_rows(both[:, :-1], both[:, -1], directions, photos)
            done = measure(case, ready.weight, ready.bias, before)
            label = method.name + (f" ({', '.join(f'{k} {v}' for k, v in settings.items())})" if settings else "")
            best = at_one_point(case, ready.weight, ready.bias, before)
            pseudo = "" if method.name.startswith("ICIS") else _mean(pseudo_new(case, method, settings, texts, both))
            cells = (label, pseudo, f"{done.alone:.1f}", _cells(raw), _cells(done), f"{best.unseen:.1f}")
            print(f"| {' | '.join(cells)} |", flush=True)
        print()


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.1f}"


def _cells(found: Outcome) -> str:
    return f"{found.unseen:.1f} / {found.seen:.1f} / {found.harmonic:.1f}, {found.lost:+.2f}"


if __name__ == "__main__":
    main()
