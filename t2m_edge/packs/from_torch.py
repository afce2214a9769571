"""A pack around a torch model by name: ``pack build --backbone timm:NAME`` or ``open_clip:MODEL/PRETRAINED``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from t2m_runtime import InputError, open_image, prepare

if TYPE_CHECKING:
    from PIL import Image

    from t2m_edge.backbones.torch_models import TorchBackbone
    from t2m_edge.training.packing import PackRecipe

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
MOST_IMAGES = 400


def build_torch_pack(
    model: str,
    text: Path | None,
    split: str,
    shared: Path | None,
    cache: Path,
    calibration: Path | None,
    templates: Path | None,
    output: Path,
    recipe: PackRecipe,
    threads: int = 1,
) -> None:
    """Load, calibrate, convert and write.

    Args:
        model: as load_torch_backbone takes it.
        text: a text encoder, for a trained hypernetwork; None takes the model's own text tower, without training.
        shared: the folder that holds data/; needed with ``text``.
        calibration: a folder of images; None takes training images where there are some, else synthesises them.
        templates: a file of prompt templates, for the model's own text tower.
        threads: for the engine that runs the backbone over training images.

    Raises:
        InputError: a package, the weights, a folder or an option is missing.
    """
    from t2m_edge.backbones.converting import convert
    from t2m_edge.backbones.synthesis import has_statistics
    from t2m_edge.backbones.torch_models import load_torch_backbone
    from t2m_edge.hypernetworks.class_vectors import Prompts
    from t2m_edge.packs.adopting import build_adopted_pack
    from t2m_edge.packs.text_pack import TEMPLATES, build_text_pack, read_templates
    from t2m_edge.training.packing import say

    if text is not None and templates is not None:
        raise InputError("--templates is for the model's own text tower; leave --text out, or --templates")
    prompts = Prompts(read_templates(templates) if templates else TEMPLATES)
    say(f"loading {model}")
    source = load_torch_backbone(model)
    if text is None and source.text is None:
        raise InputError(
            f"{model} has no text tower: a hypernetwork is trained for it; give --text DIR and --shared DIR"
        )
    if calibration is None and shared is None and not has_statistics(source.model):
        raise InputError(f"{model} has no batch normalisation to synthesise images from; give --calibration FOLDER")
    images, origin = _images(source, split, shared, cache, calibration)
    say(f"converting, calibrated on {len(images)} {origin} images")
    backbone = convert(source, images)
    if text is None:
        build_text_pack(source, backbone, images, origin, prompts, recipe.name, recipe.version, output)
    else:
        assert shared is not None
        name = f"{backbone.name}, calibrated on {origin} images"
        backbone = replace(backbone, name=name, threads=threads)
        build_adopted_pack(backbone, text, split, shared, cache, output, recipe)


def _images(
    source: TorchBackbone,
    split: str,
    shared: Path | None,
    cache: Path,
    calibration: Path | None,
) -> tuple[np.ndarray, str]:
    """Images to calibrate with, uint8 (n, H, W, 3), and where they come from."""
    if calibration is not None:
        return np.stack([prepare(image, *source.size) for image in photos(calibration)]), "real"
    if shared is not None:
        from t2m_edge.packs.adopting import calibration_images

        return np.stack([prepare(image, *source.size) for image in calibration_images(split, shared, cache)]), "real"
    from t2m_edge.backbones.synthesis import synthesise
    from t2m_edge.training.packing import say

    say("synthesising calibration images from the batch normalisations")
    return synthesise(source.model, source.size, source.mean, source.std, progress=say), "synthesised"


def photos(folder: Path) -> Iterator[Image.Image]:
    """Images of a folder and its subfolders, at most MOST_IMAGES, evenly drawn, each opened when its turn comes.

    Raises:
        InputError: no such folder, no image in it, or one that cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"--calibration {folder}: no such folder; give one with images as the device will see")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    if not paths:
        raise InputError(f"--calibration {folder}: no image in it ({', '.join(ENDINGS)})")
    step = -(-len(paths) // MOST_IMAGES)
    return map(open_image, paths[::step])
