"""Train another hypernetwork for a pack that exists: ``t2m-edge train head``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from t2m_edge.hypernetworks.class_vectors import text_centres
from t2m_edge.packs.store import PackStore
from t2m_edge.packs.writing import write_pack
from t2m_edge.text import load_text_encoder
from t2m_edge.training.head import HeadRecipe, train_head
from t2m_edge.training.packing import hypernetwork_files, say, text_files, training_sets
from t2m_edge.training.splits import class_split
from t2m_runtime.errors import InputError

HYPERNETWORK = "hypernetwork/hypernetwork.safetensors"


def retrain_head(
    pack: Path, shared: Path, cache: Path, output: Path, recipe: HeadRecipe, text: Path | None = None
) -> None:
    """Write to ``output`` the pack with a hypernetwork trained by ``recipe`` on the classes that its backbone has seen.

    Backbone, bank and probes stay as they are, and the text encoder unless ``text`` is the folder of another one. What
    was measured of the old hypernetwork is left out.

    Raises:
        InputError: a broken pack, one around a backbone from elsewhere, or one that does not say how it was built.
    """
    from t2m_edge.packs.pack import Pack

    store = PackStore(pack)
    loaded = Pack(store)
    loaded.verify()
    if not store.has(HYPERNETWORK):
        raise InputError(f"{pack} holds a backbone from elsewhere; train another with t2m-edge pack build")
    provenance = loaded.info.provenance
    try:
        split = class_split(shared, provenance["split"])
        images, weights = int(provenance["pack"]["train_images"]), dict(provenance["pack"]["weights"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{pack}: its provenance lacks {error}; build it anew with t2m-edge pack build") from None
    say("features of the training images")
    int8 = loaded.backbone("tflite", "int8")
    encoder = loaded.text_encoder if text is None else load_text_encoder(text)
    sets = training_sets(int8, split, shared, cache, encoder, images, weights)
    say("training the hypernetwork")
    centres = text_centres([s.embeddings for s in sets])
    files = {name: store.read(name) for name in loaded.files if text is None or not name.startswith("text/")}
    if text is not None:
        files |= text_files(text)
    files |= hypernetwork_files(train_head(sets, recipe, centres, say), centres)
    facts = {key: value for key, value in store.index.items() if key not in ("files", "calibration")}
    facts["provenance"] = {**provenance, "pack": {**provenance["pack"], "head": asdict(recipe)}}
    facts["independent_classes"] = not recipe.mixing and not recipe.hidden
    write_pack(output, facts, files, overwrite=True)
