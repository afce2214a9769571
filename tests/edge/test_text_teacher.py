import numpy as np
import pytest

from t2m_edge.training import text_teacher
from t2m_edge.training.text_teacher import teacher_vectors


class CountingTeacher:
    """Embeds a line as its length; remembers what it was asked."""

    def __init__(self, id="counting", fail_after=None):
        self.id, self.asked, self.fail_after = id, [], fail_after

    def encode(self, texts):
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            raise KeyboardInterrupt
        self.asked += texts
        return np.array([[len(t), 1.0] for t in texts], np.float32)


LINES = ["a", "bb", "ccc", "dddd", "eeeee"]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(text_teacher, "CHUNK", 2)


def test_every_line_gets_its_vector_in_order(tmp_path):
    np.testing.assert_array_equal(teacher_vectors(LINES, CountingTeacher(), tmp_path)[:, 0], [1, 2, 3, 4, 5])


def test_a_second_run_asks_the_teacher_nothing(tmp_path):
    first = teacher_vectors(LINES, CountingTeacher(), tmp_path)
    again = CountingTeacher()
    np.testing.assert_array_equal(teacher_vectors(LINES, again, tmp_path), first)
    assert again.asked == []


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        teacher_vectors(LINES, CountingTeacher(fail_after=4), tmp_path)
    second = CountingTeacher()
    assert len(teacher_vectors(LINES, second, tmp_path)) == 5
    assert second.asked == ["eeeee"]


def test_another_teacher_or_another_line_is_computed_anew(tmp_path):
    teacher_vectors(LINES, CountingTeacher(), tmp_path)
    other = CountingTeacher(id="other")
    teacher_vectors(LINES, other, tmp_path)
    changed = CountingTeacher()
    teacher_vectors(["a", "bb", "ccc", "DDDD", "eeeee"], changed, tmp_path)
    assert other.asked == LINES
    assert changed.asked == ["ccc", "DDDD"]
