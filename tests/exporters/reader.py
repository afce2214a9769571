"""Runs a model in one of the readers that users have: a program for any Python, with numpy and that reader alone.

python reader.py READER MODEL IMAGES.npy OUT.npy    IMAGES: uint8 (n, H, W, 3); OUT: float32 (n, k), dequantised
"""

import json
import sys

import numpy as np


def interpreter(model, images, make):
    found = make(model)
    found.allocate_tensors()
    image, scores = found.get_input_details()[0], found.get_output_details()[0]
    out = []
    for picture in images:
        found.set_tensor(image["index"], picture[None])
        found.invoke()
        out.append(dequantised(found.get_tensor(scores["index"])[0], *scores["quantization"]))
    return out


def dequantised(values, scale, zero_point):
    values = values.astype(np.float32)
    return (values - zero_point) * np.float32(scale) if scale else values


def litert(model, images, reference=False):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    return interpreter(
        model, images, lambda m: Interpreter(model_content=m, num_threads=1, experimental_op_resolver_type=kind)
    )


def tflite_runtime(model, images):
    from tflite_runtime.interpreter import Interpreter

    return interpreter(model, images, lambda m: Interpreter(model_content=m, num_threads=1))


def tflite_micro(model, images):
    from tflite_micro.python.tflite_micro import runtime

    found, out = runtime.Interpreter.from_bytes(model, arena_size=8 << 20), []
    details = found.get_output_details(0)["quantization_parameters"]
    scale = details["scales"][0] if len(details["scales"]) else 0
    zero_point = details["zero_points"][0] if len(details["zero_points"]) else 0
    for picture in images:
        found.set_input(picture[None], 0)
        found.invoke()
        out.append(dequantised(found.get_output(0)[0], scale, zero_point))
    return out


def mediapipe(model, images):
    """Scores in the order of the labels that came with the file, whose names go to standard output."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_buffer=model))
    out, names = [], None
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for picture in images:
            shown = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
            found = sorted(classifier.classify(shown).classifications[0].categories, key=lambda c: c.index)
            names = [category.category_name for category in found]
            out.append([category.score for category in found])
    print(json.dumps(names))
    return out


def onnxruntime(model, images):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [session.run(["scores"], {"image": picture[None]})[0][0] for picture in images]


READERS = {
    "litert": litert,
    "litert-reference": lambda model, images: litert(model, images, reference=True),
    "tflite_runtime": tflite_runtime,
    "tflite_micro": tflite_micro,
    "mediapipe": mediapipe,
    "onnxruntime": onnxruntime,
}

if __name__ == "__main__":
    reader, model, images, out = sys.argv[1:]
    with open(model, "rb") as file:
        scores = READERS[reader](file.read(), np.load(images))
    np.save(out, np.asarray(scores, np.float32))
