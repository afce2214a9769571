"""Backbones by name: ``timm:NAME`` and ``open_clip:MODEL/PRETRAINED``, with weights from the network or a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from t2m_runtime import InputError

SOURCES = ("timm", "open_clip")


@dataclass(frozen=True)
class TorchBackbone:
    """An image model with its preprocessing.

    model: float32 (n, 3, H, W), normalised -> embeddings float32 (n, d); in evaluation mode.
    size: (height, width); mean, std: of the three channels, in units of the uint8 image.
    text: what encoder.json says of the text tower that belongs to it, if one does.
    logit_scale: by which that tower's cosines are multiplied.
    """

    name: str
    model: nn.Module
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    text: dict[str, Any] | None = None
    logit_scale: float = 1.0


def is_torch_model(name: str) -> bool:
    """Whether ``name`` names a model as load_torch_backbone takes it."""
    return name.split(":")[0] in SOURCES and ":" in name


def load_torch_backbone(name: str) -> TorchBackbone:
    """A model with its weights.

    Args:
        name: "timm:NAME" (its pretrained weights), "timm:NAME@FILE" (weights of a file), or
            "open_clip:MODEL/PRETRAINED", where PRETRAINED is a tag that open_clip knows or a file.

    Raises:
        InputError: the package is not installed, or there is no such model or weights.
    """
    source, _, rest = name.partition(":")
    return {"timm": _timm, "open_clip": _open_clip}[source](rest)


class _ImageTower(nn.Module):
    """The image half of an open_clip model."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, x: Tensor) -> Tensor:
        found = self.visual(x)
        return found[0] if isinstance(found, tuple) else found


def _timm(name: str) -> TorchBackbone:
    try:
        import timm
    except ImportError:
        raise InputError(f"timm:{name} needs timm; pip install 't2m-edge[convert]'") from None
    architecture, _, file = name.partition("@")
    if file and not Path(file).is_file():
        raise InputError(f"timm:{name}: no file {file}; give the weights of {architecture}")
    try:
        model = timm.create_model(architecture, pretrained=not file, num_classes=0).eval()
        missing = _load(model, file) if file else []
    except Exception as error:  # errors of torch, of the network, of file formats
        raise InputError(f"timm cannot load {name!r}: {_first_line(error)}") from None
    if missing:
        raise InputError(f"{file} lacks {len(missing)} tensors of {architecture}, such as {missing[0]}")
    facts = timm.data.resolve_model_data_config(model)
    size = int(facts["input_size"][1]), int(facts["input_size"][2])
    return TorchBackbone(f"timm:{architecture}", model, size, _pixels(facts["mean"]), _pixels(facts["std"]))


def _load(model: nn.Module, file: str) -> list[str]:
    """Puts the weights of a file into a model, those of its classifier left out; names of what the file lacks."""
    from timm.models import load_state_dict

    return list(model.load_state_dict(load_state_dict(file, weights_only=True), strict=False).missing_keys)


def _open_clip(name: str) -> TorchBackbone:
    try:
        import open_clip
    except ImportError:
        raise InputError(f"open_clip:{name} needs open_clip; pip install 't2m-edge[clip,convert]'") from None
    architecture, _, pretrained = name.partition("/")
    if not pretrained:
        raise InputError(f"open_clip:{name} names no weights; write open_clip:MODEL/PRETRAINED")
    if Path(pretrained).is_file():
        # The pack is used in other folders.
        pretrained = str(Path(pretrained).resolve())
    try:
        model = open_clip.create_model(architecture, pretrained=pretrained).eval()
    except Exception as error:
        raise InputError(f"open_clip cannot load {name!r}: {_first_line(error)}") from None
    facts = open_clip.get_model_preprocess_cfg(model)
    size = facts["size"] if isinstance(facts["size"], (tuple, list)) else (facts["size"],) * 2
    return TorchBackbone(
        f"open_clip:{architecture}/{Path(pretrained).name}",
        _ImageTower(model.visual).eval(),
        (int(size[0]), int(size[1])),
        _pixels(facts["mean"]),
        _pixels(facts["std"]),
        {"schema_version": 1, "kind": "open-clip", "model": architecture, "pretrained": pretrained},
        float(model.logit_scale.detach().exp()),
    )


def embedding_size(backbone: TorchBackbone) -> int:
    """Length of an embedding.

    Raises:
        InputError: the model gives no single vector an image.
    """
    with torch.inference_mode():
        found = backbone.model(torch.zeros(1, 3, *backbone.size))
    if not isinstance(found, Tensor) or found.ndim != 2:
        raise InputError(f"{backbone.name} gives no single vector an image; use another model")
    return int(found.shape[1])


def _pixels(values: Any) -> tuple[float, ...]:
    """Of 0 to 1 -> of 0 to 255."""
    return tuple(round(float(value) * 255, 6) for value in values)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
