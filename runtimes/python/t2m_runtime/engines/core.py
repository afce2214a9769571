"""Runs a .tflite with our own C core."""

from __future__ import annotations

import numpy as np

from t2m_runtime.arena import Room
from t2m_runtime.core import VERSION, CoreError, CoreModel
from t2m_runtime.errors import InputError, WorkError
from t2m_runtime.frames import Frame


class CoreEngine:
    """The core as an engine of t2m_runtime (engines/__init__.py says what that is).

    Args:
        model: the whole file; of a backbone without a head, the outputs are its features.
        quantization: scale and zero point of an int8 backbone's features.

    Raises:
        InputError: there is no compiled core here, or it cannot use the model.
    """

    name, version = "core", VERSION

    def __init__(self, model: bytes, quantization: tuple[float, int] = (1.0, 0)) -> None:
        self._bytes, self._room = model, Room()
        self.model = CoreModel(model)
        self.height, self.width = self.model.height, self.model.width
        labels = len(self.model.labels)
        self._quantization = None if labels else quantization
        self.n_outputs = labels or self.model.n_features

    def swap_head(self, head: bytes, labels: int, hidden: int) -> None:
        """Puts a .t2mh file's head in place of the current one: microseconds; the first time that a head is larger than
        all before, the model is opened again with room for it.

        Args:
            labels, hidden: of the head; hidden is the width of its hidden layer, 0 for none.

        Raises:
            CoreError: broken, or made for another backbone or precision; the current head stays.
        """
        try:
            self.model.swap_head(head)
        except CoreError as error:
            if error.status != "T2M_ERROR_HEAD_TOO_LARGE":
                raise
            room = Room(max(labels, self._room.labels), max(hidden, self._room.hidden))
            larger = CoreModel(self._bytes, room)
            larger.swap_head(head)
            self.model.close()
            self.model, self._room = larger, room
        self.n_outputs, self._quantization = labels, None

    def prepare(self, frame: Frame) -> np.ndarray:
        """A frame as the model's input, uint8 (height, width, 3)."""
        return self.model.prepare(frame)

    def run(self, image: np.ndarray) -> np.ndarray:
        """uint8 (1, height, width, 3) -> float32 (n_outputs,).

        Raises:
            InputError: an image of another shape or dtype, or the engine was closed.
            WorkError: the core failed.
        """
        expected = (1, self.height, self.width, 3)
        if not isinstance(image, np.ndarray) or image.shape != expected:
            raise InputError(f"the model's input is uint8 {expected}; prepare the image first")
        try:
            if self._quantization is None:
                return self.model.run(image)
            scale, zero_point = self._quantization
            features = self.model.run_backbone(image).astype(np.float32)
            return (features - np.float32(zero_point)) * np.float32(scale)
        except CoreError as error:
            raise WorkError(f"the C core failed on the image ({error})") from error

    def close(self) -> None:
        """Gives the model's memory back; run raises InputError from then on."""
        self.model.close()
