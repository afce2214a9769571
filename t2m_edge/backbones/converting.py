"""A torch image model as a backbone: TFLite through litert-torch and ai-edge-quantizer, ONNX through torch.onnx."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2m_edge.backbones.adopted import AdoptedBackbone
from t2m_edge.backbones.torch_models import TorchBackbone, embedding_size
from t2m_exporters.foreign_onnx import adopt_onnx, quantize_onnx
from t2m_exporters.foreign_tflite import adopt_tflite, ends
from t2m_runtime import InputError, WorkError

OPSET = 17


class Pixels(nn.Module):
    """A model that takes float32 (1, H, W, 3) from 0 to 255; the normalisation is a 1x1 depthwise convolution.

    As scale and shift of a convolution it keeps full precision in int8, and padding inside the model stays exact.
    """

    def __init__(self, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.model = model
        gain = 1 / torch.tensor(std, dtype=torch.float64)
        self.register_buffer("weight", gain.float().view(-1, 1, 1, 1))
        self.register_buffer("bias", (-torch.tensor(mean, dtype=torch.float64) * gain).float())

    def forward(self, x: Tensor) -> Tensor:
        return self.model(F.conv2d(x.permute(0, 3, 1, 2), self.weight, self.bias, groups=len(self.bias)))


def convert(backbone: TorchBackbone, images: np.ndarray) -> AdoptedBackbone:
    """The four graphs of a pack.

    Args:
        images: uint8 (n, H, W, 3) of the backbone's size, to calibrate the int8 graphs with.

    Raises:
        InputError: litert-torch or ai-edge-quantizer is not installed.
        WorkError: the model holds what a converter cannot take.
    """
    d = embedding_size(backbone)
    model = deployed(backbone.model)
    floats = tflite(model, backbone)
    int8 = adopt_tflite(quantize_tflite(floats, images))
    _, _, dtype, scale, zero_point = ends(int8)
    if dtype != "int8":
        raise WorkError(f"ai-edge-quantizer left the embedding of {backbone.name} in {dtype}; use another model")
    onnx = adopt_onnx(onnx_form(model, backbone), backbone.mean, backbone.std)
    with quiet():
        int8_onnx = quantize_onnx(onnx, images, (scale, zero_point))
    files = {
        "fp32.tflite": adopt_tflite(floats),
        "int8.tflite": int8,
        "fp32.onnx": onnx,
        "int8.onnx": int8_onnx,
    }
    return AdoptedBackbone(backbone.name, files, backbone.size, d, scale, zero_point, backbone.mean, backbone.std)


def deployed(model: nn.Module) -> nn.Module:
    """The model with branches that only training needs folded into one (RepVGG, MobileOne and their like)."""
    try:
        from timm.utils import reparameterize_model
    except ImportError:
        return model
    return reparameterize_model(model).eval()


def tflite(model: nn.Module, backbone: TorchBackbone) -> bytes:
    """float32 ``.tflite``: (1, H, W, 3) from 0 to 255 -> (1, d), its convolutions in TFLite's own layout."""
    try:
        import litert_torch
    except ImportError:
        raise InputError(f"{backbone.name} needs litert-torch; pip install 't2m-edge[convert]'") from None
    whole = Pixels(model, backbone.mean, backbone.std).eval()
    with quiet(), tempfile.TemporaryDirectory() as folder:
        try:
            found = litert_torch.convert(whole, (torch.zeros(1, *backbone.size, 3),))
            path = Path(folder) / "model.tflite"
            found.export(str(path))
        except Exception as error:  # of torch.export and of the converter
            raise WorkError(f"litert-torch cannot convert {backbone.name}: {_first_line(error)}") from error
        return path.read_bytes()


def quantize_tflite(model: bytes, images: np.ndarray) -> bytes:
    """Static int8 by ai-edge-quantizer: int8 weights (one scale a channel), int8 activations, int8 ends.

    Args:
        model: of ``tflite``.
        images: uint8 (n, H, W, 3).
    """
    try:
        from ai_edge_quantizer import quantizer, recipe
    except ImportError:
        raise InputError("an int8 .tflite needs ai-edge-quantizer; pip install 't2m-edge[convert]'") from None
    pixels = images.astype(np.float32)
    # So that one step of the input is one step of the image: its range is 0 to 255, whatever the images show.
    pixels[0, 0, 0], pixels[0, 0, 1] = 0, 255
    from ai_edge_litert.interpreter import Interpreter

    signature, ends = next(iter(Interpreter(model_content=model).get_signature_list().items()))
    data = {signature: [{ends["inputs"][0]: image[None]} for image in pixels]}
    with quiet():
        work = quantizer.Quantizer(model, recipe.static_wi8_ai8())
        return bytes(work.quantize(work.calibrate(data)).quantized_model)


def onnx_form(model: nn.Module, backbone: TorchBackbone) -> bytes:
    """float32 ``.onnx``: (1, 3, H, W) normalised -> (1, d)."""
    target, fast = io.BytesIO(), torch.backends.mha.get_fastpath_enabled()
    with quiet(), torch.no_grad():
        try:
            # The fast path of attention is one operator that ONNX has not.
            torch.backends.mha.set_fastpath_enabled(False)
            torch.onnx.export(model, (torch.zeros(1, 3, *backbone.size),), target, opset_version=OPSET, dynamo=False)
        except Exception as error:
            raise WorkError(f"torch.onnx cannot export {backbone.name}: {_first_line(error)}") from error
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
    return target.getvalue()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what converters print, from Python and from C, off the terminal and out of ``--json``."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with contextlib.ExitStack() as stack:
        sink, text = stack.enter_context(tempfile.TemporaryFile()), io.StringIO()
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(contextlib.redirect_stdout(text))
        stack.enter_context(contextlib.redirect_stderr(text))
        warnings.simplefilter("ignore")
        try:
            for descriptor in (1, 2):
                os.dup2(sink.fileno(), descriptor)
            yield
        finally:
            for descriptor, old in zip((1, 2), kept):
                os.dup2(old, descriptor)
                os.close(old)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
