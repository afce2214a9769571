"""The example files are good examples: they read without a warning, in every form."""

from pathlib import Path

import pytest

from t2m_edge.task import read_task

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FILES = ["grocery.txt", "apples.txt", "drinks.csv", "drinks.json", "drinks.yaml"]


@pytest.mark.parametrize("name", FILES)
def test_examples_read_without_a_warning(name):
    task = read_task(EXAMPLES / name)
    assert task.warnings == ()
    assert len(task.classes) >= 4


def test_the_drinks_are_the_same_in_every_form():
    forms = [read_task(EXAMPLES / name).classes for name in FILES if name.startswith("drinks")]
    assert len({tuple((c.name, c.texts, c.negatives, c.threshold) for c in classes) for classes in forms}) == 1


@pytest.mark.shared
def test_the_grocery_classes_are_folders_of_the_data_set(shared_data):
    import tarfile

    from t2m_edge.cli.image_folder import match_folders

    labels = [item.name for item in read_task(EXAMPLES / "grocery.txt").classes]
    with tarfile.open(shared_data / "grocery.tar") as tar:
        folders = sorted({name.split("/")[1] for name in tar.getnames() if name.startswith("test/")})
    assert len(match_folders(folders, labels)) == len(labels)
