"""Training on a small data folder made here, in the layout of the real one: backbone, pack, hypernetwork."""

from __future__ import annotations

import io
import json
import random
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

import t2m_edge  # noqa: E402
from t2m_edge.backbones.folding import backbone_graph  # noqa: E402
from t2m_edge.backbones.resnet import POOLED, ResNet, normalise  # noqa: E402
from t2m_edge.backbones.transform import FeatureTransform, fit_transform  # noqa: E402
from t2m_edge.cli.main import run as run_command  # noqa: E402
from t2m_edge.evaluation.metrics import drawn_tasks_accuracy, per_class_accuracy  # noqa: E402
from t2m_edge.hypernetworks.class_vectors import text_centres  # noqa: E402
from t2m_edge.packs import load_pack  # noqa: E402
from t2m_edge.training.backbone import BackboneRecipe, TextLoss, batches, train_backbone  # noqa: E402
from t2m_edge.training.datasets import load_images  # noqa: E402
from t2m_edge.training.head import HeadRecipe, TrainingSet, add_noise, train_head  # noqa: E402
from t2m_edge.training.packing import PackRecipe, build_pack  # noqa: E402
from t2m_edge.training.splits import STRICT_SETS, class_split  # noqa: E402
from t2m_edge.training.texts import class_texts  # noqa: E402
from t2m_exporters.graph import run  # noqa: E402
from t2m_runtime import InputError  # noqa: E402

