import numpy as np
import onnx
import onnxruntime
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from t2m_edge.text import OwnEncoder
from t2m_edge.text.encoder import MATRICES, PLACES
from t2m_edge.text.encoder_file import write_tensors
from t2m_edge.text.onnx_copy import text_encoder_onnx
from t2m_runtime.errors import InputError

WORDS = ["[UNK]", "zebra", "black", "white", "on"]


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)

    def int8(*shape):
        return rng.integers(-127, 128, shape).astype(np.int8)

    def values(n):
        return rng.uniform(0.01, 0.02, n).astype(np.float32)

    n, e, first, context, heads, h, d = len(WORDS), 4, 2, 5, 3, 7, 6
    found = {
        "table": int8(n, e), "table_scale": values(n).astype(np.float16), "token_weight": values(n) * 100,
        "first_places": rng.normal(size=(first, 2 * PLACES)).astype(np.float32),
        "places": rng.normal(size=(heads, 2 * PLACES)).astype(np.float32),
        "taught_words": np.empty(0, np.uint32),
    }  # fmt: skip
    pooled = e * (1 + heads)
    shapes = ((first * e, e), (context, e * (1 + first)), (heads * e, context), (h, pooled), (d, pooled + h))
    for name, (rows, columns) in zip(MATRICES, shapes):
        found |= {name: int8(rows, columns), f"{name}_scale": values(rows) / 2, f"{name}_bias": values(rows)}
    return found


@pytest.fixture
def folder(tmp_path, tensors):
    (tmp_path / "encoder.safetensors").write_bytes(write_tensors(tensors))
    return tmp_path


@pytest.fixture
def encoder(tensors):
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return OwnEncoder(tokenizer, tensors, id="small@1", max_tokens=9)


def test_the_onnx_copy_gives_the_embeddings_of_the_encoder(folder, encoder):
    texts = ["zebra", "black on white", "zebra something black", "white zebra on black on white on zebra on zebra"]
    tokens, mask = np.zeros((4, 9), np.int64), np.zeros((4, 9), np.float32)
    for row, ids in enumerate([[1], [2, 4, 3], [1, 0, 2], [3, 1, 4, 2, 4, 3, 4, 1, 4]]):
        tokens[row, : len(ids)] = ids
        mask[row, : len(ids)] = np.array(ids) > 0
    session = onnxruntime.InferenceSession(text_encoder_onnx(folder))
    (vectors,) = session.run(None, {"tokens": tokens, "mask": mask})
    np.testing.assert_allclose(vectors, encoder.encode(texts), atol=1e-5)


def test_the_onnx_copy_keeps_its_matrices_in_int8_and_runs_on_old_readers(folder):
    model = onnx.load_from_string(text_encoder_onnx(folder))
    assert model.ir_version <= 9
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert {kinds[name] for name in ("table", *MATRICES)} == {onnx.TensorProto.INT8}


def test_a_folder_without_tensors_is_named(tmp_path):
    with pytest.raises(InputError, match=r"encoder\.safetensors"):
        text_encoder_onnx(tmp_path)
