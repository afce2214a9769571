"""What compile can write: targets, precisions, outputs, and why a combination is refused."""

from __future__ import annotations

from pathlib import Path

from t2m_runtime import InputError

TARGETS = ("tflite", "onnx", "head")
PRECISIONS = ("int8", "fp32", "fp16", "int8-dynamic")
OUTPUT_TYPES = ("float32", "uint8", "int8")
SCORES = ("softmax", "logits")
"""What --scores takes; --multi-label gives "sigmoid"."""
ENDINGS = {"tflite": "tflite", "onnx": "onnx", "head": "t2mh"}
KINDS = {
    "tflite": "a tflite model",
    "onnx": "an onnx model",
    "head": "a head file",
    "safetensors": "a safetensors file",
}
_OTHERS = {"t2mpack": "a pack", **dict.fromkeys(("txt", "csv", "json", "yaml", "yml"), "a text file")}
"""Endings of files that no classifier is written to, beside those of the kinds."""


def why_not(target: str, precision: str, output_type: str = "float32", scores: str = "softmax") -> str | None:
    """Why compile refuses a combination, with what to write instead; None where it writes it."""
    if target == "head":
        if precision in ("fp16", "int8-dynamic"):
            return f"a head file is int8 or fp32; an fp32 one also fits models of precision {precision}"
        if scores == "sigmoid":
            return "a multi-label model is a full one, .tflite or .onnx: runtimes give softmax scores for a head file"
        if output_type != "float32" or scores != "softmax":
            return "a head file has no output of its own; leave --output-type and --scores to the full model"
    elif output_type != "float32" and scores == "logits" and precision != "int8":
        return f"{output_type} logits need --precision int8; use it, or --scores softmax, or --output-type float32"
    elif scores == "sigmoid" and output_type != "float32":
        return "multi-label scores are float32; leave --output-type out"
    return None


def target_of(path: Path | None) -> str:
    """The target that a file's ending says; tflite where it says none."""
    ending = path.suffix.casefold()[1:] if path is not None else ""
    return next((target for target, known in ENDINGS.items() if known == ending), "tflite")


def check_ending(path: Path, kind: str, guessed: bool = False) -> None:
    """Raises InputError where a file's ending says another format than is written.

    Args:
        kind: of the file that is written: a target, or "safetensors".
        guessed: nothing but the ending could say the kind, so one that says nothing is refused too; none at all is not.
    """
    ending = path.suffix.casefold()[1:]
    own = ENDINGS.get(kind, kind)
    # A head file is a safetensors file.
    if ending == own or (ending, kind) == ("safetensors", "head"):
        return
    others = {ENDINGS.get(name, name): text for name, text in KINDS.items()} | _OTHERS
    if ending in others:
        raise InputError(
            f"{path} has the ending of {others[ending]}, and {KINDS[kind]} is written; "
            f"name it {path.with_suffix('.' + own)}"
        )
    if ending and guessed:
        known = ", ".join(f".{name}" for name in ENDINGS.values())
        raise InputError(f"{path} has the unknown ending .{ending}; name it with one of {known}, or give --target")


def not_int8(target: str, output_type: str, scores: str) -> dict[str, str]:
    """Tensors of an int8 model that are not int8, and why.

    ``tests/edge/test_operators.py`` compares this with the files.
    """
    found = {}
    if target == "tflite":
        found["image"] = "uint8, as cameras give it; a QUANTIZE moves it to int8"
        found["biases"] = "int32, as the int8 kernels add them"
    else:
        found["image, activations, weights"] = (
            "uint8, the int8 numbers plus 128: exact on x86 without VNNI, where int8 products saturate"
        )
        found["biases"] = "int32, as the integer kernels add them"
    if output_type == "uint8" and target == "tflite":
        found["scores"] = "uint8, as asked; a QUANTIZE moves them from int8"
    if output_type == "float32":
        found["logits"] = "float32: DEQUANTIZE of the int8 logits"
        if scores == "softmax":
            found["scores"] = "float32: an int8 SOFTMAX has steps of 1/256, too coarse for many classes"
    return found