CIFAR = ("apple", "bear", "cloud", "orange", "rose")
TINY = {"n02132136": "brown bear", "n07747607": "orange", "n04356056": "sunglasses", "n04376876": "syringe"}
GROCERY = {"Banana": "Banana", "Granny-Smith": "Apple", "Orange": "Orange", "Leek": "Leek"}


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def picture(rng: np.random.Generator, size: tuple[int, int], form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(file, form)
    return file.getvalue()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of a few random images a class."""
    root = tmp_path_factory.mktemp("shared")
    data, rng = root / "data", np.random.default_rng(0)
    (data / "descriptions").mkdir(parents=True)
    for archive, classes, size, test, form in (
        ("cifar100.tar.gz", CIFAR, (32, 32), "test", "PNG"),
        ("tiny_imagenet.tar.gz", TINY, (64, 64), "val", "JPEG"),
        ("grocery.tar", GROCERY, (128, 140), "test", "JPEG"),
    ):
        with tarfile.open(data / archive, "w:gz" if archive.endswith("gz") else "w") as tar:
            for part in ("train", test):
                for name in classes:
                    for i in range(6):
                        add(tar, f"{part}/{name}/{i}.{form.lower()}", picture(rng, size, form))
            if archive == "grocery.tar":
                add(tar, "descriptions.json", json.dumps({c: f"{c} is a food." for c in GROCERY}).encode())

    def splits(classes, unseen):
        return [{"seed": s, "seen": sorted(set(classes) - {unseen}), "unseen": [unseen]} for s in range(5)]

    table = {
        "cifar100": {"classes": list(CIFAR), "strict_unseen": ["cloud"], "splits": splits(CIFAR, "bear")},
        "tiny_imagenet": {"classes": list(TINY), "splits": splits(TINY, "n07747607")},
        "grocery": {"classes": list(GROCERY), "coarse": GROCERY, "splits": splits(GROCERY, "Granny-Smith")},
    }
    (data / "splits.json").write_text(json.dumps(table))
    texts = {
        "cifar100_gpt": {c: [f"a {c} is red", f"the {c} is round"] for c in CIFAR},
        "cifar100_cupl": {c: [f"a photo of a large {c}"] for c in CIFAR},
        "tiny_imagenet_gloss": {w: {"names": [n], "gloss": f"a {n}"} for w, n in TINY.items()},
        "imagenet_descriptors": {"orange": ["round", "orange skin"]},
    }
    for name, table in texts.items():
        (data / "descriptions" / f"{name}.json").write_text(json.dumps(table))
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def backbone_recipe(tiny_pack: Path) -> BackboneRecipe:
    return BackboneRecipe("0", stages=((32, 4), (48, 2)), batch=16, text=str(tiny_pack / "text"))


@pytest.fixture(scope="module")
def backbone(shared: Path, cache: Path, backbone_recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_backbone(backbone_recipe, shared, cache, tmp_path_factory.mktemp("backbone"))


def test_a_strict_split_leaves_out_what_matches_in_other_data_sets(shared: Path) -> None:
    split = class_split(shared, "0")
    # bear -> brown bear; Granny Smith -> apple; Tiny's orange -> CIFAR's and Grocery's orange
    assert split.seen["cifar100"] == ("cloud", "rose")
    assert split.seen["tiny_imagenet"] == ("n04356056", "n04376876")
    assert split.seen["grocery"] == ("Banana", "Leek")
    assert split.unseen["grocery"] == ("Granny-Smith",)
    assert class_split(shared, "none").seen["cifar100"] == CIFAR
    assert "cloud" not in class_split(shared, "every").seen["cifar100"]


@pytest.mark.shared
def test_the_tuning_split_lies_inside_what_split_0_sees_and_the_base_does_not(shared_data: Path) -> None:
    tuning, outer, base = (class_split(shared_data.parent, n) for n in ("tuning", "0", "every"))
    for d in outer.seen:
        assert set(tuning.unseen[d]) <= set(outer.seen[d]) - set(base.seen[d])
        assert set(tuning.seen[d]) <= set(outer.seen[d]) - set(tuning.unseen[d])
    assert {d: len(c) for d, c in tuning.unseen.items()} == {"cifar100": 16, "tiny_imagenet": 28, "grocery": 12}


@pytest.mark.shared
def test_the_further_strict_sets_follow_their_stated_rule(shared_data: Path) -> None:
    table = json.loads((shared_data / "splits.json").read_text())["cifar100"]
    strict = sorted(table["strict_unseen"])
    pool = {*table["no_imagenet1k_counterpart"], *table["borderline_imagenet1k"], "orchid", "kangaroo", "cattle"}
    new = sorted(pool - set(strict))
    second = sorted([*new, *random.Random(1).sample(strict, 8)])
    third = sorted([*(set(strict) - set(second)), *random.Random(2).sample(new, 8)])
    found = [list(class_split(shared_data.parent, s).unseen["cifar100"]) for s in STRICT_SETS]
    assert found == [strict, second, third]


@pytest.mark.shared
def test_every_listed_match_is_a_class_of_its_data_set(shared_data: Path) -> None:
    from t2m_edge.training.splits import matching_groups

    table = json.loads((shared_data / "splits.json").read_text())
    listed = {(d, c) for group in matching_groups() for d, names in group.items() for c in names}
    assert {(d, c) for d, c in listed if c not in table[d]["classes"]} == set()


def test_images_come_out_square_and_in_class_order(shared: Path, cache: Path) -> None:
    images = load_images(shared, cache, "grocery", "train")
    assert images.images.shape == (24, 128, 128, 3)
    assert images.classes == tuple(sorted(GROCERY))
    assert (images.only(("Leek",)).images == images.images[images.labels == images.classes.index("Leek")]).all()


def test_the_same_recipe_gives_the_same_bytes_also_when_resumed(
    shared, cache, backbone_recipe, backbone, tmp_path, monkeypatch
) -> None:
    import t2m_edge.training.backbone as module

    monkeypatch.setattr(module, "CHECKPOINT_STEPS", 2)
    whole = batches
    monkeypatch.setattr(module, "batches", lambda sets, recipe, start: list(whole(sets, recipe, start))[:3])

    class Stopped(Exception):
        pass

    def stop(*_):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(module, "seen_accuracy", stop)
        with pytest.raises(Stopped):
            train_backbone(backbone_recipe, shared, cache, tmp_path)
    assert torch.load(tmp_path / "resume.pt", weights_only=True)["step"] == 2
    monkeypatch.setattr(module, "batches", whole)
    with pytest.raises(InputError, match=r"resume\.pt is of a run with other seed; remove it"):
        train_backbone(replace(backbone_recipe, seed=backbone_recipe.seed + 1), shared, cache, tmp_path)
    again = train_backbone(backbone_recipe, shared, cache, tmp_path)
    assert again.read_bytes() == backbone.read_bytes()


def test_the_text_loss_teaches_features_to_find_their_class_among_the_texts() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5, 24)).astype(np.float32)
    torch.manual_seed(0)
    loss = TextLoss({"set": vectors / np.linalg.norm(vectors, axis=1, keepdims=True)}, noise=1.0)
    pooled = torch.zeros(5, POOLED, requires_grad=True)
    optimiser = torch.optim.Adam([pooled, *loss.parameters()], 0.01)
    values = []
    for step in range(60):
        value = loss("set", pooled, torch.arange(5), torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[0] > 5 and values[-1] < 0.5 * values[0]


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    recipe = BackboneRecipe("none", stages=((48, 50), (64, 50)))
    rates = [recipe.rate(i) for i in range(101)]
    assert max(rates) == pytest.approx(recipe.learning_rate)
    assert rates[0] == 0
    assert rates[100] == pytest.approx(0)
    assert (recipe.side(49), recipe.side(50)) == (48, 64)


def test_the_folded_graph_gives_the_torch_backbones_features() -> None:
    torch.manual_seed(0)
    model = ResNet(8, (8, 16, 24, 32), (1, 1, 2, 1)).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    rng = np.random.default_rng(0)
    transform = FeatureTransform(rng.normal(size=(6, 512)).astype(np.float32), rng.normal(size=6).astype(np.float32))
    images = rng.integers(0, 256, (3, 96, 96, 3), np.uint8)
    with torch.inference_mode():
        expected = transform(model(normalise(torch.from_numpy(images))).numpy())
    found = run(backbone_graph(model, transform), images, ["features"])["features"]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_the_transform_centres_classes_and_evens_directions() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], [300, 100])
    pooled = (rng.normal(size=(400, 8)) * np.arange(1, 9) + labels[:, None] * 5).astype(np.float32)
    transform = fit_transform(pooled, labels, 4, whitening=1.0)
    projected = pooled @ transform.weight.T + transform.bias
    means = np.stack([projected[labels == c].mean(0) for c in (0, 1)])
    np.testing.assert_allclose(means.mean(0), 0, atol=1e-3)
    weights = np.where(labels == 0, 1 / 600, 1 / 200)
    np.testing.assert_allclose((projected**2 * weights[:, None]).sum(0), 1, rtol=0.05)


def synthetic(seed: int, classes: int = 24) -> TrainingSet:
    """Features that are a linear map of text vectors, with noise: any method should learn them."""
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(classes, 12)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    means = texts @ rng.normal(size=(12, 10)).astype(np.float32)
    rng = np.random.default_rng(seed)
    features = np.repeat(means, 20, 0) + 0.2 * rng.normal(size=(classes * 20, 10)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = np.repeat(np.arange(classes), 20)
    several = tuple(t + 0.05 * rng.normal(size=(3, 12)).astype(np.float32) for t in texts)
    return TrainingSet("synthetic", features.astype(np.float32), labels, texts, several)


def test_a_trained_hypernetwork_tells_unseen_classes_apart_and_training_repeats_exactly() -> None:
    data = synthetic(1, 40)
    seen, unseen = data.only(np.arange(34)), data.only(np.arange(34, 40))
    recipe = HeadRecipe(steps=200, tasks=4, ways=(5, 20), noise=0.5, width=64, members=2)
    centres = text_centres([seen.embeddings])
    models = [train_head([seen], recipe, centres, None) for _ in range(2)]
    z = np.concatenate([unseen.names - centres.name, np.zeros_like(unseen.names)], 1)
    with torch.inference_mode():
        heads = [m(torch.from_numpy(z)) for m in models]
    assert torch.equal(heads[0].weight, heads[1].weight)
    logits = heads[0].logits(torch.from_numpy(unseen.features)).numpy()
    assert per_class_accuracy(logits, unseen.labels) > 0.6  # chance: 0.17


def test_noise_keeps_the_length_of_each_half() -> None:
    z = torch.randn(5, 8)
    z[:, 4:] = 0
    noisy = add_noise(z, 3.0, torch.Generator().manual_seed(0))
    assert torch.allclose(noisy[:, :4].norm(dim=1), z[:, :4].norm(dim=1), rtol=1e-5)
    assert not noisy[:, 4:].any()


def test_accuracy_counts_classes_not_images() -> None:
    logits = np.array([[2, 1], [2, 1], [2, 1], [2, 1]], np.float32)
    assert per_class_accuracy(logits, np.array([0, 0, 0, 1])) == 0.5
    assert drawn_tasks_accuracy(logits, np.array([0, 0, 0, 1]), 2) == 0.5


def test_texts_are_gathered_for_every_class(shared: Path) -> None:
    texts = class_texts(shared)
    assert texts["cifar100"]["apple"].descriptions == (
        "a apple is red",
        "the apple is round",
        "a photo of a large apple",
    )
    assert texts["grocery"]["Granny-Smith"].name == "Granny Smith apple"
    assert "a orange with orange skin" in texts["tiny_imagenet"]["n07747607"].descriptions


def test_a_pack_is_built_and_compiles(shared, cache, backbone, tiny_pack, tmp_path) -> None:
    head = HeadRecipe(steps=5, tasks=2, ways=(2, 4), width=16, members=2)
    recipe = PackRecipe(name="small", features=16, train_images=4, head=head)
    build_pack(backbone, tiny_pack / "text", "0", shared, cache, tmp_path / "small", recipe)
    pack = load_pack(tmp_path / "small")
    pack.verify()
    assert pack.info.provenance["split"] == "0"
    task = tmp_path / "t.txt"
    task.write_text("apple: a red fruit\nbear: a large animal with fur\n")
    report = t2m_edge.compile(task, tmp_path / "m.tflite", pack=pack, min_agreement=0)
    assert report.model.max_error < 0.1
    build_pack(backbone, tiny_pack / "text", "0", shared, cache, tmp_path / "again", recipe)
    assert load_pack(tmp_path / "again").files == pack.files
    retrain = ["train", "head", str(tmp_path / "small"), "--shared", str(shared), "--cache", str(cache)]
    assert run_command([*retrain, "-o", str(tmp_path / "hidden"), "--steps", "3", "--hidden", "8"]) == 0
    hidden = load_pack(tmp_path / "hidden")
    hidden.verify()
    assert {n for n in pack.files if pack.files[n] != hidden.files[n]} == {
        f"hypernetwork/hypernetwork.{kind}" for kind in ("onnx", "safetensors")
    }
    assert (
        not hidden.info.independent
        and len(t2m_edge.compile(task, tmp_path / "h.t2mh", pack=hidden, target="head", min_agreement=0).labels) == 2
    )
    text = tmp_path / "text"
    shutil.copytree(tiny_pack / "text", text)
    described = json.loads((text / "encoder.json").read_text()) | {"max_tokens": 3}
    (text / "encoder.json").write_text(json.dumps(described))
    assert run_command([*retrain, "-o", str(tmp_path / "reworded"), "--steps", "3", "--text", str(text)]) == 0
    assert load_pack(tmp_path / "reworded").text_encoder.max_tokens == 3
    other = replace(recipe, head=replace(head, seed=1))
    build_pack(backbone, tiny_pack / "text", "0", shared, cache, tmp_path / "other", other)
    assert load_pack(tmp_path / "other").files != pack.files


def small_onnx() -> bytes:
    """An embedding model as others export them: float NCHW in, (n, 12, 1, 1) out, old opset, a free batch."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(0, 0.3, (12, 3, 3, 3)).astype(np.float32),
        "b": rng.normal(0, 0.1, 12).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("GlobalAveragePool", ["z"], ["features"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 40, 40])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 12, 1, 1])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4).SerializeToString()


