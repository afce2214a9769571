"""The last layer in a safetensors file of weights: a matrix of one row a class and, where it has one, its bias.

Names are those of frameworks, ``fc.weight`` and ``fc.bias``. Where no such matrix fits, one of any name does, and its
bias is the file's one vector of a number a class.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np

from t2m_exporters.damage import damage
from t2m_exporters.last_layer import FLOATS, LastLayer, Rows
from t2m_runtime.errors import InputError

MAX_HEADER_BYTES = 2**25
WEIGHT = "weight"


class Names(NamedTuple):
    """Of the matrix and of its bias, None where it has none."""

    weight: str
    bias: str | None


def find_names(model: bytes, count: int) -> Names:
    """Which tensors are the last layer's: the matrix with ``count`` rows, one a class, and its bias.

    Raises:
        InputError: damaged, or no matrix fits, or several do.
    """
    with damage():
        return _names(_tensors(model), count)


def read_safetensors(model: bytes, names: Names) -> LastLayer:
    """The layer in these tensors; InputError where the file is damaged."""
    with damage():
        tensors = _tensors(model)
        weight = tensors[names.weight]
        bias = None if names.bias is None else tensors[names.bias]
        return LastLayer(Rows(weight.reshape(len(weight), -1), bias), None, "fully connected")


def write_safetensors(model: bytes, rows: Rows, names: Names) -> bytes:
    """The file with these rows in place of its own; other tensors and the metadata stay."""
    from safetensors.numpy import save

    with damage():
        tensors = _tensors(model)
        old = tensors[names.weight]
        tensors[names.weight] = np.ascontiguousarray(rows.weight).reshape(len(rows.weight), *old.shape[1:])
        if names.bias is not None:
            tensors[names.bias] = rows.bias
        size = int.from_bytes(model[:8], "little")
        metadata = json.loads(model[8 : 8 + size]).get("__metadata__")
        return save(tensors, metadata)


def _tensors(model: bytes) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    size = int.from_bytes(model[:8], "little")
    if len(model) < 9 or not 2 <= size <= min(len(model) - 8, MAX_HEADER_BYTES):
        raise InputError("the safetensors file is cut short; make it again")
    return load(model)


def _names(tensors: dict[str, np.ndarray], count: int) -> Names:
    floats = {name: t for name, t in tensors.items() if str(t.dtype) in FLOATS and t.ndim and len(t) == count}
    found = [name for name, t in floats.items() if t.ndim == 2 or (t.ndim == 4 and t.shape[2:] == (1, 1))]
    named = [n for n in found if n.endswith(WEIGHT) and tensors.get(_bias(n), np.empty(count)).shape == (count,)]
    found = named or [n for n in found if not n.endswith(WEIGHT)]
    found = [n for n in found if tensors[n].ndim == 2] or found
    vectors = [n for n, t in floats.items() if t.ndim == 1]
    if len(found) != 1 or (not named and len(vectors) > 1):
        matrices = f"{len(found)} {'matrix' if len(found) == 1 else 'matrices'}"
        beside = f" and {len(vectors)} vectors" if len(found) == 1 else ""
        listed = f": {', '.join(sorted([*found, *vectors] if beside else found)[:4])}" if found else ""
        raise InputError(
            f"the safetensors file has {matrices} of {count} rows{beside} that a classifier may end in{listed}; "
            "give a file with its weight (classes, features) and bias (classes,), such as fc.weight and fc.bias"
        )
    if named:
        return Names(found[0], _bias(found[0]) if _bias(found[0]) in tensors else None)
    return Names(found[0], vectors[0] if vectors else None)


def _bias(name: str) -> str:
    return name.removesuffix(WEIGHT) + "bias"
