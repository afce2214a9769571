"""Train another hypernetwork for a pack that exists: ``t2m-edge train head``.

Backbone, text encoder, bank and probes stay as they are; only the hypernetwork and its text centres are replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from t2m_edge.packs import Pack
from t2m_edge.packs.store import PackStore
from t2m_edge.packs.writing import write_pack
from t2m_edge.training.head import HeadRecipe, text_centres, train_head
from t2m_edge.training.packing import hypernetwork_files, training_sets
from t2m_edge.training.splits import class_split
from t2m_runtime.errors import InputError


def to_stderr(line: str) -> None:
    """Progress as the command line shows it."""
    print(line, file=sys.stderr, flush=True)


def retrain_head(
    pack: Path,
    shared: Path,
    cache: Path,
    output: Path,
    recipe: HeadRecipe,
    overwrite: bool = False,
    say: Callable[[str], None] = to_stderr,
) -> None:
    """Write to ``output`` the pack with a hypernetwork trained by ``recipe`` on the classes that its backbone has seen.

    Raises:
        InputError: a broken pack, or one that does not say what it was built from.
    """
    store = PackStore(pack)
    loaded = Pack(store)
    loaded.verify()
    provenance = loaded.info.provenance
    try:
        split = class_split(shared, provenance["split"])
        images, weights = int(provenance["pack"]["train_images"]), dict(provenance["pack"]["weights"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{pack}: its provenance lacks {error}; build the pack anew with t2m-edge pack build"
        ) from None
    say("features of the training images")
    encoder = loaded.text_encoder
    sets = training_sets(loaded.backbone("tflite", "int8"), split, shared, cache, encoder, images, weights)
    centres = text_centres(sets)
    say("training the hypernetwork")
    files = {name: store.read(name) for name in loaded.files}
    files |= hypernetwork_files(train_head(sets, recipe, centres, say), centres)
    facts = {key: value for key, value in store.index.items() if key != "files"}
    facts["provenance"] = {**provenance, "pack": {**provenance["pack"], "head": asdict(recipe)}}
    write_pack(output, facts, files, overwrite)
