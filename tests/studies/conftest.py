"""A trial whose network is kept, and images and weights for `adapt`."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stvm.networks import build_network
from stvm.pretrained import save_network
from stvm.records.results import Results
from stvm.trial.run_and_record import run_and_record
from tests.helpers.adapt_words import NAMES
from tests.helpers.tiny_settings import tiny


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Results of a trial that keeps its networks; its student is reported."""
    root = tmp_path_factory.mktemp("kept")
    settings = tiny(keep_model=True, evaluated="student")
    run_and_record(settings, Results(root), cache, torch.device("cpu"), "STvM")
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight images of two sizes, and folders of labels that nobody could read."""
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    for beside in (folder / "labels", tmp_path / "labels"):
        beside.mkdir(parents=True)
        (beside / "p0.png").write_bytes(b"broken")
    for number in range(8):
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        size = (48, 32) if number else (64, 48)
        small.resize(size, Image.Resampling.BICUBIC).save(
            folder / f"p{number}.{'png' if number % 2 else 'jpg'}"
        )
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "source.safetensors"
    torch.manual_seed(0)
    save_network(build_network("small_deeplab", 16, len(NAMES)), path, NAMES)
    return path
