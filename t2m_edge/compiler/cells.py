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
KINDS = {"tflite": "a tflite model", "onnx": "an onnx model", "head": "a head file"}


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


def check_ending(path: Path, target: str) -> None:
    """Raises InputError where a file's ending says another target than is written. Unknown endings say nothing."""
    ending = path.suffix.casefold().lstrip(".")
    other = next((name for name, known in ENDINGS.items() if known == ending), target)
    if other != target:
        raise InputError(
            f"{path} has the ending of {KINDS[other]}, and {KINDS[target]} is written; "
            f"name it {path.with_suffix('.' + ENDINGS[target])}"
        )


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
