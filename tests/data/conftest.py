"""Trees of the published data sets, made once for each file of tests."""

import shutil
from pathlib import Path

import pytest

from tests.helpers.tiny_datasets import make_cityscapes, make_crosscity, make_gta5, make_synthia
from tests.trial.test_trial import make_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four trees, which no test changes."""
    root = tmp_path_factory.mktemp("made")
    make_gta5(root / "gta5")
    make_synthia(root / "synthia")
    make_cityscapes(root / "cityscapes")
    make_crosscity(root / "crosscity", "rome")
    return root


@pytest.fixture
def trees(made: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    shutil.copytree(made, tmp_path / "trees")
    return tmp_path / "trees"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with images in `sim` and `real`."""
    for number, split in enumerate(("train", "val")):
        make_folder(tmp_path / "sim", split, 3, True, number)
    for number, split in enumerate(("train", "val", "test")):
        make_folder(tmp_path / "real", split, 3, True, 10 + number)
    monkeypatch.chdir(tmp_path)
    return tmp_path
