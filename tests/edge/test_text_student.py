import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from t2m_edge.text import OwnEncoder
from t2m_edge.text.words import hash_words

torch = pytest.importorskip("torch")
from t2m_edge.training.text_student import (  # noqa: E402
    Schedule,
    Shape,
    Student,
    TokenLists,
    distillation_loss,
    quantized_tensors,
    train_student,
)

WORDS = ["[UNK]", *(f"w{i}" for i in range(30))]
SCHEDULE = Schedule(steps=60, batch=16, warmup=5, checkpoint_every=20)


def make_student():
    torch.manual_seed(0)
    return Student(len(WORDS), Shape(width=8, first_heads=2, context=12, heads=3, hidden=16, d_text=6))


@pytest.fixture
def lines():
    rng = np.random.default_rng(0)
    return TokenLists.of([rng.integers(1, len(WORDS), rng.integers(1, 6)) for _ in range(100)])


@pytest.fixture
def targets(lines):
    """What a bag of fixed token vectors gives: something a student can learn."""
    vectors = np.random.default_rng(1).normal(size=(len(WORDS), 6))
    means = np.stack([vectors[lines.ids[a:b]].mean(0) for a, b in zip(lines.starts, lines.starts[1:])])
    return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float16)


def cosine(student, lines, targets):
    with torch.no_grad():
        return float((student(*lines.take(np.arange(100))).numpy() * targets).sum(1).mean())


def interrupted_at(forward, call):
    calls = iter(range(1, 1000))

    def wrapped(*args):
        if next(calls) == call:
            raise KeyboardInterrupt
        return forward(*args)

    return wrapped


def test_token_lists_hand_out_the_rows_asked_for():
    ids, offsets = TokenLists.of([[1, 2], [3], [4, 5, 6]]).take(np.array([2, 0, 2]))
    assert ids.tolist() == [4, 5, 6, 1, 2, 4, 5, 6]
    assert offsets.tolist() == [0, 3, 5]


def test_the_loss_is_zero_where_the_student_equals_its_target():
    target = torch.nn.functional.normalize(torch.randn(5, 4), dim=1)
    assert float(distillation_loss(target, target, 0.05)) == pytest.approx(0, abs=1e-5)
    assert float(distillation_loss(target.flip(0), target, 0.05)) > 0.1


def test_training_brings_the_student_to_its_targets(lines, targets):
    student = make_student()
    before = cosine(student, lines, targets)
    train_student(student, lines, targets, Schedule(steps=300, batch=32, rate=1e-2, table_rate=2e-2, warmup=5), seed=0)
    assert before < 0.5 < 0.9 < cosine(student, lines, targets)


def test_a_resumed_training_gives_the_same_weights(lines, targets, tmp_path):
    whole = make_student()
    train_student(whole, lines, targets, SCHEDULE, seed=0)

    checkpoint, stopped = tmp_path / "student.pt", make_student()
    stopped.forward = interrupted_at(stopped.forward, call=45)
    with pytest.raises(KeyboardInterrupt):
        train_student(stopped, lines, targets, SCHEDULE, seed=0, checkpoint=checkpoint)
    resumed, said = make_student(), []
    train_student(resumed, lines, targets, SCHEDULE, seed=0, checkpoint=checkpoint, progress=said.append)
    assert "step 40" in said[0]
    for ours, theirs in zip(resumed.parameters(), whole.parameters()):
        assert torch.equal(ours, theirs)


def test_the_int8_encoder_gives_nearly_the_vectors_of_the_student(lines, targets):
    student = make_student()
    train_student(student, lines, targets, SCHEDULE, seed=0)
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    encoder = OwnEncoder(tokenizer, quantized_tensors(student, hash_words(WORDS)), "test", 100)
    texts = [" ".join(WORDS[i] for i in lines.ids[a:b]) for a, b in zip(lines.starts, lines.starts[1:])]
    with torch.no_grad():
        expected = student(*lines.take(np.arange(100))).numpy()
    cosines = (encoder.encode(texts) * expected).sum(1)
    assert cosines.min() > 0.995
