"""Marks: tests marked `shared` run only where the data folder exists."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("t2m", deadline=None)
settings.load_profile("t2m")

SHARED = Path(os.environ.get("T2M_SHARED") or Path(__file__).resolve().parents[2] / "shared")


def pytest_collection_modifyitems(items):
    if (SHARED / "data").is_dir():
        return
    skip = pytest.mark.skip(reason=f"no data folder at {SHARED} (set T2M_SHARED)")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data folder: grocery.tar, cifar100.tar.gz, descriptions/, backbones/."""
    return SHARED / "data"
