"""Writes artifacts: graph, head and manifest -> ``.tflite`` and ``.onnx`` bytes, quantisation, parity.

Import what you need from its module; nothing is imported here, so that a compile loads only the target it writes.
"""
