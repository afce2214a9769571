"""Any ``.tflite`` as the objects of LiteRT's own schema module, and those objects as a file.

For models that are changed in more ways than appending a head. Its own packing is not used: it leaves constants
unaligned (schema.fbs asks for 16 bytes), and forgets constants that lie outside the flatbuffer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from t2m_exporters.damage import damage
from t2m_exporters.tflite_tables import ModelWriter
from t2m_runtime.errors import InputError
from t2m_runtime.tflite_file import check_model


def read_tree(model: bytes) -> Any:
    """A ``schema_py_generated.ModelT`` of a model with one subgraph.

    Raises:
        InputError: no such model, or damaged.
    """
    check_model(model)
    from ai_edge_litert import schema_py_generated as schema

    with damage():
        tree = schema.ModelT.InitFromPackedBuf(bytes(model), 0)
        for buffer in tree.buffers:
            # Writers of large models keep constants behind the flatbuffer (schema.fbs, Buffer.offset).
            if buffer.offset > 1:
                if buffer.offset + buffer.size > len(model):
                    raise InputError("the model is cut short: a constant lies outside the file")
                buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
                buffer.offset = buffer.size = 0
    return tree


def write_tree(tree: Any, description: str) -> bytes:
    """The file of a model with one input and one output, constants aligned, unused ones left out."""
    graph = tree.subgraphs[0]
    used = sorted({tensor.buffer for tensor in graph.tensors})
    sizes = sum(len(tree.buffers[i].data) for i in used if tree.buffers[i].data is not None)
    writer = ModelWriter(sizes + 1024 * (len(graph.tensors) + len(graph.operators)) + 65536)
    places = {0: 0}
    for index in used:
        data = tree.buffers[index].data
        if data is not None and len(data):
            places[index] = writer.buffer(np.asarray(data, np.uint8))
    for tensor in graph.tensors:
        tensor.buffer = places.get(tensor.buffer, 0)
    writer.packed(
        [(max(c.builtinCode, c.deprecatedBuiltinCode), c.version, c.Pack(writer.builder)) for c in tree.operatorCodes],
        [tensor.Pack(writer.builder) for tensor in graph.tensors],
        [operator.Pack(writer.builder) for operator in graph.operators],
    )
    ends = [(graph.tensors[i].name.decode(), int(i)) for i in (graph.inputs[0], graph.outputs[0])]
    return b"".join(writer.finish(*ends, description))