def build_adopted(path: Path, calibration, shared, cache, tiny_pack, output):
    from t2m_edge.backbones.adopted import adopt
    from t2m_edge.packs.adopting import build_adopted_pack

    head = HeadRecipe(steps=5, tasks=2, ways=(2, 4), width=16, members=2)
    recipe = PackRecipe(name="adopted", train_images=4, head=head)
    build_adopted_pack(adopt(path, calibration), tiny_pack / "text", "0", shared, cache, output, recipe)
    pack = load_pack(output)
    pack.verify()
    return pack


def check_adopted(pack, tmp_path, cells) -> None:
    """Compiled models give what the pack's own numbers say: rows and biases on the backbone's raw features."""
    task = tmp_path / "t.txt"
    task.write_text("apple: a red fruit\nbear: a large animal with fur\nrose: a red flower\n")
    for target, precision in cells:
        out = tmp_path / f"m.{precision}.{target}"
        report = t2m_edge.compile(task, out, pack=pack, target=target, precision=precision, min_agreement=0)
        assert report.model.max_error < (0.2 if "int8" in precision else 0.02)
    centred = pack.probes.features - pack.bank.real.mean(0)
    head = pack.head(("a", "b"), np.random.default_rng(0).normal(size=(2, 48)).astype(np.float32))
    assert np.abs(head.logits(pack.probes.features)).max() < 100
    assert np.ptp(centred) > 0


