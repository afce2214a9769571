"""The last layer in a safetensors file of weights: a matrix of one row a class and, where it has one, its bias."""

from __future__ import annotations

import json

import numpy as np

from t2m_exporters.damage import damage
from t2m_exporters.last_layer import FLOATS, LastLayer, Rows
from t2m_runtime.errors import InputError

MAX_HEADER_BYTES = 2**25


def read_safetensors(model: bytes, count: int | None) -> LastLayer:
    """The matrix with ``count`` rows (its name ends in "weight"), and the bias of the same name beside it.

    Args:
        count: how many classes there are; None where it is not known.

    Raises:
        InputError: damaged, or no matrix fits, or several do.
    """
    from safetensors.numpy import load

    with damage():
        tensors = load(_plain(model))
        return LastLayer(_rows(tensors, _name(tensors, count)), None, "fully connected")


def write_safetensors(model: bytes, rows: Rows, count: int) -> bytes:
    """The file with these rows in place of the ``count`` ones; other tensors and the metadata stay."""
    from safetensors.numpy import load, save

    with damage():
        tensors = load(_plain(model))
        name = _name(tensors, count)
        old = tensors[name]
        tensors[name] = np.ascontiguousarray(rows.weight).reshape(len(rows.weight), *old.shape[1:])
        if rows.bias is not None:
            tensors[_bias(name)] = rows.bias
        size = int.from_bytes(model[:8], "little")
        metadata = json.loads(model[8 : 8 + size]).get("__metadata__")
        return save(tensors, metadata)


def _plain(model: bytes) -> bytes:
    size = int.from_bytes(model[:8], "little")
    if len(model) < 9 or not 2 <= size <= min(len(model) - 8, MAX_HEADER_BYTES):
        raise InputError("the safetensors file is cut short; make it again")
    return model


def _bias(name: str) -> str:
    return name.removesuffix("weight") + "bias"


def _name(tensors: dict[str, np.ndarray], count: int | None) -> str:
    found = [
        name
        for name, tensor in tensors.items()
        if name.endswith("weight")
        and (tensor.ndim == 2 or (tensor.ndim == 4 and tensor.shape[2:] == (1, 1)))
        and str(tensor.dtype) in FLOATS
        and (count is None or len(tensor) == count)
        and tensors.get(_bias(name), np.empty(len(tensor))).shape == (len(tensor),)
    ]
    if len(found) > 1 and (linear := [name for name in found if tensors[name].ndim == 2]):
        found = linear
    if len(found) != 1:
        wanted = "" if count is None else f" of {count} rows"
        listed = f": {', '.join(sorted(found)[:4])}" if found else ""
        raise InputError(
            f"the safetensors file has {len(found)} matrices{wanted} that a classifier may end in{listed}; "
            "give a file with its weight (classes, features) and bias (classes,)"
        )
    return found[0]


def _rows(tensors: dict[str, np.ndarray], name: str) -> Rows:
    weight = tensors[name]
    return Rows(weight.reshape(len(weight), -1), tensors.get(_bias(name)))