@pytest.mark.shared
def test_mobilenets_embedding_becomes_a_pack_with_its_graph_as_it_is(
    shared, cache, tiny_pack, shared_data, tmp_path, capsys
) -> None:
    from t2m_exporters.foreign_tflite import adopt_tflite

    path = shared_data / "backbones" / "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"
    pack = build_adopted(path, None, shared, cache, tiny_pack, tmp_path / "mobilenet")
    assert (pack.info.features, pack.info.unit, pack.info.input.height) == (1024, False, 224)
    assert pack.backbone("tflite", "int8") == adopt_tflite(path.read_bytes())
    check_adopted(pack, tmp_path, [("tflite", "int8")])
    assert run_command(["train", "head", str(pack.path), "--shared", str(shared), "-o", str(tmp_path / "x")]) == 2
    assert "holds a backbone from elsewhere" in capsys.readouterr().err
    with pytest.raises(InputError, match="has no fp32 graph for onnx, only int8.tflite"):
        t2m_edge.compile(tmp_path / "t.txt", tmp_path / "x.onnx", pack=pack, target="onnx", precision="fp32")


def test_an_onnx_embedding_becomes_a_pack_in_every_precision(shared, cache, tiny_pack, tmp_path) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(small_onnx())
    calibration = np.random.default_rng(0).integers(0, 256, (20, 40, 40, 3), dtype=np.uint8)
    pack = build_adopted(path, calibration, shared, cache, tiny_pack, tmp_path / "small")
    check_adopted(pack, tmp_path, [("onnx", p) for p in ("fp32", "fp16", "int8", "int8-dynamic")])
    with pytest.raises(InputError, match="has no int8 graph for tflite, only fp32.onnx, int8.onnx"):
        t2m_edge.compile(tmp_path / "t.txt", tmp_path / "x.tflite", pack=pack)
